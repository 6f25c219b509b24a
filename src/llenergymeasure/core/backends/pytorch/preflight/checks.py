"""What an experiment needs and this machine, or the model, lacks; found before anything is loaded."""

import math
from collections.abc import Iterator
from typing import Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of, unknown_passthrough
from llenergymeasure.core.backends.pytorch.loading import (
    INSTALL,
    has_cuda,
    quantised_by,
    read_draft_description,
    read_model_description,
)
from llenergymeasure.core.backends.pytorch.preflight.files import draft_file_problems, file_problems
from llenergymeasure.core.backends.pytorch.preflight.quantised import is_installed, quantisation_problems
from llenergymeasure.core.backends.pytorch.preflight.refused_settings import refused_settings
from llenergymeasure.core.backends.pytorch.processes import process_problems, unshareable
from llenergymeasure.core.backends.pytorch.random_weights import GGUF_IS_WEIGHTS, not_drawn, quantised_description
from llenergymeasure.core.checkpoint.adapter import adapter_problems, place_problem
from llenergymeasure.core.checkpoint.readable import described, not_to_be_measured
from llenergymeasure.core.checkpoint.source import (
    conversion_problem,
    describe_source,
    is_gguf,
    model_problem,
)

# transformers takes kernels of the hub where the package is missing.
_FLASH_PACKAGES = {
    "flash_attention_2": ("flash_attn", "flash-attn"),
    "flash_attention_3": ("flash_attn_interface", "flash-attn-3"),
    "flash_attention_4": ("flash_attn", "flash-attn-4"),
}


def problems_of(config: ExperimentConfig) -> list[str]:
    """Everything that is missing, or does not fit, one line each."""
    section = section_of(config)
    trusted = section.trust_remote_code
    description, problems = described(
        config.model,
        model_problem(config.model, section.subfolder),
        lambda: read_model_description(config, describe_source(config.model)),
    )
    draft_description, draft_problems = None, list[str]()
    if (draft := section.assistant_model) is not None:
        draft_description, draft_problems = described(
            draft, model_problem(draft), lambda: read_draft_description(config, describe_source(draft))
        )
    problems += [f"pytorch.assistant_model: {problem}" for problem in draft_problems]
    found = [*problems, *missing_parts(config), *_conversion_problems(config)]
    found += _never_steady(config)
    found += adapter_problems(config.lora, description, trust_remote_code=trusted)
    if description is not None:
        found += unknown_passthrough(config, description)
        found += not_to_be_measured(config.model, description, trusted=trusted) or _of_a_model(config, description)
        if draft_description is not None:
            of_draft = not_to_be_measured(str(draft), draft_description, trusted=trusted) or [
                *draft_file_problems(config, draft_description)
            ]
            found += [f"pytorch.assistant_model: {line}" for line in of_draft]
            found += _unlike_the_draft(config, description, draft_description)
    return found


def _of_a_model(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What a causal model lacks, or does not fit."""
    yield from file_problems(config, description)
    yield from _unlike_the_model(config, description)
    yield from refused_settings(config, description)


def _never_steady(config: ExperimentConfig) -> Iterator[str]:
    """A steady state that half of the run, the most that is waited for it, is too short for."""
    measurement, batch_size = config.measurement, section_of(config).batch_size
    n_batches = math.ceil(config.n / batch_size)
    if measurement.methodology == "steady_state" and n_batches // 2 < measurement.n_steady_batches:
        yield (
            f"measurement.methodology: steady_state looks at {measurement.n_steady_batches} batches "
            f"(measurement.n_steady_batches) in the first half of the run, which has {n_batches // 2} of {n_batches} "
            f"(n {config.n}, batch_size {batch_size}); raise n, or lower measurement.n_steady_batches or batch_size"
        )


def _conversion_problems(config: ExperimentConfig) -> list[str]:
    """Packaged models that still have to be converted, and no place for it."""
    names = {config.model, section_of(config).assistant_model}
    return [problem for name in sorted(map(str, names)) if (problem := conversion_problem(name)) is not None]


def missing_parts(config: ExperimentConfig) -> list[str]:
    """Packages, devices and files that are missing."""
    section = section_of(config)
    found = [
        f"{wanted_by} needs {module}; install with {install}"
        for wanted_by, module, install in _packages(config, section)
        if not is_installed(module)
    ]
    if not has_cuda():
        found += [
            f"{wanted_by} needs a CUDA device, and torch sees none; remove it" for wanted_by in _for_gpus(section)
        ]
    found += process_problems(config)
    way = quantised_by(section)
    if is_gguf(config.model) and way is not None:
        found.append(
            f"pytorch.{way}: a GGUF file ({config.model}) is unpacked on loading and cannot be quantised "
            "again; give the directory of a dense model"
        )
    if is_gguf(config.model) and section.random_weights:
        found.append(f"pytorch.random_weights: {GGUF_IS_WEIGHTS}")
    no_adapter = place_problem(config.lora)
    return [*found, *_unknown_compiler(section), *([] if no_adapter is None else [no_adapter])]


def _packages(config: ExperimentConfig, section: PyTorchConfig) -> Iterator[tuple[str, str, str]]:
    """Optional packages: the field that wants one, its module, and how to get it."""
    way = quantised_by(section)
    if way is not None:
        yield f"pytorch.{way}", "torchao" if way == "torchao" else "bitsandbytes", INSTALL.format(extra="quantization")
    if section.torchao == "int4_weight_only":
        # torchao packs 4-bit weights with it, on any device.
        yield "pytorch.torchao: int4_weight_only", "mslk", "pip install mslk"
    if section.cache_implementation == "quantized":
        if section.cache_backend == "hqq":
            yield "pytorch.cache_backend: hqq", "hqq", "pip install hqq"
        elif section.cache_backend != "fp8":
            yield "pytorch.cache_implementation: quantized", "optimum.quanto", INSTALL.format(extra="quantization")
    if section.use_kernels:
        yield "pytorch.use_kernels", "kernels", "pip install kernels"
    attention = section.attn_implementation
    if attention is not None and "/" in attention:
        yield f"pytorch.attn_implementation: {attention}", "kernels", "pip install kernels"
    if attention in _FLASH_PACKAGES and not is_installed("kernels"):
        module, distribution = _FLASH_PACKAGES[attention]
        yield f"pytorch.attn_implementation: {attention}", module, f"pip install {distribution} (or kernels)"
    if config.lora is not None:
        yield "lora", "peft", INSTALL.format(extra="lora")
    if is_gguf(config.model):
        yield "reading a GGUF file", "gguf", INSTALL.format(extra="pytorch")


def _for_gpus(section: PyTorchConfig) -> Iterator[str]:
    """Fields whose value only a GPU can follow."""
    if section.cache_implementation in ("offloaded", "offloaded_static"):
        yield f"pytorch.cache_implementation: {section.cache_implementation}"
    if section.attn_implementation in _FLASH_PACKAGES:
        yield f"pytorch.attn_implementation: {section.attn_implementation}"


def _unknown_compiler(section: PyTorchConfig) -> list[str]:
    if section.compile_backend in (None, "inductor") or not section.compile:
        return []
    import torch._dynamo

    known = torch._dynamo.list_backends(None)
    if section.compile_backend in known:
        return []
    return [f"pytorch.compile_backend: torch has none called {section.compile_backend!r}; it has {', '.join(known)}"]


def _unlike_the_model(config: ExperimentConfig, description: Any) -> list[str]:
    """What is asked of a model that it is not made for, by its transformers configuration."""
    section = section_of(config)
    found = [*unshareable(config, description)]
    if section.random_weights and quantised_description(description):
        found.append(f"pytorch.random_weights: {not_drawn(config.model)}")
    elif quantised_description(description):
        found += quantisation_problems(description)
    if not quantised_description(description):
        asked = [f"checkpoint_{n}" for n in ("backend", "dequantize")]
        found += [
            f"pytorch.{name}: this checkpoint is not quantised; remove the field"
            for name in asked
            if getattr(section, name) is not None
        ]
    return found


def _unlike_the_draft(config: ExperimentConfig, description: Any, draft: Any) -> list[str]:
    ours, theirs = description.get_text_config().vocab_size, draft.get_text_config().vocab_size
    if ours == theirs:
        return []
    return [
        f"pytorch.assistant_model: {section_of(config).assistant_model} has a vocabulary of {theirs} tokens and "
        f"{config.model} one of {ours}; a draft needs the same tokenizer"
    ]
