"""What keeps an experiment from running under SGLang, found before anything is loaded and without importing it."""

import ast
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.config.engines import SGLangConfig
from llenergymeasure.config.engines.sglang_left_out import LEFT_OUT
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.sglang.parameters import n_gpus, section_of
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.warnings import MeasurementWarning

# Of SGLang 0.5.23: what it takes for greedy, and the most of a penalty (sampling/sampling_params.py).
_GREEDY_BELOW, _MOST_PENALTY = 1e-6, 2.0
# Of a request's room that SGLang keeps to itself (managers/tp_worker.py, scheduler.py).
_ITS_OWN = 2
_OFF = ("", "0", "false", "no", "n", "f")


def problems_of(config: ExperimentConfig) -> Iterator[str]:
    """What does not fit, one line each."""
    section = section_of(config)
    if config.lora is not None:
        yield "lora: the sglang engine is given no adapters here yet; merge it into the model, or use backend: pytorch"
    n_wanted, n_visible = n_gpus(config), len(visible_gpus().uuids)
    if n_visible < n_wanted:
        yield f"sglang: {n_wanted} GPUs are needed, and {n_visible} are visible"
    needed = config.max_output_tokens + (1 if config.dataset.random is not None else config.max_input_tokens) + _ITS_OWN
    if section.context_length is not None and needed > section.context_length:
        yield (
            f"max_input_tokens {config.max_input_tokens} and max_output_tokens {config.max_output_tokens} need "
            f"{needed} tokens for a request, {_ITS_OWN} of them SGLang's own, and sglang.context_length is "
            f"{section.context_length}; lower them, or raise it"
        )
    yield from _beside_each_other(section)
    yield from _decoding(config)
    yield from _variables(config)
    known = _server_arguments()
    for name in config.passthrough_kwargs:
        if name not in known:
            yield (
                f"passthrough_kwargs.{name}: ServerArgs of SGLang has no such argument, and nothing else is passed "
                "through; remove it"
            )


def cautions_of(config: ExperimentConfig) -> Iterator[MeasurementWarning]:
    """What will run and not as one would think."""
    if config.decoder.do_sample and not section_of(config).enable_deterministic_inference:
        yield MeasurementWarning(
            "sampling_not_seeded",
            "SGLang draws from a generator of its own, so that the same random_seed may give other answers",
            "set sglang.enable_deterministic_inference: true to have draws follow the seed, with slower kernels",
        )


def _beside_each_other(section: SGLangConfig) -> Iterator[str]:
    """Fields that SGLang refuses beside each other, or passes over without a word (srt/arg_groups)."""
    groups, tensors = section.attn_dp_size or 1, section.tp_size or 1
    if tensors % groups:
        yield f"sglang.attn_dp_size: {groups} groups do not divide tp_size {tensors}; give a divisor of it"
    chunk, page = section.chunked_prefill_size, section.page_size
    if chunk is not None and page is not None and chunk > 0 and chunk % page:
        yield f"sglang.chunked_prefill_size: {chunk} is no multiple of page_size {page}; give one"
    if chunk == 0:
        yield "sglang.chunked_prefill_size: 0 is no size; -1 takes prompts whole"
    if section.schedule_policy in ("lpm", "dfs-weight") and section.disable_radix_cache is not False:
        yield (
            f"sglang.schedule_policy: {section.schedule_policy} goes by kept prompts, and none are; set "
            "disable_radix_cache: false, or another policy"
        )


def _decoding(config: ExperimentConfig) -> Iterator[str]:
    """Of ``decoder``, what SGLang refuses in each request, or takes for something else."""
    decoder = config.decoder
    if decoder.do_sample and decoder.temperature is not None and 0 < decoder.temperature < _GREEDY_BELOW:
        yield (
            f"decoder.temperature: {decoder.temperature:g}: SGLang would take the likeliest token; raise it to "
            f"{_GREEDY_BELOW:g}, or set decoder.do_sample: false"
        )
    if decoder.repetition_penalty is not None and decoder.repetition_penalty > _MOST_PENALTY:
        yield (
            f"decoder.repetition_penalty: {decoder.repetition_penalty:g}: SGLang takes at most {_MOST_PENALTY:g}; "
            "lower it"
        )


def _variables(config: ExperimentConfig) -> Iterator[str]:
    if os.environ.get("SGLANG_RUST_SERVER", "").lower() not in _OFF:
        yield "SGLANG_RUST_SERVER: its server has no Python interface; unset the variable"
    most = os.environ.get("SGLANG_MAX_NEW_TOKENS_LIMIT", "")
    if most.isdecimal() and 0 < int(most) < config.max_output_tokens:
        yield (
            f"SGLANG_MAX_NEW_TOKENS_LIMIT: {most} is less than max_output_tokens, {config.max_output_tokens}; unset "
            "the variable, or lower max_output_tokens"
        )


def _server_arguments() -> frozenset[str]:
    """The names of ``ServerArgs``, read from its source where it is installed, else as they were in 0.5.23."""
    spec = importlib.util.find_spec("sglang")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    found = {
        name
        for place in places
        for path in (Path(place) / "srt" / "arg_groups" / "fields").glob("*.py")
        for name in _annotated(path)
    }
    return frozenset(found or LEFT_OUT)


def _annotated(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for kind in tree.body:
        for node in kind.body if isinstance(kind, ast.ClassDef) else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id
