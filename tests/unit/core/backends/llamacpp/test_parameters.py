"""What llama.cpp is told, on the recorded shape of its parameters."""

from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp import parameters
from llenergymeasure.domain.inference import Request
from tests.fakes.xllamacpp import fake_library

FILE = Path("model.gguf")
# COMMON_SAMPLER_TYPE_* in common_params_sampling of llama.cpp b11549.
IN_ORDER = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]


def config_of(section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    given = {"model": "m.gguf", "backend": "llamacpp", "llamacpp": section or {}, **fields}
    return ExperimentConfig.model_validate(given)


def told(section: dict[str, Any] | None = None, **fields: Any) -> Any:
    return parameters.common_params(fake_library(), config_of(section, **fields), FILE, "/x/s.sock")


def body(index: int = 0, seed: int = 42, **fields: Any) -> dict[str, Any]:
    request = Request(index=index, token_ids=(5, 6, 7), max_output_tokens=9)
    return parameters.request_body(config_of(**fields), request, seed)


def test_every_field_of_the_section_has_its_place() -> None:
    placed = [
        *parameters.OWN, *parameters.OF_SAMPLING, *parameters.ENUMERATED, *parameters.OF_THREADS,
        *parameters.OF_PROMPT_CACHE, *parameters.OF_DRAFTS,
    ]  # fmt: skip
    rest = set(LlamaCppConfig.model_fields) - set(placed)
    assert len(placed) == len(set(placed))
    assert all(
        name.startswith(("draft_", "ngram_")) or name in ("lookup_cache_static", "dequantize") for name in rest
    ), rest


def test_what_is_null_stays_llama_cpps_own() -> None:
    params, own = told(), fake_library().CommonParams()
    for name in (*parameters.OWN, *parameters.ENUMERATED):
        assert getattr(params, name) == getattr(own, name), name
    assert vars(params.sampling)["temp"] == own.sampling.temp
    assert params.cpuparams.n_threads == -1


def test_prompts_are_not_kept_unless_asked_for() -> None:
    params = told()
    assert (params.cache_prompt, params.cache_ram_mib, params.cache_idle_slots) == (False, 0, False)
    kept = told({"cache_prompt": True, "cache_ram_mib": 100})
    assert (kept.cache_prompt, kept.cache_ram_mib, kept.cache_idle_slots) == (True, 100, True)
    assert body()["cache_prompt"] is False
    assert body(section={"cache_prompt": True})["cache_prompt"] is True


def test_values_of_enumerations_are_their_members() -> None:
    library = fake_library()
    config = config_of({"cache_type_k": "q8_0", "flash_attn_type": "enabled", "numa": "distribute", "priority": "high"})
    params = parameters.common_params(library, config, FILE, "/x/s.sock")
    assert params.cache_type_k is library.ggml_type.GGML_TYPE_Q8_0
    assert params.flash_attn_type is library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    assert params.numa is library.ggml_numa_strategy.GGML_NUMA_STRATEGY_DISTRIBUTE
    assert params.cpuparams.priority is library.ggml_sched_priority.GGML_SCHED_PRIO_HIGH
    assert params.cpuparams_batch.priority is library.ggml_sched_priority.GGML_SCHED_PRIO_HIGH


@pytest.mark.parametrize("name", [*parameters.ENUMERATED, "priority", "speculative_type"])
def test_every_choice_has_a_member(name: str) -> None:
    from llenergymeasure.config.introspection import field_constraints

    choices = field_constraints()[f"llamacpp.{name}"]["choices"]
    for choice in choices:
        more = {"draft_model": "d.gguf"} if str(choice).startswith("draft_") else {}
        told({name: choice, **more})


def test_threads_of_prompts_are_those_of_decoding_unless_said() -> None:
    params = told({"n_threads": 3})
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    params = told({"n_threads": 3, "n_threads_batch": 5})
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 5)


def test_a_mask_of_cores_is_a_list_of_them() -> None:
    params = told({"cpumask": "0x5", "strict_cpu": True})
    assert params.cpuparams.cpumask[:4] == [True, False, True, False]
    assert params.cpuparams.mask_valid
    assert params.cpuparams.strict_cpu


def test_a_files_own_samplers_do_not_go_before_the_users() -> None:
    # The bits of common_params_sampling_config: samplers 1, penalty_last_n 1 << 7, by b11549's header.
    library = fake_library()
    bits = library.common_params_sampling_config
    params = told({"samplers": "penalties;temperature", "penalty_last_n": -1}, decoder={"do_sample": True})
    wanted = bits.COMMON_PARAMS_SAMPLING_CONFIG_SAMPLERS | bits.COMMON_PARAMS_SAMPLING_CONFIG_PENALTY_LAST_N
    assert params.sampling.user_sampling_config == wanted
    assert (params.sampling.samplers, params.sampling.penalty_last_n) == ("penalties;temperature", -1)


def test_drafts() -> None:
    params = told(
        {"speculative_type": "draft_simple", "draft_model": "d.gguf", "draft_n_max": 7, "draft_cache_type_k": "f32"}
    )
    draft = params.speculative.draft
    assert [kind.name for kind in params.speculative.types] == ["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"]
    assert (draft.mparams.path, draft.n_max, draft.cache_type_k.name) == ("d.gguf", 7, "GGML_TYPE_F32")
    looked_up = told({"speculative_type": "ngram_map_k", "ngram_size_n": 5, "ngram_mod_n_max": 9}).speculative
    assert looked_up.ngram_map_k.size_n == 5
    assert looked_up.ngram_simple.size_n == 12
    assert looked_up.ngram_mod.n_max == 64
    assert told({"speculative_type": "ngram_mod", "ngram_mod_n_max": 9}).speculative.ngram_mod.n_max == 9


def test_a_greedy_request_has_no_temperature_whatever_the_file_says() -> None:
    found = body(decoder={"repetition_penalty": 1.1, "ignore_eos": True})
    assert (found["temperature"], found["repeat_penalty"], found["ignore_eos"]) == (0.0, 1.1, True)
    assert not {"top_p", "min_p"} & set(found)
    assert (found["prompt"], found["n_predict"]) == ([5, 6, 7], 9)
    assert found["stream"]
    assert found["return_tokens"]


def test_a_sampled_request_has_what_was_given() -> None:
    found = body(decoder={"do_sample": True, "temperature": 0.5, "top_k": 0})
    assert (found["temperature"], found["top_k"]) == (0.5, 0)
    assert "top_p" not in found


@pytest.mark.parametrize(
    ("section", "chain"),
    [
        ({}, ["penalties", "top_k"]),
        ({"samplers": "top_p;temperature", "dynatemp_range": 3.0}, ["penalties", "top_k"]),
        ({"mirostat": 1}, ["penalties", "top_k"]),
        ({"dry_multiplier": 0.8}, ["penalties", "dry", "top_k"]),
    ],
)
def test_of_a_greedy_request_one_token_is_left_whatever_the_chain(section: dict[str, Any], chain: list[str]) -> None:
    found = body(section=section)
    assert (found["samplers"], found["top_k"], found["mirostat"]) == (chain, 1, 0)


@pytest.mark.parametrize(
    ("section", "chain"),
    [
        ({}, IN_ORDER),
        ({"adaptive_target": 0.5}, [*IN_ORDER, "adaptive_p"]),
        ({"samplers": "temperature;top_k"}, ["temperature", "top_k"]),
    ],
)
def test_a_sampled_request_names_its_chain(section: dict[str, Any], chain: list[str]) -> None:
    assert body(section=section, decoder={"do_sample": True})["samplers"] == chain


def test_mirostat_is_off_unless_it_was_asked_for() -> None:
    sampled = {"do_sample": True}
    assert [body(section={"mirostat": m}, decoder=sampled)["mirostat"] for m in (None, 1, 2)] == [0, 1, 2]


def test_the_chain_is_llama_cpps_own() -> None:
    assert ";".join(parameters.OWN_CHAIN) == fake_library().CommonParams().sampling.samplers


def test_each_request_has_a_seed_of_its_own_and_never_llama_cpps() -> None:
    seeds = [body(index=i, seed=seed)["seed"] for seed in (0, 1, 2**32 - 1) for i in range(50)]
    assert len(set(seeds)) >= 100
    # 2^32 - 1 is LLAMA_DEFAULT_SEED, which draws one.
    assert all(0 <= seed < 2**32 - 1 for seed in seeds)
    assert body(index=3, seed=42)["seed"] == 42 + 3 * 1_000_003


def test_what_is_passed_through_is_set_or_sent() -> None:
    passed = {"check_tensors": True, "logit_bias": [[2, -1.0]]}
    assert told(passthrough_kwargs=passed).check_tensors is True
    assert body(passthrough_kwargs=passed)["logit_bias"] == [[2, -1.0]]
    assert "check_tensors" not in body(passthrough_kwargs=passed)


def test_a_width_that_no_sampler_reads_is_told() -> None:
    passed = {"decoder": {"do_sample": True}, "passthrough_kwargs": {"top_n_sigma": 1.5}}
    (line,) = parameters.unknown_passthrough(fake_library(), config_of({"samplers": "top_k"}, **passed))
    assert line == (
        "passthrough_kwargs.top_n_sigma: llamacpp.samplers: top_k has no top_n_sigma, which reads it; add it there"
    )
    for section in ({}, {"samplers": "top_n_sigma"}):
        assert parameters.unknown_passthrough(fake_library(), config_of(section, **passed)) == []


def test_what_llama_cpp_does_not_know_is_told() -> None:
    passed = {"chek_tensors": True, "model": 1, "grammar": "root ::= x", "n_chunks": "many"}
    config = config_of()
    config = config.model_copy(update={"passthrough_kwargs": passed})
    lines = parameters.unknown_passthrough(fake_library(), config)
    assert len(lines) == 3
    assert "passthrough_kwargs.chek_tensors: llama.cpp has no such parameter; did you mean 'check_tensors'?" in lines[0]
    assert lines[1].startswith("passthrough_kwargs.model: llama.cpp has no such parameter")
    assert lines[2].startswith("passthrough_kwargs.n_chunks: llama.cpp does not take 'many'")
