"""What of a checkpoint, a method and a build does not go together, by descriptions without weights."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llenergymeasure.core.backends.vllm.quantised import (
    KNOWN,
    ON_LOADING,
    build_problems,
    quantisation_problems,
    stored_method,
)
from tests.fakes.recorded_api import recorded
from tests.unit.core.backends.vllm.test_parameters import config_of

DENSE = SimpleNamespace()


def quantised_by(method: str) -> Any:
    return SimpleNamespace(quantization_config={"quant_method": method})


def problems(
    description: Any, asked: str | None = None, *, on_cpu: bool = False, precision: str = "bf16", **fields: Any
) -> list[str]:
    section = {} if asked is None else {"quantization": asked}
    config = config_of(section, precision=precision, **fields)
    return list(quantisation_problems(config, description, on_cpu=on_cpu))


def test_the_methods_known_here_are_those_of_the_release() -> None:
    theirs = set(recorded("vllm-0.32.0.json")["SpeculativeConfig"]["quantization"]["choices"])
    # What Intel's tool calls itself is taken under vLLM's own name for it.
    assert {*KNOWN} - {"auto-round"} == theirs
    assert {*ON_LOADING} < KNOWN


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        (None, None), (None, "fp8"), (None, "mxfp8"), ("gptq", None), ("gptq", "gptq_marlin"), ("gptq", "moe_wna16"),
        ("awq", "awq_marlin"), ("fp8", "fp8"), ("compressed-tensors", "compressed-tensors"), ("auto-round", "inc"),
        ("modelopt", "modelopt_fp4"), ("quark", "humming"),
    ],
)  # fmt: skip
def test_what_goes_together_is_no_problem(stored: str | None, asked: str | None) -> None:
    assert problems(DENSE if stored is None else quantised_by(stored), asked) == []


@pytest.mark.parametrize(
    ("stored", "asked", "said"),
    [
        ("awq", "gptq", "vllm.quantization: gptq: the checkpoint of 'm' is quantised with awq already; remove it, "),
        ("fp8", "fp8_per_channel", "vllm.quantization: fp8_per_channel: the checkpoint of 'm' is quantised with fp8 "),
        ("bitsandbytes", None, "the checkpoint of 'm' is quantised with bitsandbytes, which vLLM does not know"),
        ("fp_quant", None, "the checkpoint of 'm' is quantised with fp_quant, which vLLM will drop; "),
        (None, "torchao", "vllm.quantization: torchao: the checkpoint of 'm' is not quantised, and torchao does not "),
    ],
)
def test_what_does_not_is_told_before_it_loads(stored: str | None, asked: str | None, said: str) -> None:
    (line,) = problems(DENSE if stored is None else quantised_by(stored), asked)
    assert line.startswith(said)


def test_a_method_that_vllm_will_drop_runs_where_that_is_allowed() -> None:
    allowed = {"allow_deprecated_quantization": True}
    assert problems(quantised_by("fp_quant"), passthrough_kwargs=allowed) == []


def test_awq_has_one_name_on_a_cpu() -> None:
    assert problems(quantised_by("awq"), "awq", on_cpu=True) == []
    for other in ("auto_awq", "awq_marlin"):
        (line,) = problems(quantised_by("awq"), other, on_cpu=True)
        assert "on a CPU vLLM knows that by no other name" in line
    assert problems(quantised_by("gptq"), "gptq_marlin", on_cpu=True) == []


def test_what_quantises_experts_alone_is_for_models_that_have_some() -> None:
    (line,) = problems(DENSE, "int8_per_channel_weight_only")
    assert line.startswith("vllm.quantization: int8_per_channel_weight_only quantises experts alone, and 'm' has none")
    assert problems(SimpleNamespace(num_local_experts=8), "int8_per_channel_weight_only") == []
    assert problems(SimpleNamespace(text_config=SimpleNamespace(num_experts=8)), "experts_int8") == []


@pytest.mark.parametrize(("asked", "flags", "fits"), [
    ("mxfp8", {"avx512f"}, False), ("mxfp4", {"avx512f"}, False), ("fp8_per_block", {"avx2"}, False),
    ("fp8", {"avx2"}, False), ("fp8", {"avx512f"}, True), ("fp8_per_tensor", {"amx_tile"}, True),
])  # fmt: skip
def test_not_all_that_quantises_on_loading_does_on_a_cpu(asked: str, flags: set[str], fits: bool) -> None:
    config = config_of({"quantization": asked}, precision="bf16")
    assert not list(quantisation_problems(config, DENSE, on_cpu=False, flags=frozenset(flags)))
    lines = list(quantisation_problems(config, DENSE, on_cpu=True, flags=frozenset(flags)))
    assert [line.partition(":")[0] for line in lines] == ([] if fits else ["vllm.quantization"])


def test_a_file_beside_the_description_may_say_that_it_is_quantised(tmp_path: Path) -> None:
    (line,) = problems(DENSE, "gptq", model=str(tmp_path))
    assert "is not quantised, and gptq does not quantise on loading" in line
    (tmp_path / "quantize_config.json").write_text("{}")
    assert problems(DENSE, "gptq", model=str(tmp_path)) == []
    # A model that is still to be fetched may have one.
    assert problems(DENSE, "gptq", model="org/model") == []


def test_quantised_weights_are_multiplied_in_16_bits() -> None:
    (line,) = problems(quantised_by("gptq"), precision="fp32")
    assert line.startswith("precision: fp32: with gptq vLLM computes in bf16 or fp16")
    assert problems(quantised_by("compressed-tensors"), precision="fp32") == []
    assert problems(DENSE, precision="fp32") == []


def test_the_method_is_found_wherever_a_description_has_it() -> None:
    assert stored_method(DENSE) is None
    assert stored_method(SimpleNamespace(text_config=quantised_by("AWQ"))) == "awq"
    assert stored_method(SimpleNamespace(compression_config={"quant_method": "compressed-tensors"})) is not None
    as_object = SimpleNamespace(to_dict=lambda: {"quant_method": SimpleNamespace(value="fp8")})
    assert stored_method(SimpleNamespace(quantization_config=as_object)) == "fp8"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"kv_cache_dtype": "nvfp4"}, "vllm.kv_cache_dtype: nvfp4: the vLLM that is installed is made for CPUs"),
        ({"attention_backend": "FLASHINFER"}, "vllm.attention_backend: FLASHINFER: "),
        ({"async_scheduling": True}, "vllm.async_scheduling: True: "),
        ({"cudagraph_mode": "FULL"}, "vllm.cudagraph_mode: FULL: "),
    ],
)
def test_what_a_build_for_cpus_has_not_is_told(section: dict[str, Any], said: str) -> None:
    (line,) = build_problems(config_of(section))
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("precision", "cache", "fits"),
    [
        ("bf16", "bfloat16", True), ("fp16", "float16", True), ("bf16", "float16", False), ("fp32", "float16", False),
        ("fp32", "bfloat16", False), ("fp32", "turboquant_k8v4", False),
    ],
)  # fmt: skip
def test_a_cpu_reads_a_cache_in_precision_and_no_other_of_16_bits(precision: str, cache: str, fits: bool) -> None:
    lines = list(build_problems(config_of({"kv_cache_dtype": cache}, precision=precision)))
    assert [("and another one wrongly" in line) for line in lines] == ([] if fits else [True])


def test_a_cache_of_8_bits_needs_wide_instructions() -> None:
    config = config_of({"kv_cache_dtype": "fp8_e5m2"})
    assert list(build_problems(config, frozenset({"avx2", "avx512f"}))) == []
    assert list(build_problems(config, frozenset({"amx_tile"}))) == []
    (line,) = build_problems(config, frozenset({"avx2", "sse4_2"}))
    assert line.startswith("vllm.kv_cache_dtype: fp8_e5m2: on a CPU it needs AVX-512 or AMX")


def test_what_a_build_for_cpus_has_is_no_problem() -> None:
    section = {"kv_cache_dtype": "fp8", "attention_backend": "CPU_ATTN", "cudagraph_mode": "NONE", "enable_dbo": False}
    assert list(build_problems(config_of(section))) == []
