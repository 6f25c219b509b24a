"""What keeps an experiment from running under llama.cpp, found before anything is loaded."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp.file import GgufFile, file_of, read_header
from llenergymeasure.core.backends.llamacpp.parameters import n_slots, section_of, unknown_passthrough
from llenergymeasure.exceptions import BackendError, contained, first_line

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
        file = read_header(file_of(config.model))
    except BackendError as error:
        yield str(error)
    else:
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
