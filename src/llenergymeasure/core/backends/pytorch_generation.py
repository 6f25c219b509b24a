"""What ``generate`` is told: the model's own generation settings with the experiment's on top."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig

if TYPE_CHECKING:
    from transformers import GenerationConfig

# Ours to theirs; everything else in the two sections has its name in transformers.
_DECODER_NAMES = {"min_output_tokens": "min_new_tokens"}
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
# transformers reads these from the model that drafts, not from what generate is given.
_DRAFT_FIELDS = ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold")
_CACHE_SETTINGS = {
    "backend": "cache_backend",
    "nbits": "cache_nbits",
    "q_group_size": "cache_group_size",
    "residual_length": "cache_residual_length",
}


def generation_config(model: Any, tokenizer: Any, config: ExperimentConfig) -> "GenerationConfig":
    """The ``GenerationConfig`` of an experiment; fields that are null keep the model's own value."""
    generation = copy.deepcopy(model.generation_config)
    section = config.pytorch or PyTorchConfig()
    generation.max_length = generation.min_length = None
    generation.max_new_tokens = config.max_output_tokens
    generation.pad_token_id = tokenizer.pad_token_id
    if generation.eos_token_id is None:
        generation.eos_token_id = tokenizer.eos_token_id
    for name, value in _given(config, section).items():
        setattr(generation, name, value)
    if not config.decoder.do_sample:
        # The model's own would only make transformers warn: greedy decoding reads none of them.
        for name in _SAMPLING:
            setattr(generation, name, None)
    return generation  # type: ignore[no-any-return]


def set_draft(drafting_model: Any, section: PyTorchConfig) -> None:
    """Tell the model that drafts how to: a draft model, or the model itself when it exits early."""
    for name in _DRAFT_FIELDS:
        value = getattr(section, name)
        if value is not None:
            setattr(drafting_model.generation_config, name, value)


def described(generation: "GenerationConfig") -> dict[str, Any]:
    """The settings that are not at their default, as plain values."""
    shown = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams", "max_new_tokens")
    found = {name: getattr(generation, name, None) for name in shown}
    for name, value in generation.to_diff_dict().items():
        if name not in found and not name.endswith("_token_id") and not name.startswith(("_", "transformers_")):
            found[name] = value if isinstance(value, str | int | float | bool | None) else str(value)
    return found


def _given(config: ExperimentConfig, section: PyTorchConfig) -> dict[str, Any]:
    """What the experiment sets, by transformers' names."""
    known = known_names()
    decoder = {
        _DECODER_NAMES.get(name, name): getattr(config.decoder, name) for name in type(config.decoder).model_fields
    }
    own = {name: getattr(section, name) for name in type(section).model_fields}
    given = {name: v for name, v in {**decoder, **own}.items() if name in known and v is not None}
    if section.cache_implementation == "quantized":
        settings = {theirs: getattr(section, ours) for theirs, ours in _CACHE_SETTINGS.items()}
        given["cache_config"] = {"backend": "quanto"} | {k: v for k, v in settings.items() if v is not None}
    if section.compile is not None:
        # Compiled once as a whole or not at all: transformers' own compilation of the decoding step stays out.
        given["disable_compile"] = True
    return given | {k: v for k, v in config.passthrough_kwargs.items() if k in known}


def known_names() -> Mapping[str, Any]:
    """The parameters of this transformers' ``GenerationConfig``."""
    from transformers import GenerationConfig

    return {name: value for name, value in vars(GenerationConfig()).items() if not name.startswith("_")}
