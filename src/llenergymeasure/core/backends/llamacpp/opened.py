"""Which file is run: the one that an experiment names, or a dense one that is made of what it names and kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp.file import GgufFile, file_of, parts_of, read_header
from llenergymeasure.core.backends.llamacpp.llama import ARCHITECTURE, llama_problems, settings_of, tensors_of
from llenergymeasure.core.backends.llamacpp.parameters import section_of
from llenergymeasure.core.backends.llamacpp.vocabulary import words_of
from llenergymeasure.core.backends.llamacpp.writing import MATRICES, save, save_dense
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.conversions import kept_conversion, versions_of
from llenergymeasure.core.checkpoint.identity import Files, files_of
from llenergymeasure.core.checkpoint.own_settings import read_own_settings
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, Checkpoint, ModelSource, describe_source
from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer, read_description
from llenergymeasure.exceptions import BackendError

# Counts up when what is written here changes, so that files of before are made anew.
_LAYOUT = "1"
_NAME = "model.gguf"
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_DENSE_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The file that llama.cpp opens, its header, and what an experiment names: a checkpoint, and its weights by name.

    ``dense_from`` is the quantised file that it was made of; None for any other.
    """

    path: Path
    header: GgufFile
    checkpoint: Checkpoint
    files: Files
    dense_from: str | None = None


def is_checkpoint(model: str) -> bool:
    """Whether a model is a directory, of which a file is made."""
    return model not in PACKAGED_MODELS and Path(model).is_dir()


def checkpoint_of(model: str) -> Checkpoint:
    """The files of a directory."""
    return Checkpoint(source=describe_source(model))


def header_for(config: ExperimentConfig) -> GgufFile:
    """What the header of the file that is run says, or will say once the file is made.

    Raises:
        BackendError: the model cannot be read.
    """
    if is_checkpoint(config.model):
        return _header_of_checkpoint(read_description(checkpoint_of(config.model)), config.precision)
    header = read_header(file_of(config.model))
    return _made_dense(header, config.precision) if section_of(config).dequantize else header


def opened(config: ExperimentConfig) -> Opened:
    """The file that is run, made where it has to be and is not there yet.

    Raises:
        BackendError: it cannot be had.
    """
    if is_checkpoint(config.model):
        checkpoint = checkpoint_of(config.model)
        files = files_of(config.model, checkpoint.source, checkpoint.folder)
        path = _kept(config, checkpoint.folder, files, lambda target: _write_checkpoint(config, target))
        return Opened(path=path, header=read_header(path), checkpoint=checkpoint, files=files)
    named = file_of(config.model)
    parts = parts_of(named)
    checkpoint = Checkpoint(source=ModelSource(location=str(named.parent), gguf_file=named.name))
    if not section_of(config).dequantize:
        return Opened(path=named, header=read_header(named), checkpoint=checkpoint, files=parts)
    source = list(parts.values())
    path = _kept(config, named.parent, parts, lambda target: save_dense(source, target, config.precision))
    return Opened(path=path, header=read_header(path), checkpoint=checkpoint, files=parts, dense_from=named.name)


def _kept(config: ExperimentConfig, folder: Path, files: Files, write: Callable[[Path], None]) -> Path:
    how = {"engine": "llamacpp", "layout": _LAYOUT, "weights": config.precision}

    def make(target: Path) -> None:
        target.mkdir()
        with quietly():
            write(target / _NAME)

    how |= versions_of("gguf", "transformers", "torch")
    return kept_conversion(config.model, folder, files, how, make) / _NAME


def _write_checkpoint(config: ExperimentConfig, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    checkpoint = checkpoint_of(config.model)
    description = read_description(checkpoint)
    for problem in llama_problems(description):
        raise BackendError(f"model {config.model!r} {problem}")
    ends = read_own_settings(checkpoint, description, do_sample=config.decoder.do_sample).end_token_ids
    words = words_of(load_tokenizer(checkpoint), int(description.vocab_size), ends, description.bos_token_id)
    # fp32 holds every value of the formats that checkpoints have.
    model = AutoModelForCausalLM.from_pretrained(
        checkpoint.source.location, dtype=torch.float32, trust_remote_code=False
    )

    def describe(writer: Any) -> None:
        for name, value in settings_of(description).items():
            add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
            add(f"{ARCHITECTURE}.{name}", value)
        words.add_to(writer)

    save(target, ARCHITECTURE, describe, tensors_of(model), config.precision)


def _header_of_checkpoint(description: Any, precision: str) -> GgufFile:
    """Shapes go by the architecture; where there is none that is known, the file is none that could be made."""
    architecture = skeleton(description)
    if architecture is None or [*llama_problems(description)]:
        raise BackendError("no file is made of this architecture")
    sizes = [(p.dim() > 1, int(p.numel())) for p in architecture.parameters()]
    n_in_matrices = sum(n for is_matrix, n in sizes if is_matrix)
    n_beside = sum(n for is_matrix, n in sizes if not is_matrix)
    return GgufFile(
        architecture=ARCHITECTURE,
        n_by_format={MATRICES[precision]: n_in_matrices},
        n_parameters=n_in_matrices + n_beside,
        n_bytes=n_in_matrices * _BYTES[precision] + n_beside * _DENSE_BYTES,
        settings=settings_of(description),
    )


def _made_dense(header: GgufFile, precision: str) -> GgufFile:
    n_in_matrices = sum(header.n_by_format.values())
    return replace(
        header,
        n_by_format={MATRICES[precision]: n_in_matrices},
        n_bytes=n_in_matrices * _BYTES[precision] + (header.n_parameters - n_in_matrices) * _DENSE_BYTES,
        file_type=None,
    )
