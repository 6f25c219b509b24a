"""What keeps an experiment from running under llama.cpp, found before anything is loaded."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import adapter_beside, quantised_already
from llenergymeasure.core.backends.llamacpp.file import GgufFile, file_of, read_header
from llenergymeasure.core.backends.llamacpp.llama import llama_problems
from llenergymeasure.core.backends.llamacpp.opened import checkpoint_of, header_for, is_checkpoint
from llenergymeasure.core.backends.llamacpp.parameters import n_slots, section_of, unknown_passthrough
from llenergymeasure.core.checkpoint.readable import described, not_to_be_measured
from llenergymeasure.core.checkpoint.source import model_problem
from llenergymeasure.core.checkpoint.tokenizer import has_tokenizer, read_description
from llenergymeasure.core.checkpoint.weight_problems import stored_file_problems
from llenergymeasure.exceptions import BackendError, contained, first_line

_OTHERWISE = "convert it with convert_hf_to_gguf.py of llama.cpp and give the GGUF file, or use another engine"
# LLAMA_MAX_SEQ of llama-cparams.h.
_MOST_SLOTS = 256


def imported() -> Any:
    """The module ``xllamacpp``.

    Raises:
        BackendError: it cannot be imported.
    """
    try:
        with contained():
            return importlib.import_module("xllamacpp")
    except Exception as error:
        raise BackendError(
            f"xllamacpp cannot be imported: {first_line(error)}; install it anew with pip install --force-reinstall "
            "xllamacpp"
        ) from error


def problems_of(config: ExperimentConfig, library: Any, n_gpus: int) -> Iterator[str]:
    """What does not fit, one line each.

    Args:
        config: the experiment.
        library: the module ``xllamacpp``.
        n_gpus: GPUs that llama.cpp may use.
    """
    section = section_of(config)
    try:
        unreadable = [*_model(config)]
        file = None if unreadable else header_for(config)
    except BackendError as error:
        unreadable, file = [str(error)], None
    yield from unreadable
    if file is not None:
        yield from _precision(config, file)
        yield from _room(config, section, file)
    if config.lora is not None:
        yield (
            "lora: llama.cpp takes no adapter of peft; merge it into the model and convert that, or use "
            "backend: pytorch"
        )
    if n_slots(section) > _MOST_SLOTS:
        yield f"llamacpp.n_parallel: llama.cpp has at most {_MOST_SLOTS} slots, not {n_slots(section)}"
    if section.split_mode == "none" and n_gpus > 1:
        yield (
            f"llamacpp.split_mode: none: {n_gpus} GPUs are visible, and their numbers are not those of llama.cpp; "
            "show it one with CUDA_VISIBLE_DEVICES"
        )
    yield from _drafts(section)
    yield from unknown_passthrough(library, config)


def _model(config: ExperimentConfig) -> Iterator[str]:
    """What keeps a file from being made, where one has to be."""
    dense = section_of(config).dequantize
    if is_checkpoint(config.model):
        if dense:
            yield f"llamacpp.dequantize: {config.model!r} is a checkpoint's directory, and dense; remove it"
        yield from _checkpoint(config)
    elif dense and read_header(file_of(config.model)).precision is not None:
        yield f"llamacpp.dequantize: {config.model} holds dense weights; remove it"


def _checkpoint(config: ExperimentConfig) -> Iterator[str]:
    model, checkpoint = config.model, checkpoint_of(config.model)
    beside = [*adapter_beside("llamacpp", model, Path(model))]
    description, found = described(model, model_problem(model), lambda: read_description(checkpoint))
    if description is None or beside:
        yield from (*beside, *found)
        return
    found = not_to_be_measured(model, description, trusted=False)
    found += quantised_already("llamacpp", model, description)
    found += [f"model {model!r} {line}; {_OTHERWISE}" for line in llama_problems(description)]
    yield from found
    if not found:
        yield from stored_file_problems(config, description, None, "; add them")
        if not has_tokenizer(Path(model)):
            yield f"model directory {model} has no tokenizer, and llama.cpp loads no file without a vocabulary; add it"


def room_of_a_slot(section: LlamaCppConfig, file: GgufFile) -> int | None:
    """Tokens of a prompt with its answer that a slot has room for; None where the file does not say."""
    n_tokens = section.n_ctx or file.n_context
    if n_tokens is None:
        return None
    share = n_tokens if section.kv_unified else n_tokens // n_slots(section)
    # llama.cpp gives no slot more than the model was trained for.
    return share if file.n_context is None else min(share, file.n_context)


def _precision(config: ExperimentConfig, file: GgufFile) -> Iterator[str]:
    if file.precision is not None and file.precision != config.precision:
        yield (
            f"precision: {config.precision}: {config.model} holds weights of {file.precision}, and llama.cpp "
            f"converts none; set precision: {file.precision}, or auto"
        )


def _room(config: ExperimentConfig, section: LlamaCppConfig, file: GgufFile) -> Iterator[str]:
    room = room_of_a_slot(section, file)
    # Random prompts have lengths of their own; a request that is too long is told when its turn comes.
    needed = config.max_output_tokens + (1 if config.dataset.random is not None else config.max_input_tokens)
    if room is None or needed <= room:
        return
    slots = n_slots(section)
    trained = f", and the model was made for {file.n_context}" if file.n_context is not None else ""
    yield (
        f"max_input_tokens {config.max_input_tokens} and max_output_tokens {config.max_output_tokens} need {needed} "
        f"tokens for a request, and each of {slots} has room for {room} (llamacpp.n_ctx: "
        f"{section.n_ctx or 'not set'}{trained}); lower them, or set llamacpp.n_ctx to {needed * slots} or more"
    )


def _drafts(section: LlamaCppConfig) -> Iterator[str]:
    if section.speculative_type == "draft_simple" and section.draft_model is None:
        yield "llamacpp.speculative_type: draft_simple needs llamacpp.draft_model, the GGUF file of the draft"
    for name in ("draft_model", "lookup_cache_static"):
        path: Path | None = getattr(section, name)
        if path is not None and not path.is_file():
            yield f"llamacpp.{name}: there is no file {path}"
