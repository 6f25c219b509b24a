"""Sections of vLLM, TensorRT-LLM and llama.cpp: edges, conflicts, what sleeps, what each engine lacks."""

import typing
from typing import Any

import annotated_types
import pytest
from pydantic import ValidationError

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines.llamacpp import LlamaCppConfig
from llenergymeasure.config.engines.registry import ENGINE_SECTIONS
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.sglang import SGLangConfig
from llenergymeasure.config.engines.tensorrt import TensorRTConfig
from llenergymeasure.config.engines.vllm import VLLMConfig
from llenergymeasure.config.models import ExperimentConfig

Section = type[EngineSection]
SECTIONS: list[Section] = [VLLMConfig, TensorRTConfig, LlamaCppConfig, SGLangConfig]
BOUNDS = (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt)
each_section = pytest.mark.parametrize("section", SECTIONS)


def refusal(section: Section, fields: dict[str, Any]) -> tuple[str, str]:
    """The field that the one error is reported at, and its message."""
    with pytest.raises(ValidationError) as caught:
        section.model_validate(fields)
    (error,) = caught.value.errors()
    return str(error["loc"][0]), error["msg"]


@each_section
def test_nothing_is_set_unless_said(section: Section) -> None:
    given = {name: value for name, value in section().model_dump().items() if value is not None}
    assert given == ({} if section is LlamaCppConfig else {"trust_remote_code": False})


@each_section
def test_a_section_repeats_no_field_that_all_engines_share(section: Section) -> None:
    assert not set(section.model_fields) & (set(ExperimentConfig.model_fields) | set(DecoderConfig.model_fields))


@each_section
def test_every_field_is_described_in_one_line(section: Section) -> None:
    for name, field in section.model_fields.items():
        text = field.description or ""
        assert text.endswith("."), name
        assert "\n" not in text
        assert len(text) <= 120, name


@pytest.mark.parametrize("section", ENGINE_SECTIONS.values())
def test_what_alters_answers_is_a_field_or_choices_of_one(section: Section) -> None:
    for condition in section.alters_answers:
        name, _, choices = condition.partition("=")
        assert set(choices.split("|")) - {""} <= {*_choices(section.model_fields[name].annotation)}, condition


def _choices(annotation: Any) -> list[Any]:
    """All texts in a type that is made of literals."""
    parts = typing.get_args(annotation)
    return [part for part in parts if isinstance(part, str)] + [c for part in parts for c in _choices(part)]


def test_what_alters_answers_is_told_by_the_values_of_a_section() -> None:
    values = LlamaCppConfig(cache_type_k="q8_0", cache_type_v="f32", penalty_freq=0.5).model_dump()
    assert LlamaCppConfig.altering(values) == ["cache_type_k q8_0", "penalty_freq"]
    assert LlamaCppConfig.altering(LlamaCppConfig().model_dump()) == []
    # Of a file that was written before a field was there.
    assert VLLMConfig.altering({}) == []


@each_section
def test_every_number_has_a_bound(section: Section) -> None:
    numbers = [n for n, f in section.model_fields.items() if {int, float} & {*_plain_types(f.annotation)}]
    assert len(numbers) >= 20
    assert [n for n in numbers if not any(isinstance(m, BOUNDS) for m in section.model_fields[n].metadata)] == []


def _plain_types(annotation: Any) -> list[Any]:
    """The alternatives of a union, without what is annotated to them."""
    alternatives = typing.get_args(annotation) or (annotation,)
    return [typing.get_args(a)[0] if hasattr(a, "__metadata__") else a for a in alternatives]


@each_section
def test_the_tables_speak_of_fields_that_there_are(section: Section) -> None:
    names = list(section.model_fields)
    for name, others in section.conflicts.items():
        assert all(names.index(other.partition("=")[0]) < names.index(name) for other in others)
    for name, wakers in section.needs.items():
        assert {name, *(waker.partition("=")[0] for waker in wakers)} <= set(names)
    for name in (*section.decoder_conflicts, *section.decoder_needs, *section.one_is_off):
        assert name.partition("=")[0] in names
    assert section.lacks_decoder_fields <= set(DecoderConfig.model_fields)


@each_section
def test_a_name_of_the_library_is_a_field_or_mapped_or_refused_but_never_two_of_them(section: Section) -> None:
    own, mapped, refused = set(section.model_fields), set(section.library_names), set(section.refused_names)
    assert (own & mapped, own & refused, mapped & refused) == (set(), set(), set())


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (VLLMConfig, "tensor_parallel_size", 0),
        (VLLMConfig, "tensor_parallel_size", 2.0),
        (VLLMConfig, "tensor_parallel_size", True),
        (VLLMConfig, "max_num_seqs", "8"),
        (VLLMConfig, "gpu_memory_utilization", 0),
        (VLLMConfig, "gpu_memory_utilization", 1.01),
        (VLLMConfig, "watermark", 1),
        (VLLMConfig, "cpu_offload_gb", 0),
        (VLLMConfig, "max_model_len", 0),
        (VLLMConfig, "kv_cache_dtype", "int8"),
        (VLLMConfig, "optimization_level", 4),
        (VLLMConfig, "optimization_level", True),
        (VLLMConfig, "compilation_mode", -1),
        (VLLMConfig, "flash_attn_version", 1),
        (VLLMConfig, "cudagraph_capture_sizes", []),
        (VLLMConfig, "cudagraph_capture_sizes", [8, 0]),
        (VLLMConfig, "quantization", "gguf"),
        (VLLMConfig, "rejection_sample_method", "synthetic"),
        (VLLMConfig, "suffix_decoding_min_token_prob", 1.1),
        (VLLMConfig, "max_lora_rank", 24),
        (VLLMConfig, "max_lora_rank", True),
        (VLLMConfig, "presence_penalty", 2.1),
        (VLLMConfig, "frequency_penalty", -2.1),
        (VLLMConfig, "revision", ""),
        (VLLMConfig, "load_in_4bit", True),
        (TensorRTConfig, "max_batch_size", 0),
        (TensorRTConfig, "free_gpu_memory_fraction", -0.1),
        (TensorRTConfig, "free_gpu_memory_fraction", 1.1),
        (TensorRTConfig, "tokens_per_block", 0),
        (TensorRTConfig, "max_attention_window", [0]),
        (TensorRTConfig, "batch_wait_timeout_ms", -1),
        (TensorRTConfig, "batch_wait_max_tokens_ratio", 1.5),
        (TensorRTConfig, "attn_backend", "trtllm"),
        (TensorRTConfig, "decoding_type", "Eagle3"),
        (TensorRTConfig, "acceptance_length_threshold", -0.1),
        (TensorRTConfig, "nvfp4_gemm_allowed_backends", []),
        (SGLangConfig, "tp_size", 0),
        (SGLangConfig, "tp_size", True),
        (SGLangConfig, "mem_fraction_static", 1),
        (SGLangConfig, "chunked_prefill_size", -2),
        (SGLangConfig, "kv_cache_dtype", "int8"),
        (SGLangConfig, "moe_dense_tp_size", 2),
        (SGLangConfig, "cuda_graph_bs_decode", []),
        (SGLangConfig, "speculative_algorithm", "DFLASH"),
        (SGLangConfig, "presence_penalty", 2.1),
        (TensorRTConfig, "kv_cache_dtype", "nvfp4"),
        (TensorRTConfig, "moe_backend", "AUTO"),
        (LlamaCppConfig, "n_ctx", 0),
        (LlamaCppConfig, "n_gpu_layers", -3),
        (LlamaCppConfig, "n_gpu_layers", "all"),
        (LlamaCppConfig, "n_threads", 0),
        (LlamaCppConfig, "n_threads", 513),
        (LlamaCppConfig, "cpumask", "0-3"),
        (LlamaCppConfig, "poll", 101),
        (LlamaCppConfig, "cache_type_k", "q2_k"),
        (LlamaCppConfig, "cache_ram_mib", -2),
        (LlamaCppConfig, "slot_prompt_similarity", 1.1),
        (LlamaCppConfig, "tensor_split", []),
        (LlamaCppConfig, "tensor_split", [1.0, -1.0]),
        (LlamaCppConfig, "tensor_split", [1.0] * 129),
        (LlamaCppConfig, "tensor_buft_overrides", "exps"),
        (LlamaCppConfig, "draft_p_min", 1.1),
        (LlamaCppConfig, "ngram_size_n", 1025),
        (LlamaCppConfig, "penalty_last_n", -2),
        (LlamaCppConfig, "dry_base", 0.9),
        (LlamaCppConfig, "xtc_threshold", 0.51),
        (LlamaCppConfig, "mirostat", 3),
        (LlamaCppConfig, "mirostat", True),
        (LlamaCppConfig, "adaptive_decay", 1),
        (LlamaCppConfig, "samplers", "top_k,temperature"),
    ],
)
def test_a_value_outside_of_the_edges_is_refused_by_the_name_of_its_field(
    section: Section, field: str, value: Any
) -> None:
    with pytest.raises(ValidationError) as caught:
        section.model_validate({field: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        (VLLMConfig, {"tensor_parallel_size": 1, "gpu_memory_utilization": 1, "watermark": 0, "max_model_len": 1}),
        (VLLMConfig, {"optimization_level": 0, "flash_attn_version": 4, "max_lora_rank": 512}),
        (VLLMConfig, {"presence_penalty": 2, "frequency_penalty": -2}),
        (VLLMConfig, {"cudagraph_capture_sizes": [1, 8], "kv_cache_dtype": "fp8", "attention_backend": "FLASHINFER"}),
        (VLLMConfig, {"moe_backend": "flashinfer_b12x", "linear_backend": "machete", "quantization": "awq_marlin"}),
        (TensorRTConfig, {"free_gpu_memory_fraction": 0, "max_attention_window": [1], "batch_wait_timeout_ms": 0}),
        (SGLangConfig, {"mem_fraction_static": 0.99, "chunked_prefill_size": -1, "frequency_penalty": -2}),
        (TensorRTConfig, {"moe_backend": "WIDEEP", "kv_cache_dtype": "fp8", "acceptance_length_threshold": 0}),
        (LlamaCppConfig, {"n_gpu_layers": -2, "n_threads": 512, "poll": 100, "cpumask": "0xff", "cache_ram_mib": -1}),
        (LlamaCppConfig, {"cache_type_k": "q8_0", "cache_type_v": "bf16", "tensor_split": [0, 1.5]}),
        (LlamaCppConfig, {"tensor_buft_overrides": "exps=CPU,ffn=CPU", "samplers": "penalties;top_k;temperature"}),
        (LlamaCppConfig, {"penalty_last_n": -1, "dry_base": 1, "xtc_threshold": 0.5, "adaptive_decay": 0.99}),
    ],
)
def test_values_at_the_edge_are_kept(section: Section, fields: dict[str, Any]) -> None:
    config = section.model_validate(fields)
    assert {name: getattr(config, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("section", "fields", "field", "other"),
    [
        (VLLMConfig, {"gpu_memory_utilization": 0.5, "kv_cache_memory_bytes": 9}, "kv_cache_memory_bytes", "gpu_mem"),
        (SGLangConfig, {"attn_dp_size": 2, "dp_size": 2}, "attn_dp_size", "dp_size: 2"),
        (SGLangConfig, {"pp_size": 2, "speculative_algorithm": "EAGLE"}, "speculative_algorithm", "pp_size: 2"),
        (
            SGLangConfig,
            {"disable_radix_cache": True, "enable_hierarchical_cache": True},
            "enable_hierarchical_cache",
            "disable_radix_cache: true",
        ),
        (
            SGLangConfig,
            {"attention_backend": "flashmla", "enable_deterministic_inference": True},
            "enable_deterministic_inference",
            "attention_backend: flashmla",
        ),
        (VLLMConfig, {"cpu_offload_gb": 1, "offload_group_size": 8}, "offload_group_size", "cpu_offload_gb: 1"),
        (VLLMConfig, {"enforce_eager": True, "cudagraph_mode": "FULL"}, "cudagraph_mode", "enforce_eager: true"),
        (VLLMConfig, {"enforce_eager": True, "compilation_mode": 3}, "compilation_mode", "enforce_eager: true"),
        (
            VLLMConfig,
            {"cudagraph_capture_sizes": [8], "max_cudagraph_capture_size": 8},
            "max_cudagraph_capture_size",
            "cudagraph_capture_sizes: [8]",
        ),
        (
            VLLMConfig,
            {"enable_prefix_caching": False, "prefix_caching_hash_algo": "xxhash"},
            "prefix_caching_hash_algo",
            "enable_prefix_caching: false",
        ),
        (
            VLLMConfig,
            {"enable_chunked_prefill": False, "long_prefill_token_threshold": 64},
            "long_prefill_token_threshold",
            "enable_chunked_prefill: false",
        ),
        (VLLMConfig, {"spec_method": "ngram", "spec_model": "m"}, "spec_model", "spec_method: ngram"),
        (
            TensorRTConfig,
            {"enable_block_reuse": False, "enable_partial_reuse": True},
            "enable_partial_reuse",
            "enable_block_reuse: false",
        ),
        (
            TensorRTConfig,
            {"cuda_graph": False, "cuda_graph_batch_sizes": [1]},
            "cuda_graph_batch_sizes",
            "cuda_graph: false",
        ),
        (
            TensorRTConfig,
            {"cuda_graph_batch_sizes": [4], "cuda_graph_max_batch_size": 4},
            "cuda_graph_max_batch_size",
            "cuda_graph_batch_sizes: [4]",
        ),
        (TensorRTConfig, {"decoding_type": "MTP", "speculative_model": "m"}, "speculative_model", "decoding_type: MTP"),
        (LlamaCppConfig, {"cache_prompt": False, "n_cache_reuse": 64}, "n_cache_reuse", "cache_prompt: false"),
        (LlamaCppConfig, {"split_mode": "none", "tensor_split": [1.0]}, "tensor_split", "split_mode: none"),
        (
            LlamaCppConfig,
            {"speculative_type": "ngram_mod", "draft_model": "d.gguf"},
            "draft_model",
            "speculative_type: ngram_mod",
        ),
        (LlamaCppConfig, {"typ_p": 0.9, "mirostat": 2}, "mirostat", "typ_p: 0.9"),
        (
            LlamaCppConfig,
            {"cache_type_v": "q4_0", "flash_attn_type": "disabled"},
            "flash_attn_type",
            "cache_type_v: q4_0",
        ),
        *(
            (LlamaCppConfig, {name: value, "samplers": "top_n_sigma;top_k"}, "samplers", f"leaves {name}: {value}")
            for name, value in (
                ("penalty_last_n", 32),
                ("penalty_freq", 0.5),
                ("penalty_present", 0.5),
                ("dry_multiplier", 0.8),
                ("typ_p", 0.9),
                ("xtc_probability", 0.5),
                ("dynatemp_range", 0.5),
                ("adaptive_target", 0.5),
                ("min_keep", 2),
            )
        ),
    ],
)
def test_a_conflict_is_reported_at_the_later_field_and_names_the_other(
    section: Section, fields: dict[str, Any], field: str, other: str
) -> None:
    reported_at, message = refusal(section, fields)
    assert reported_at == field
    assert field in message
    assert other in message


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        (VLLMConfig, {"enforce_eager": False, "cudagraph_mode": "FULL", "compilation_mode": 3}),
        (VLLMConfig, {"enable_prefix_caching": True, "prefix_caching_hash_algo": "xxhash"}),
        (VLLMConfig, {"spec_method": "eagle3", "spec_model": "m", "spec_tokens": 3}),
        (TensorRTConfig, {"cuda_graph": True, "cuda_graph_batch_sizes": [1, 2]}),
        (TensorRTConfig, {"torch_compile": True, "torch_compile_enable_piecewise_cuda_graph": True}),
        (TensorRTConfig, {"decoding_type": "Eagle", "speculative_model": "m", "acceptance_window": 3}),
        (LlamaCppConfig, {"split_mode": "row", "tensor_split": [1.0, 1.0], "main_gpu": 1}),
        (LlamaCppConfig, {"cache_type_v": "bf16", "flash_attn_type": "disabled"}),
        (LlamaCppConfig, {"cache_type_v": "q8_0", "flash_attn_type": "enabled"}),
        (LlamaCppConfig, {"speculative_type": "draft_simple", "draft_model": "d.gguf", "draft_n_max": 8}),
        (LlamaCppConfig, {"adaptive_target": 0.5, "min_keep": 2, "samplers": "min_p;adaptive_p"}),
        (LlamaCppConfig, {"penalty_freq": 0.5, "dry_multiplier": 0.8, "samplers": "dry;penalties"}),
        (LlamaCppConfig, {"penalty_freq": 0, "typ_p": 1, "samplers": "top_k"}),
    ],
)
def test_what_goes_together_is_accepted_and_awake(section: Section, fields: dict[str, Any]) -> None:
    assert section.model_validate(fields).dormant_fields() == {}


@pytest.mark.parametrize(
    ("section", "fields", "asleep"),
    [
        (VLLMConfig, {"offload_num_in_group": 2}, {"offload_num_in_group": "it needs offload_group_size"}),
        (VLLMConfig, {"spec_tokens": 3}, {"spec_tokens": "it needs spec_method or spec_model"}),
        (
            VLLMConfig,
            {"spec_method": "eagle", "prompt_lookup_max": 4},
            {"prompt_lookup_max": "it needs spec_method: ngram or ngram_gpu"},
        ),
        (VLLMConfig, {"spec_method": "ngram_gpu", "prompt_lookup_max": 4}, {}),
        (
            VLLMConfig,
            {"tensor_parallel_size": 1, "disable_custom_all_reduce": True},
            {"disable_custom_all_reduce": "it needs tensor_parallel_size"},
        ),
        (VLLMConfig, {"tensor_parallel_size": 2, "disable_custom_all_reduce": True}, {}),
        (
            VLLMConfig,
            {"enable_eplb": True, "num_redundant_experts": 2},
            {"enable_eplb": "it needs enable_expert_parallel", "num_redundant_experts": "it needs enable_eplb"},
        ),
        (TensorRTConfig, {"enable_partial_reuse": True}, {"enable_partial_reuse": "it needs enable_block_reuse"}),
        (
            TensorRTConfig,
            {"decoding_type": "MTP", "is_keep_all": True},
            {"is_keep_all": "it needs decoding_type: NGram"},
        ),
        (
            TensorRTConfig,
            {"torch_compile": False, "torch_compile_enable_inductor": True},
            {"torch_compile_enable_inductor": "it needs torch_compile"},
        ),
        (TensorRTConfig, {"decoding_type": "MTP", "max_draft_len": 1, "acceptance_window": 4}, {}),
        (LlamaCppConfig, {"strict_cpu": True}, {"strict_cpu": "it needs cpumask"}),
        (
            LlamaCppConfig,
            {"speculative_type": "ngram_simple", "ngram_size_n": 8, "draft_n_max": 4},
            {
                "draft_n_max": "it needs speculative_type: draft_simple or draft_eagle3 or draft_mtp or draft_dflash "
                "or draft_dspark"
            },
        ),
        (LlamaCppConfig, {"dry_base": 2}, {"dry_base": "it needs dry_multiplier"}),
        (LlamaCppConfig, {"rope_scaling_type": "yarn", "yarn_orig_ctx": 4096}, {}),
    ],
)
def test_fields_that_change_nothing_say_what_they_need(
    section: Section, fields: dict[str, Any], asleep: dict[str, str]
) -> None:
    assert section.model_validate(fields).dormant_fields() == asleep


@pytest.mark.parametrize(
    ("section", "decoder", "clashes"),
    [
        (VLLMConfig(spec_method="ngram"), {"do_sample": True, "min_p": 0.1}, ["spec_method", "decoder.min_p"]),
        (TensorRTConfig(decoding_type="NGram"), {"do_sample": True}, ["decoding_type", "decoder.do_sample"]),
        (LlamaCppConfig(mirostat=1), {"do_sample": True, "top_k": 5}, ["mirostat", "decoder.top_k"]),
        *(
            (LlamaCppConfig(samplers="typ_p;xtc"), {"do_sample": True, name: value}, [f"decoder.{name}: {value}"])
            for name, value in (("temperature", 0.5), ("top_k", 5), ("top_p", 0.9), ("min_p", 0.1))
        ),
        (
            LlamaCppConfig(samplers="top_k"),
            {"do_sample": True, "repetition_penalty": 1.5},
            ["add penalties, or remove decoder.repetition_penalty"],
        ),
    ],
)
def test_a_clash_with_the_decoder_names_both(
    section: EngineSection, decoder: dict[str, Any], clashes: list[str]
) -> None:
    ((field, message),) = section.clashes_with(DecoderConfig.model_validate(decoder))
    assert field in type(section).model_fields
    assert all(name in message for name in clashes)


@pytest.mark.parametrize(
    ("section", "decoder"),
    [
        (VLLMConfig(), {"do_sample": True, "min_p": 0.1}),
        (VLLMConfig(spec_method="ngram"), {"do_sample": True, "top_p": 0.9}),
        (TensorRTConfig(decoding_type="NGram"), {"temperature": 0.5}),
        (TensorRTConfig(), {"do_sample": True, "top_k": 5}),
        (LlamaCppConfig(mirostat=2), {"do_sample": True, "temperature": 0.5}),
        (LlamaCppConfig(samplers="top_k"), {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.5}),
        (LlamaCppConfig(samplers="temperature"), {"preset": "creative", "top_p": 1, "min_p": 0}),
        (LlamaCppConfig(samplers="penalties;top_k;temperature"), {"do_sample": True, "top_k": 5, "temperature": 2}),
    ],
)
def test_other_decoders_go_with_the_section(section: EngineSection, decoder: dict[str, Any]) -> None:
    assert section.clashes_with(DecoderConfig.model_validate(decoder)) == []


def test_fields_of_sampling_sleep_under_a_greedy_decoder() -> None:
    needs_sampling = "it needs decoder.do_sample"
    greedy = DecoderConfig()
    assert LlamaCppConfig(mirostat=2).asleep_under(greedy) == {"mirostat": needs_sampling}
    assert LlamaCppConfig(samplers="top_k").asleep_under(greedy) == {"samplers": needs_sampling}
    assert LlamaCppConfig(penalty_present=0.5).asleep_under(greedy) == {}
    assert LlamaCppConfig(mirostat=2).asleep_under(DecoderConfig(do_sample=True)) == {}


@pytest.mark.parametrize(
    ("section", "precisions", "lacks"),
    [
        (
            VLLMConfig,
            ("fp32", "fp16", "bf16"),
            {"no_repeat_ngram_size", "num_beams", "length_penalty", "early_stopping"},
        ),
        (
            TensorRTConfig,
            ("fp16", "bf16"),
            {
                "min_p",
                "repetition_penalty",
                "no_repeat_ngram_size",
                "min_output_tokens",
                "num_beams",
                "length_penalty",
                "early_stopping",
            },
        ),
        (
            LlamaCppConfig,
            ("fp32", "fp16", "bf16"),
            {
                "no_repeat_ngram_size",
                "min_output_tokens",
                "num_beams",
                "length_penalty",
                "early_stopping",
                "num_return_sequences",
            },
        ),
    ],
)
def test_what_each_engine_has(section: Section, precisions: tuple[str, ...], lacks: set[str]) -> None:
    assert section.precisions == precisions
    assert section.lacks_decoder_fields == lacks


@pytest.mark.parametrize(
    ("section", "name", "field"),
    [
        (VLLMConfig, "dtype", "precision"),
        (VLLMConfig, "seed", "random_seed"),
        (VLLMConfig, "max_tokens", "max_output_tokens"),
        (VLLMConfig, "min_tokens", "decoder.min_output_tokens"),
        (TensorRTConfig, "max_input_len", "max_input_tokens"),
        (TensorRTConfig, "n", "decoder.num_return_sequences"),
        (LlamaCppConfig, "n_predict", "max_output_tokens"),
        (LlamaCppConfig, "temp", "decoder.temperature"),
        (LlamaCppConfig, "penalty_repeat", "decoder.repetition_penalty"),
    ],
)
def test_the_librarys_names_lead_to_the_fields_that_set_them(section: Section, name: str, field: str) -> None:
    assert section.library_names[name] == field


@each_section
def test_early_ends_may_not_be_passed_through(section: Section) -> None:
    assert section.refused_names["stop"]


@pytest.mark.parametrize(("n", "size", "allowed"), [(3, 3, True), (2, 3, False), (1, 1, True), (100, 8, True)])
def test_each_process_needs_a_prompt(n: int, size: int, allowed: bool) -> None:
    given = {"model": "m", "n": n, "pytorch": {"data_parallel_size": size}}
    if allowed:
        ExperimentConfig.model_validate(given)
        return
    with pytest.raises(ValidationError, match=f"{size} processes share the prompts, and n is {n}; raise n") as caught:
        ExperimentConfig.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [("pytorch",)]
