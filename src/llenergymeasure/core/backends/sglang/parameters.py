"""The section ``sglang`` and the rest of an experiment as SGLang is told them (names of SGLang 0.5.23)."""

import json
from collections.abc import Set
from typing import Any

from llenergymeasure.config.engines import SGLangConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import sampling_told, seed_of
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_OF_SAMPLING = ("presence_penalty", "frequency_penalty")


def section_of(config: ExperimentConfig) -> SGLangConfig:
    """The experiment's section, with its defaults when it was left out."""
    return config.sglang or SGLangConfig()


def n_gpus(config: ExperimentConfig) -> int:
    """GPUs of all ranks; groups of attention and experts are among those of tensors."""
    section = section_of(config)
    return (section.tp_size or 1) * (section.pp_size or 1) * (section.dp_size or 1)


def engine_arguments(origin: Origin) -> dict[str, Any]:
    """Keyword arguments of ``sglang.Engine``; what was not written is left to SGLang."""
    config = origin.config
    written = {name: value for name, value in section_of(config).model_dump().items() if value is not None}
    # The folder is already that of the revision.
    fields = {name: value for name, value in written.items() if name not in (*_OF_SAMPLING, "revision")}
    return {
        "disable_radix_cache": True,
        **fields,
        **_own_ends(origin.description, origin.settings.end_token_ids),
        "model_path": str(origin.opened),
        "dtype": _DTYPES[config.precision],
        "random_seed": config.random_seed,
        # What its tokens are is known outside.
        "skip_tokenizer_init": True,
        **config.passthrough_kwargs,
    }


def sampling_arguments(
    config: ExperimentConfig, request: Request, random_seed: int, settings: OwnSettings
) -> dict[str, Any]:
    """Sampling parameters of SGLang for a request.

    Args:
        config: the experiment.
        request: which limits its answer.
        random_seed: of this run; each request draws from its own, which follows from it and from its place.
        settings: how the model decodes, and which tokens end an answer.
    """
    # Names and values of its own.
    drawing = {"top_k": settings.top_k or -1, "sampling_seed": seed_of(random_seed, request.index)}
    return {
        **sampling_told(config, section_of(config), settings, drawing),
        "max_new_tokens": request.max_output_tokens,
        # With it SGLang looks at no end token at all, those of the request neither.
        "ignore_eos": not settings.end_token_ids,
    }


def _own_ends(description: Any, ends: Set[int]) -> dict[str, str]:
    """That answers end at these tokens only: SGLang adds those of config.json to those of generation_config.json."""
    of_model = getattr(description, "eos_token_id", None)
    if isinstance(of_model, int):
        of_model = [of_model]
    if not ends or set(of_model or ()) <= ends:
        return {}
    return {"json_model_override_args": json.dumps({"eos_token_id": sorted(ends)})}
