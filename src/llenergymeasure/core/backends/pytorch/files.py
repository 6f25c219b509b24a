"""Files of a local model or adapter that are missing, or do not fit; found without reading any weights."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.adapter import no_lora
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.files import adapter_files, adapter_folder, model_files
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.checkpoint.tokenizer import has_tokenizer, no_tokenizer

_ADAPTER_CONFIG = "adapter_config.json"


def missing_files(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What the directory of the model lacks; nothing of models that are no directory here.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    section = section_of(config)
    folder = _directory_of(config.model, section.subfolder)
    if folder is None:
        return
    if not section.random_weights:
        choice = {"variant": section.variant, "use_safetensors": section.use_safetensors}
        yield from _missing_weights(folder, description, "; add them, or set pytorch.random_weights: true", **choice)
    if config.dataset.random is None and not has_tokenizer(folder):
        yield no_tokenizer(folder)


def missing_draft_files(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """As ``missing_files``, of the draft model, which reads no text."""
    folder = _directory_of(str(section_of(config).assistant_model), None)
    if folder is not None:
        yield from _missing_weights(folder, description, "; add them")


def _directory_of(model: str, subfolder: str | None) -> Path | None:
    source = describe_source(model)
    folder = Path(source.location, subfolder or "")
    return folder if source.gguf_file is None and folder.is_dir() else None


def _missing_weights(folder: Path, description: Any, advice: str, **choice: Any) -> Iterator[str]:
    if (folder / _ADAPTER_CONFIG).is_file():
        return  # transformers then takes the weights of the model that the adapter names
    try:
        files = model_files(folder, explicit=getattr(description, "transformers_weights", None), **choice)
    except (FileNotFoundError, ValueError) as error:
        yield f"model directory {folder} has no weights to read: {error}{advice}"
        return
    missing = sorted(name for name, path in files.items() if not path.is_file())
    if missing:
        yield (
            f"model directory {folder} lacks {_first_of(missing)} of the {len(files)} files with weights that its "
            "index names; fetch it again"
        )


def misfits_of_adapter(config: ExperimentConfig, description: Any | None) -> Iterator[str]:
    """What keeps an adapter that is here from being measured on this model.

    Args:
        config: the experiment.
        description: the model's transformers configuration; None where it cannot be read.
    """
    if config.lora is None:
        return
    try:
        folder = adapter_folder(config.lora.path)
        settings = json.loads((folder / _ADAPTER_CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        return  # it is still to be fetched, or told as missing
    except (OSError, ValueError) as error:
        yield f"lora.path: {_ADAPTER_CONFIG} of {config.lora.path} cannot be read: {' '.join(str(error).split())[:200]}"
        return
    kind = settings.get("peft_type") if isinstance(settings, Mapping) else None
    if str(kind).upper() != "LORA":
        yield no_lora(config.lora.path, kind)
        return
    trusted = section_of(config).trust_remote_code
    model = None if description is None else skeleton(description, trust_remote_code=trusted)
    if model is not None:
        yield from _misfits(config.lora.path, folder, model)


def _misfits(path: str, folder: Path, model: Any) -> Iterator[str]:
    """One line for matrices whose sizes are not those of the model's layers of the same names.

    What has another name in the model is left to peft, which knows more names than are written in the file.
    """
    try:
        shapes = _safetensors_shapes(folder)
    except Exception as error:  # noqa: BLE001 - safetensors raises a class of its own
        yield f"lora.path: the weights of {path} cannot be read: {' '.join(str(error).split())[:200]}"
        return
    modules = dict(model.named_modules())
    found = []
    for name, shape in sorted(shapes.items()):
        layer, _, kind = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        widths = _widths(modules.get(layer))
        if widths is None or kind not in ("A", "B") or len(shape) != 2:  # noqa: PLR2004 - a matrix
            continue
        # A is [rank, in] and B is [out, rank].
        ours, theirs = (shape[1], widths[0]) if kind == "A" else (shape[0], widths[1])
        if ours != theirs:
            found.append(f"lora_{kind} of {layer} is for {ours} values, and the layer has {theirs}")
    if found:
        more = f", and {len(found) - 1} more do not fit either" if len(found) > 1 else ""
        yield f"lora.path: {path} does not fit the model: {found[0]}{more}; give one made for this model"


def _safetensors_shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of each tensor of an adapter, from the file's header; none of a file of another kind."""
    from safetensors import safe_open

    try:
        (file,) = adapter_files(folder).values()
    except FileNotFoundError:
        return {}
    if file.suffix != ".safetensors":
        return {}
    opened: Any = safe_open(file, framework="pt")
    with opened as tensors:
        return {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118


def _widths(module: Any) -> tuple[int, int] | None:
    """Values that a linear layer takes and gives; None for any other."""
    import torch
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return int(module.nx), int(module.nf)
    return None


def _first_of(lines: list[str]) -> str:
    return lines[0] if len(lines) == 1 else f"{lines[0]} and {len(lines) - 1} more"
