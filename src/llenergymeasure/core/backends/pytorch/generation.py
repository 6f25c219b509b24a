"""What ``generate`` is told: the model's own generation settings with the experiment's on top."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.base import nearest
from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.engines.pytorch_left_out import HANDED_ON, UNSAFE
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.exceptions import BackendError

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

# Ours to theirs; everything else in the two sections has its name in transformers.
_DECODER_NAMES = {"min_output_tokens": "min_new_tokens"}
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_LENGTHS = ("max_length", "max_new_tokens")
# Set by fields that always have a value, so what the model brings along is no surprise.
_ALWAYS_SET = (*_LENGTHS, "num_return_sequences")
_LEAST_LENGTHS = ("min_length", "min_new_tokens")
# transformers reads these from the model that drafts, not from what generate is given.
_DRAFT_FIELDS = ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold")
_DRAFTING = (
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "assistant_early_exit",
    "assistant_ensemble_weight",
)
_TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
# Caches that a rejected draft can be taken back from; transformers reads "hybrid" as null.
_REWINDING_CACHES = (None, "dynamic", "offloaded", "hybrid")
_CACHE_SETTINGS = {
    "backend": "cache_backend",
    "nbits": "cache_nbits",
    "q_group_size": "cache_group_size",
    "residual_length": "cache_residual_length",
}


def section_of(config: ExperimentConfig) -> PyTorchConfig:
    """The section, with its defaults when it was left out."""
    return config.pytorch or PyTorchConfig()


def reset_own_settings(model: Any, config: ExperimentConfig, *, is_draft: bool = False) -> list[str]:
    """Take out of a model's generation_config.json what an experiment may not set, or has not set.

    It has to go from the model itself: ``generate`` fills every null that it is given from there.

    Args:
        model: the model, or the draft beside it.
        config: the experiment.
        is_draft: the model is a draft, which also needs a cache that rewinds.

    Returns:
        What would have changed the run, as "name: value".

    Raises:
        BackendError: the model's own kind of cache cannot go with a draft.
    """
    own = model.generation_config
    if not is_draft:
        _check_own_cache(own, config)
    names = [*(name for name in vars(own) if name in UNSAFE and name not in _TOKEN_IDS), *_LEAST_LENGTHS, *_DRAFTING]
    if is_draft:
        names += ["cache_implementation", "use_cache"]
    defaults = own._get_default_generation_params()
    taken = {name: value for name in names if (value := getattr(own, name, None)) is not None}
    for name in (*names, *_ALWAYS_SET, *(() if config.decoder.do_sample else _SAMPLING)):
        setattr(own, name, None)
    if config.decoder.ignore_eos:
        own.eos_token_id = None
    return [f"{name}: {value}" for name, value in taken.items() if value not in (False, defaults.get(name))]


def generation_config(model: Any, tokenizer: Any, config: ExperimentConfig) -> "GenerationConfig":
    """The ``GenerationConfig`` of an experiment; fields that are null keep the model's own value.

    Raises:
        BackendError: a passed-through value that transformers cannot take.
    """
    generation = copy.deepcopy(model.generation_config)
    section = section_of(config)
    generation.max_new_tokens = config.max_output_tokens
    generation.pad_token_id = tokenizer.pad_token_id
    if generation.eos_token_id is None:
        generation.eos_token_id = tokenizer.eos_token_id
    if config.decoder.ignore_eos:
        generation.eos_token_id = None
    for name, value in _given(config, section).items():
        setattr(generation, name, value)
    return generation  # type: ignore[no-any-return]


def with_length(generation: "GenerationConfig", n_tokens: int) -> "GenerationConfig":
    """The same settings for answers of at most ``n_tokens``."""
    if generation.max_new_tokens == n_tokens:
        return generation
    shorter = copy.copy(generation)
    shorter.max_new_tokens = n_tokens
    return shorter


def set_draft(drafting_model: Any, section: PyTorchConfig) -> None:
    """Tell the model that drafts how to: a draft model, or the model itself when it exits early."""
    restore_draft(drafting_model, {name: v for name in _DRAFT_FIELDS if (v := getattr(section, name)) is not None})


def draft_settings(drafting_model: Any) -> dict[str, Any]:
    """How the model drafts."""
    return {name: getattr(drafting_model.generation_config, name) for name in _DRAFT_FIELDS}


def restore_draft(drafting_model: Any, settings: Mapping[str, Any]) -> None:
    """Let the model draft as at first: with the heuristic schedule transformers leaves its last count there."""
    for name, value in settings.items():
        setattr(drafting_model.generation_config, name, value)


def effective(model: Any, generation: "GenerationConfig") -> "GenerationConfig":
    """What ``generate`` makes of it: nulls filled in from the model, then from transformers' defaults."""
    return model._prepare_generation_config(generation)[0]  # type: ignore[no-any-return]


def described(generation: "GenerationConfig") -> dict[str, Any]:
    """The settings in effect that are not at transformers' defaults, and the main ones in any case."""
    shown = ("do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "num_beams", "max_new_tokens")
    found = {name: getattr(generation, name, None) for name in shown}
    defaults = generation._get_default_generation_params()
    hidden = {*_LENGTHS, "min_length", *(() if generation.do_sample else _SAMPLING)}
    for name, value in generation.to_diff_dict().items():
        if name in found or name in hidden or (name in defaults and value == defaults[name]):
            continue
        if not name.endswith("_token_id") and not name.startswith(("_", "transformers_")):
            plain = value.to_dict() if hasattr(value, "to_dict") else value
            found[name] = plain if isinstance(plain, str | int | float | bool | None) else str(plain)
    # Without sampling none of them is looked at.
    return found | (dict.fromkeys(set(found) & set(_SAMPLING)) if not generation.do_sample else {})


def has_draft(section: PyTorchConfig) -> bool:
    """Whether tokens are drafted, in whatever way."""
    return any(
        getattr(section, name) is not None
        for name in ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit")
    )


def _check_own_cache(own: "GenerationConfig", config: ExperimentConfig) -> None:
    section = section_of(config)
    if not has_draft(section):
        return
    kind = own.cache_implementation
    if section.cache_implementation is None and kind not in _REWINDING_CACHES:
        raise BackendError(
            f"cache_implementation: {kind} in generation_config.json of model {config.model!r} cannot go with a "
            "draft, which is taken back from the cache; set pytorch.cache_implementation: dynamic or remove the draft"
        )
    if section.use_cache is None and own.use_cache is False:
        raise BackendError(
            f"use_cache: false in generation_config.json of model {config.model!r} cannot go with a draft, which is "
            "checked against the cache; set pytorch.use_cache: true or remove the draft"
        )


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
    passed = {name: value for name, value in config.passthrough_kwargs.items() if name in known}
    return given | {name: _as_object(name, value) for name, value in passed.items()}


def _as_object(name: str, value: Any) -> Any:
    """A value of a file as the library wants it."""
    from transformers import WatermarkingConfig

    try:
        if name == "watermarking_config" and isinstance(value, dict):
            return WatermarkingConfig.from_dict(value)
        if name == "sequence_bias":
            # The library takes a mapping only with keys that no file can hold, and a bias only as a float.
            return [[ids, float(bias)] for ids, bias in value]
    except (TypeError, ValueError) as error:
        form = "a list of pairs such as [[5, 6], -1.0]" if name == "sequence_bias" else "a mapping of its settings"
        raise BackendError(f"passthrough_kwargs.{name}: {error}; give {form}") from error
    return value


def known_names() -> Mapping[str, Any]:
    """The parameters of this transformers' ``GenerationConfig``."""
    from transformers import GenerationConfig

    return {name: value for name, value in vars(GenerationConfig()).items() if not name.startswith("_")}


def row_ends(limits: Sequence[int], n_answers: int, prompt_width: int, device: "torch.device") -> "list[RowEnds]":
    """What ends the rows of a batch, as stopping criteria of ``generate``; nothing where its own limit does.

    Args:
        limits: [n requests] most new tokens of each.
        n_answers: rows of each request.
        prompt_width: tokens of the padded prompt.
        device: where the rows lie.
    """
    return [] if len(set(limits)) == 1 else [RowEnds(limits, n_answers, prompt_width, device)]


class RowEnds:
    """Says of each row whether it has as many tokens as it may have.

    A finished row stays in the batch, as one that met its end token does, until the last has finished. What
    it is given meanwhile is cut off afterwards.
    """

    def __init__(self, limits: Sequence[int], n_answers: int, prompt_width: int, device: "torch.device") -> None:
        import torch

        self._ends = torch.tensor(limits, device=device).repeat_interleave(n_answers) + prompt_width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the library's signature
        """[rows] booleans."""
        return self._ends <= input_ids.shape[1]


def unknown_passthrough(config: ExperimentConfig, description: Any) -> list[str]:
    """A line for each key of ``passthrough_kwargs`` that neither transformers nor the model knows.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    rest = [name for name in config.passthrough_kwargs if name not in known_names() and name not in HANDED_ON]
    private = [
        f"passthrough_kwargs.{name}: a name with _ before it is the library's own affair; remove it"
        for name in rest
        if name.startswith("_")
    ]
    rest = [name for name in rest if not name.startswith("_")]
    if not rest:
        return private
    known = [*known_names(), *HANDED_ON, *(name for name in vars(description) if not name.startswith("_"))]
    return private + [
        f"passthrough_kwargs.{name}: neither generate, nor from_pretrained, nor the configuration of this model has "
        f"such a parameter; {nearest(name, known, otherwise='remove it, or check its spelling')}"
        for name in rest
        if name not in known
    ]
