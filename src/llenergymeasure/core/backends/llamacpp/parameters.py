"""What llama.cpp is told: its ``common_params`` once, and what goes with each request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.config.base import nearest
from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import Request

# Fields of the section by where they lie in CommonParams, under their own names.
OWN = (
    "n_ctx", "n_parallel", "n_batch", "n_ubatch", "cont_batching", "kv_unified", "swa_full", "no_kv_offload",
    "n_cache_reuse", "slot_prompt_similarity", "n_ctx_checkpoints", "checkpoint_min_step", "n_gpu_layers",
    "tensor_split", "main_gpu", "fit_params", "fit_params_min_ctx", "tensor_buft_overrides", "moe_cache_size",
    "no_op_offload", "no_host", "no_extra_bufts", "rope_freq_base", "rope_freq_scale", "yarn_orig_ctx",
    "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow",
)  # fmt: skip
OF_SAMPLING = (
    "penalty_last_n", "penalty_freq", "penalty_present", "dry_multiplier", "dry_base", "dry_allowed_length",
    "dry_penalty_last_n", "typ_p", "xtc_probability", "xtc_threshold", "dynatemp_range", "dynatemp_exponent",
    "adaptive_target", "adaptive_decay", "min_keep", "samplers", "backend_sampling", "mirostat", "mirostat_tau",
    "mirostat_eta",
)  # fmt: skip
# Those whose values are members of an enumeration: its name, and what stands before our words in its members' names.
ENUMERATED = {
    "cache_type_k": ("ggml_type", "GGML_TYPE_"),
    "cache_type_v": ("ggml_type", "GGML_TYPE_"),
    "flash_attn_type": ("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_"),
    "split_mode": ("llama_split_mode", "LLAMA_SPLIT_MODE_"),
    "load_mode": ("llama_load_mode", "LLAMA_LOAD_MODE_"),
    "lazy_mode": ("llama_lazy_mode", "LLAMA_LAZY_MODE_"),
    "rope_scaling_type": ("llama_rope_scaling_type", "LLAMA_ROPE_SCALING_TYPE_"),
    "numa": ("ggml_numa_strategy", "GGML_NUMA_STRATEGY_"),
}
OF_THREADS = ("n_threads", "n_threads_batch", "cpumask", "strict_cpu", "poll", "priority")
OF_PROMPT_CACHE = ("cache_prompt", "cache_ram_mib", "cache_idle_slots")
OF_DRAFTS = ("speculative_type", "draft_model", "draft_n_threads", "draft_cache_type_k", "draft_cache_type_v")
# What llama.cpp's samplers take from a model's file unless these bits say that a user has set it.
_FILE_MAY_SET = (
    "penalty_last_n", "xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta", "samplers",
)  # fmt: skip
# llama.cpp's order of samplers, where neither a request nor a model's file has one.
OWN_CHAIN = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
# What a request has beside what fields of ours set; passed through as they are.
OF_REQUESTS = ("dry_sequence_breakers", "grammar", "json_schema", "logit_bias", "top_n_sigma")
# Attributes that stand for something that a file of settings cannot say.
_NESTED = ("cpuparams", "cpuparams_batch", "diffusion", "lora_adapters", "mmproj", "model", "sampling", "speculative")
_TOLD = ("tokens", "stop", "stop_type", "tokens_predicted", "tokens_evaluated", "truncated", "timings", "error")
# 2^32 - 1 asks llama.cpp for a seed of its own.
_N_SEEDS = 2**32 - 1
# Seeds of requests are apart by this, a prime, so that those of neighbouring seeds are not each other's.
_SEED_STEP = 1_000_003


def section_of(config: ExperimentConfig) -> LlamaCppConfig:
    """The section, with its defaults when it was left out."""
    return config.llamacpp or LlamaCppConfig()


def n_slots(section: LlamaCppConfig) -> int:
    """Requests that are decoded together."""
    return section.n_parallel or 1


def common_params(library: Any, config: ExperimentConfig, file: Path, socket: str) -> Any:
    """``CommonParams`` of an experiment.

    Args:
        library: the module ``xllamacpp``.
        config: the experiment.
        file: the GGUF file.
        socket: path of the Unix socket on which requests come in.

    Raises:
        TypeError, ValueError, AttributeError: a passed-through value that is of another kind.
    """
    section = section_of(config)
    params = library.CommonParams()
    params.model.path = str(file)
    _set(params, {name: getattr(section, name) for name in OWN})
    _set(params, _members(library, section, ENUMERATED))
    _set_threads(library, params, section)
    _set_prompt_cache(params, section)
    _set_sampling(library, params, section)
    _set_drafts(library, params, section)
    _set(params, {n: value for n, value in config.passthrough_kwargs.items() if n not in OF_REQUESTS})
    # Errors alone are said, on stderr; requests come by a socket that nobody else can open.
    _set(params, {"verbosity": 1, "hostnames": [socket], "n_threads_http": n_slots(section) + 2})
    _set(params, {"ui": False, "endpoint_slots": True})
    return params


def request_body(config: ExperimentConfig, request: Request, random_seed: int) -> dict[str, Any]:
    """What ``POST /completion`` is given for a request, its tokens streamed."""
    passed = {name: value for name, value in config.passthrough_kwargs.items() if name in OF_REQUESTS}
    return {
        **passed,
        **decoding(config),
        "prompt": list(request.token_ids),
        "n_predict": request.max_output_tokens,
        "seed": (random_seed + _SEED_STEP * request.index) % _N_SEEDS,
        "stream": True,
        "return_tokens": True,
        "cache_prompt": bool(section_of(config).cache_prompt),
        "response_fields": list(_TOLD),
    }


def decoding(config: ExperimentConfig) -> dict[str, Any]:
    """The experiment's decoder by llama.cpp's names of what a request has; what is null is left to llama.cpp."""
    decoder, section = config.decoder, section_of(config)
    of_all = {"repeat_penalty": decoder.repetition_penalty, "ignore_eos": decoder.ignore_eos}
    chosen: Mapping[str, Any] = {
        "temperature": decoder.temperature,
        "top_k": decoder.top_k,
        "top_p": decoder.top_p,
        "min_p": decoder.min_p,
        # A file may have one, and it would take the place of the chain.
        "mirostat": section.mirostat or 0,
        "samplers": chain_of(config),
    }
    if not decoder.do_sample:
        # llama.cpp ends every chain by drawing a token: only where one is left is that the likeliest. A temperature of
        # 0 would not do by itself, since it counts for nothing in a chain without it, or with `dynatemp_range`.
        chosen = {"temperature": 0.0, "top_k": 1, "mirostat": 0, "samplers": chain_of(config)}
    return {name: value for name, value in {**of_all, **chosen}.items() if value is not None}


def chain_of(config: ExperimentConfig) -> list[str]:
    """The samplers of a request in their order, so that none that a file names goes before them."""
    section = section_of(config)
    if not config.decoder.do_sample:
        return ["penalties", *(["dry"] if section.dry_multiplier is not None else []), "top_k"]
    if section.samplers is not None:
        return section.samplers.split(";")
    # llama.cpp takes it at the end in place of drawing, and only where it is named.
    return [*OWN_CHAIN, *(["adaptive_p"] if section.adaptive_target is not None else [])]


def unknown_passthrough(library: Any, config: ExperimentConfig) -> list[str]:
    """A line for each key of ``passthrough_kwargs`` that llama.cpp does not know or read, or whose value is not its."""
    params = library.CommonParams()
    known = [name for name in dir(params) if not name.startswith("_") and name not in _NESTED]
    lines, samplers = [], section_of(config).samplers
    for name, value in config.passthrough_kwargs.items():
        if name == "top_n_sigma" and config.decoder.do_sample and name not in chain_of(config):
            lines.append(
                f"passthrough_kwargs.{name}: llamacpp.samplers: {samplers} has no {name}, which reads it; add it there"
            )
        if name in OF_REQUESTS:
            continue
        if name not in known:
            hint = nearest(name, [*known, *OF_REQUESTS], otherwise="remove it, or check its spelling")
            lines.append(f"passthrough_kwargs.{name}: llama.cpp has no such parameter; {hint}")
            continue
        try:
            setattr(params, name, value)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            lines.append(f"passthrough_kwargs.{name}: llama.cpp does not take {value!r:.60}: {error}")
    return lines


def _set(target: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            setattr(target, name, value)


def _members(library: Any, section: LlamaCppConfig, names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Values of enumerations by the last words of their names."""
    found = {}
    for name, (enumeration, prefix) in names.items():
        word = getattr(section, name)
        if word is not None:
            found[name] = getattr(library, enumeration)[prefix + word.upper()]
    return found


def _set_threads(library: Any, params: Any, section: LlamaCppConfig) -> None:
    for threads in (params.cpuparams, params.cpuparams_batch):
        _set(threads, {"n_threads": section.n_threads, "strict_cpu": section.strict_cpu, "poll": section.poll})
        if section.priority is not None:
            threads.priority = library.ggml_sched_priority[f"GGML_SCHED_PRIO_{section.priority.upper()}"]
        if section.cpumask is not None:
            mask = int(section.cpumask, 16)
            threads.cpumask = [bool(mask >> core & 1) for core in range(len(threads.cpumask))]
            threads.mask_valid = True
    _set(params.cpuparams_batch, {"n_threads": section.n_threads_batch})


def _set_prompt_cache(params: Any, section: LlamaCppConfig) -> None:
    """Nothing is kept of a prompt unless the section asks for it: llama.cpp would copy each one's cache into memory."""
    params.cache_prompt = bool(section.cache_prompt)
    if section.cache_prompt:
        _set(params, {"cache_ram_mib": section.cache_ram_mib, "cache_idle_slots": section.cache_idle_slots})
    else:
        _set(params, {"cache_ram_mib": 0, "cache_idle_slots": False})


def _set_sampling(library: Any, params: Any, section: LlamaCppConfig) -> None:
    values = {name: getattr(section, name) for name in OF_SAMPLING}
    _set(params.sampling, values)
    bits = params.sampling.user_sampling_config
    for name in _FILE_MAY_SET:
        if values[name] is not None:
            bits |= library.common_params_sampling_config[f"COMMON_PARAMS_SAMPLING_CONFIG_{name.upper()}"].value
    params.sampling.user_sampling_config = bits


def _set_drafts(library: Any, params: Any, section: LlamaCppConfig) -> None:
    kind = section.speculative_type
    if kind is None:
        return
    speculative = params.speculative
    speculative.types = [library.common_speculative_type[f"COMMON_SPECULATIVE_TYPE_{kind.upper()}"]]
    if kind.startswith("draft_"):
        draft, kinds = (
            speculative.draft,
            {f"draft_{name}": ENUMERATED[name] for name in ("cache_type_k", "cache_type_v")},
        )
        _set(draft, of_the(section, "draft_", but=OF_DRAFTS))
        _set(draft, {n.removeprefix("draft_"): v for n, v in _members(library, section, kinds).items()})
        _set(draft.mparams, {"path": None if section.draft_model is None else str(section.draft_model)})
        for threads in (draft.cpuparams, draft.cpuparams_batch):
            _set(threads, {"n_threads": section.draft_n_threads})
    elif kind == "ngram_mod":
        _set(speculative.ngram_mod, of_the(section, "ngram_mod_"))
    elif kind == "ngram_cache":
        path = section.lookup_cache_static
        _set(speculative.ngram_cache, {"lookup_cache_static": None if path is None else str(path)})
    else:
        _set(
            getattr(speculative, kind), of_the(section, "ngram_", but=tuple(of_the(section, "ngram_mod_", whole=True)))
        )


def of_the(section: LlamaCppConfig, prefix: str, *, but: tuple[str, ...] = (), whole: bool = False) -> dict[str, Any]:
    """Fields that begin alike, by the rest of their names, or by their whole ones."""
    names = [name for name in type(section).model_fields if name.startswith(prefix) and name not in but]
    return {name if whole else name.removeprefix(prefix): getattr(section, name) for name in names}
