"""What keeps an experiment from running under TensorRT-LLM, found before it is loaded and without importing it."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.config.engines import TensorRTConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.tensorrt.parameters import n_gpus, section_of
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.warnings import MeasurementWarning

# Of ``TorchLlmArgs``, where nothing is said.
_MAX_NUM_TOKENS = 8192
# What each way of drafting cannot do without: its configuration refuses it, or asserts.
_DRAFTING_NEEDS = {
    "Draft_Target": ("speculative_model", "max_draft_len"),
    "Eagle": ("speculative_model", "max_draft_len"),
    "NGram": ("max_draft_len", "max_matching_ngram_size"),
}


def problems_of(config: ExperimentConfig) -> Iterator[str]:
    """What does not fit, one line each."""
    section = section_of(config)
    if config.lora is not None:
        yield (
            "lora: the tensorrt engine is given no adapters here yet; merge it into the model, or use backend: pytorch"
        )
    yield from _devices(config)
    yield from _lengths(config)
    yield from _ranks(section)
    needed = _DRAFTING_NEEDS.get(str(section.decoding_type), ())
    missing = [f"tensorrt.{name}" for name in needed if getattr(section, name) is None]
    if missing:
        yield f"tensorrt.decoding_type: {section.decoding_type} needs {' and '.join(missing)}; set it"
    known = _engine_arguments()
    for name in config.passthrough_kwargs:
        if known and name not in known:
            yield (
                f"passthrough_kwargs.{name}: TorchLlmArgs of TensorRT-LLM has no such argument, and nothing else is "
                "passed through; remove it"
            )


def cautions_of(config: ExperimentConfig) -> Iterator[MeasurementWarning]:
    """What will run and not as one would think."""
    if config.decoder.do_sample:
        yield MeasurementWarning(
            "sampling_not_seeded",
            "TensorRT-LLM's sampler on PyTorch draws from a generator with a seed of its own, so that the tokens of a "
            "request depend on all that was drawn before, and not on random_seed",
            "decode greedily where the tokens have to be the same in every run",
        )


def _devices(config: ExperimentConfig) -> Iterator[str]:
    n_wanted, n_visible = n_gpus(config), len(visible_gpus().uuids)
    if n_visible < n_wanted:
        yield (
            f"tensorrt: {n_wanted} GPUs are needed, and {n_visible} are visible"
            f"{'; TensorRT-LLM runs on NVIDIA GPUs alone' if not n_visible else ''}"
        )


def _lengths(config: ExperimentConfig) -> Iterator[str]:
    section = section_of(config)
    longest = 1 if config.dataset.random is not None else config.max_input_tokens
    needed = config.max_output_tokens + longest
    if section.max_seq_len is not None and needed > section.max_seq_len:
        yield (
            f"max_input_tokens {config.max_input_tokens} and max_output_tokens {config.max_output_tokens} need "
            f"{needed} tokens for a request, and tensorrt.max_seq_len is {section.max_seq_len}; lower them, or raise it"
        )
    most = section.max_num_tokens or _MAX_NUM_TOKENS
    if not section.enable_chunked_prefill and longest > most:
        yield (
            f"max_input_tokens: {config.max_input_tokens} is more than a step takes, {most}, and without chunked "
            "prefill a prompt must fit into one; raise tensorrt.max_num_tokens, or set tensorrt.enable_chunked_prefill"
        )


def _ranks(section: TensorRTConfig) -> Iterator[str]:
    """Sizes that do not go with each other (``Mapping`` of 1.2.1)."""
    n_tensor, n_stages = section.tensor_parallel_size or 1, section.pipeline_parallel_size or 1
    sizes = {
        f"tensorrt.{name}": size
        for name in ("moe_tensor_parallel_size", "moe_expert_parallel_size")
        if (size := getattr(section, name)) is not None
    }
    product = 1
    for size in sizes.values():
        product *= size
    if sizes and (n_tensor % product or (len(sizes) > 1 and product != n_tensor)):
        told = " times ".join(f"{name} {size}" for name, size in sizes.items())
        yield f"{told} must {'be' if len(sizes) > 1 else 'divide'} tensorrt.tensor_parallel_size, {n_tensor}"
    if section.pp_partition is not None and len(section.pp_partition) != n_stages:
        yield (
            f"tensorrt.pp_partition: {len(section.pp_partition)} stages, and tensorrt.pipeline_parallel_size is "
            f"{n_stages}; make them equal"
        )
    if section.decoding_type is not None and n_stages > 1:
        yield (
            f"tensorrt.decoding_type: {section.decoding_type}: TensorRT-LLM drafts nothing over several stages; remove "
            "it, or tensorrt.pipeline_parallel_size"
        )


def _engine_arguments() -> frozenset[str]:
    """The names of ``TorchLlmArgs``, read from its source, for importing it starts MPI; none if unknown."""
    spec = importlib.util.find_spec("tensorrt_llm")
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    for place in places:
        try:
            tree = ast.parse((Path(place) / "llmapi" / "llm_args.py").read_text("utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        return frozenset(
            part.target.id
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name in ("BaseLlmArgs", "TorchLlmArgs")
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        )
    return frozenset()
