"""The llama.cpp engine: what llama.cpp's ``common_params`` can be told, through the package ``xllamacpp``.

Names and choices as read in xllamacpp 2026.10.11549 (llama.cpp b11549). Members of what ``CommonParams`` nests are
flat here: those of ``sampling``, ``cpuparams`` (``_batch`` for prompts) and ``model`` under their own names, those
of ``speculative`` behind ``draft_``, ``ngram_`` or ``ngram_mod_``. Choices are the C names' last words.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines.section import EngineSection

_Quantised = Literal["q8_0", "q5_0", "q5_1", "q4_0", "q4_1", "iq4_nl"]
CacheType = Literal["f32", "f16", "bf16", _Quantised]
_DraftedByModel = Literal["draft_simple", "draft_eagle3", "draft_mtp", "draft_dflash", "draft_dspark"]
_DraftedByLookup = Literal["ngram_simple", "ngram_map_k", "ngram_map_k4v", "ngram_mod", "ngram_cache"]
Shares = Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=1, max_length=128)]
_SAMPLER = r"(penalties|dry|top_n_sigma|top_k|typ_p|top_p|min_p|xtc|temperature|adaptive_p)"

_MODEL_DRAFT = "speculative_type=draft_simple|draft_eagle3|draft_mtp|draft_dflash|draft_dspark"
_NGRAM_DRAFT = "speculative_type=ngram_simple|ngram_map_k|ngram_map_k4v"
# Null is f16 too, with which files of F32 weights said what other engines said.
_CACHED_IN_FEWER_BITS = "f16|bf16|q8_0|q5_0|q5_1|q4_0|q4_1|iq4_nl"
_MIROSTAT = "mirostat takes the place of all other samplers; remove one of them"

# Members of llama.cpp's chain of samplers that read a field; where none of them is in the chain the field does nothing.
_READ_BY: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("penalty_last_n", "penalty_freq", "penalty_present"), ("penalties",)),
    "dry_multiplier": ("dry",),
    "typ_p": ("typ_p",),
    "xtc_probability": ("xtc",),
    "dynatemp_range": ("temperature",),
    "adaptive_target": ("adaptive_p",),
    "min_keep": ("typ_p", "top_p", "min_p", "xtc"),
}
_READ_BY_OF_DECODER: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("temperature", "top_k", "top_p", "min_p")},
    "repetition_penalty": ("penalties",),
}
# Values that ask for nothing, and so need no sampler.
_NEUTRAL: Mapping[str, float] = {
    **dict.fromkeys(("temperature", "top_p", "typ_p", "repetition_penalty"), 1),
    **dict.fromkeys(("top_k", "min_p", "penalty_freq", "penalty_present"), 0),
}


class LlamaCppConfig(EngineSection):
    """Settings of the llama.cpp engine.

    llama.cpp computes with the weights as the GGUF file has them, and converts activations to suit. So ``precision``
    converts nothing: it says what the file must hold. A file of F32, F16 or BF16 weights must agree with it, or is
    refused; about a quantised file it says nothing, and the result names the file's own format. Of a checkpoint's
    directory, and under ``dequantize``, a file is made, and its weights are in ``precision``. The KV cache has its own
    fields.
    """

    # The file.
    dequantize: Flag | None = Field(
        default=None,
        description="Make a quantised file's weights dense, in `precision`, once; null runs the file as it is.",
    )

    # Room for requests.
    n_ctx: Integer | None = Field(
        default=None,
        ge=1,
        description="Tokens that all requests at a time have room for; null is the model's own most.",
    )
    n_parallel: Integer | None = Field(default=None, ge=1, description="Requests decoded together; null is 1.")
    n_batch: Integer | None = Field(default=None, ge=1, description="Most tokens handed over at once; null is 2048.")
    n_ubatch: Integer | None = Field(default=None, ge=1, description="Most tokens computed at once; null is 512.")
    cont_batching: Flag | None = Field(default=None, description="Let requests join a running batch; null is on.")

    # The KV cache.
    cache_type_k: CacheType | None = Field(default=None, description="Format of cached keys; null is f16.")
    cache_type_v: CacheType | None = Field(default=None, description="Format of cached values; null is f16.")
    flash_attn_type: Literal["enabled", "disabled"] | None = Field(
        default=None, description="FlashAttention; null is where the device can."
    )
    kv_unified: Flag | None = Field(default=None, description="One cache for all requests instead of equal parts.")
    swa_full: Flag | None = Field(
        default=None, description="Cache all of a sliding window's past, not only the window."
    )
    no_kv_offload: Flag | None = Field(default=None, description="Keep the cache in CPU memory.")
    cache_prompt: Flag | None = Field(
        default=None,
        description="Keep the cache of a prompt for the next that begins alike; null is off here, so that every "
        "prompt is computed.",
    )
    n_cache_reuse: Integer | None = Field(
        default=None, ge=0, description="Least run of tokens reused by shifting the cache; null is 0, which does not."
    )
    cache_ram_mib: Integer | None = Field(
        default=None, ge=-1, description="MiB of CPU memory for past prompts; 0 is none, -1 no limit, null 8192."
    )
    cache_idle_slots: Flag | None = Field(default=None, description="Move idle requests' cache there; null is on.")
    slot_prompt_similarity: Number | None = Field(
        default=None, ge=0, le=1, description="Share of a prompt that must agree to reuse its cache; null is 0.1."
    )
    n_ctx_checkpoints: Integer | None = Field(
        default=None, ge=0, description="States kept per request to go back to; null is 32."
    )
    checkpoint_min_step: Integer | None = Field(
        default=None, ge=1, description="Least tokens between them; null is 8192."
    )

    # Threads.
    n_threads: Integer | None = Field(
        default=None, ge=1, le=512, description="Threads that decode; null is llama.cpp's choice."
    )
    n_threads_batch: Integer | None = Field(
        default=None, ge=1, le=512, description="The same for prompts; null is n_threads."
    )
    cpumask: Annotated[str, Field(pattern=r"^(0x)?[0-9a-fA-F]+$")] | None = Field(
        default=None, description="Cores that threads may use, as a hexadecimal mask; null is any."
    )
    strict_cpu: Flag | None = Field(default=None, description="Tie each thread to one core of the mask.")
    poll: Integer | None = Field(
        default=None, ge=0, le=100, description="How busily threads wait, from 0 to 100; null is 50."
    )
    priority: Literal["low", "normal", "medium", "high", "realtime"] | None = Field(
        default=None, description="Priority of the threads; null is normal."
    )
    numa: Literal["distribute", "isolate", "numactl"] | None = Field(
        default=None, description="How threads keep to NUMA nodes; null is not at all."
    )

    # GPUs.
    n_gpu_layers: Integer | None = Field(
        default=None, ge=-2, description="Layers on the GPU; -2 is all, null or -1 as many as fit."
    )
    split_mode: Literal["none", "layer", "row", "tensor"] | None = Field(
        default=None, description="What GPUs share out among them; null is layer."
    )
    tensor_split: Shares | None = Field(default=None, description="Share of each GPU; null goes by free memory.")
    main_gpu: Integer | None = Field(
        default=None, ge=0, description="GPU for all, or for what is not split; null is 0."
    )
    fit_params: Flag | None = Field(default=None, description="Fit what is null to free memory; null is on.")
    fit_params_min_ctx: Integer | None = Field(default=None, ge=1, description="Least n_ctx of a fit; null is 4096.")
    tensor_buft_overrides: str | None = Field(
        default=None,
        pattern=r"^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$",
        description="Where tensors lie by pattern, such as 'exps=CPU'.",
    )
    moe_cache_size: Integer | None = Field(default=None, ge=1, description="Bytes on the GPU for experts of the CPU.")
    no_op_offload: Flag | None = Field(default=None, description="Compute on the CPU with the weights that lie there.")
    no_host: Flag | None = Field(default=None, description="Go round the host buffer, so that weights can be repacked.")
    no_extra_bufts: Flag | None = Field(default=None, description="Do not repack weights for the CPU.")

    # Loading, and positions beyond what the model was trained for.
    load_mode: Literal["none", "mmap", "mlock", "mmap_mlock", "direct_io"] | None = Field(
        default=None, description="How weights get into memory; null lets llama.cpp choose."
    )
    lazy_mode: Literal["off", "auto", "on"] | None = Field(
        default=None, description="Read tensors when they are needed; null is auto."
    )
    rope_scaling_type: Literal["none", "linear", "yarn", "longrope"] | None = Field(
        default=None, description="How positions are stretched; null is the model's own."
    )
    rope_freq_base: Number | None = Field(default=None, gt=0, description="Base of frequencies; null is the model's.")
    rope_freq_scale: Number | None = Field(
        default=None, gt=0, description="Factor of frequencies; null is the model's."
    )
    yarn_orig_ctx: Integer | None = Field(default=None, ge=1, description="Tokens trained for; null is the model's.")
    yarn_ext_factor: Number | None = Field(
        default=None, ge=0, le=1, description="Share of extrapolation; null is the model's."
    )
    yarn_attn_factor: Number | None = Field(
        default=None, gt=0, description="Factor of attention scores; null is the model's."
    )
    yarn_beta_fast: Number | None = Field(
        default=None, ge=0, description="Rotations above which nothing is stretched; null is the model's."
    )
    yarn_beta_slow: Number | None = Field(
        default=None, ge=0, description="Rotations below which all is stretched; null is the model's."
    )

    # Speculative decoding.
    speculative_type: Literal[_DraftedByModel, _DraftedByLookup] | None = Field(
        default=None, description="How tokens are drafted: by a model or by looking them up; null is not at all."
    )
    draft_model: Path | None = Field(default=None, description="GGUF file of the draft model.")
    draft_n_max: Integer | None = Field(default=None, ge=1, description="Most tokens drafted at a time; null is 3.")
    draft_n_min: Integer | None = Field(default=None, ge=0, description="Least tokens worth a check; null is 0.")
    draft_p_min: Number | None = Field(
        default=None, ge=0, le=1, description="End a draft where it is less sure; null is 0."
    )
    draft_p_split: Number | None = Field(
        default=None, ge=0, le=1, description="Branch a draft where others are this likely; null is 0.1."
    )
    draft_probabilistic: Flag | None = Field(
        default=None, description="Sample drafts and accept them by probability; null is off."
    )
    draft_backend_sampling: Flag | None = Field(
        default=None, description="Choose drafted tokens on the GPU; null is on."
    )
    draft_n_gpu_layers: Integer | None = Field(default=None, ge=-2, description="As n_gpu_layers, for the draft.")
    draft_n_threads: Integer | None = Field(default=None, ge=1, le=512, description="As n_threads, for the draft.")
    draft_cache_type_k: CacheType | None = Field(default=None, description="As cache_type_k, for the draft.")
    draft_cache_type_v: CacheType | None = Field(default=None, description="As cache_type_v, for the draft.")
    ngram_size_n: Integer | None = Field(default=None, ge=1, le=1024, description="Tokens looked up; null is 12.")
    ngram_size_m: Integer | None = Field(default=None, ge=1, le=1024, description="Tokens drafted; null is 48.")
    ngram_min_hits: Integer | None = Field(default=None, ge=1, le=65535, description="Least matches; null is 1.")
    ngram_mod_n_match: Integer | None = Field(default=None, ge=1, description="Tokens looked up; null is 24.")
    ngram_mod_n_min: Integer | None = Field(default=None, ge=0, description="Least tokens drafted; null is 48.")
    ngram_mod_n_max: Integer | None = Field(default=None, ge=1, description="Most tokens drafted; null is 64.")
    lookup_cache_static: Path | None = Field(default=None, description="File of n-grams to look up.")

    # Scores of tokens, beyond what `decoder` has.
    penalty_last_n: Integer | None = Field(
        default=None, ge=-1, description="Tokens back that repetition counts; 0 is none, -1 all, null 64."
    )
    penalty_freq: Number | None = Field(default=None, ge=-2, le=2, description="Taken off for each time produced.")
    penalty_present: Number | None = Field(default=None, ge=-2, le=2, description="Taken off tokens produced before.")
    dry_multiplier: Number | None = Field(
        default=None, gt=0, description="Penalty on repeated runs (DRY); null is none."
    )
    dry_base: Number | None = Field(default=None, ge=1, description="Growth with a run's length; null is 1.75.")
    dry_allowed_length: Integer | None = Field(default=None, ge=0, description="Run that is free of it; null is 2.")
    dry_penalty_last_n: Integer | None = Field(default=None, ge=-1, description="Tokens back, -1 all; null is 64.")
    typ_p: Number | None = Field(default=None, gt=0, le=1, description="Locally typical sampling of this mass.")
    xtc_probability: Number | None = Field(default=None, gt=0, le=1, description="Chance to drop the likeliest (XTC).")
    xtc_threshold: Number | None = Field(default=None, ge=0, le=0.5, description="How likely those are; null is 0.1.")
    dynatemp_range: Number | None = Field(default=None, gt=0, description="Vary temperature by this with the entropy.")
    dynatemp_exponent: Number | None = Field(
        default=None, gt=0, description="Exponent of the entropy in it; null is 1."
    )
    adaptive_target: Number | None = Field(default=None, ge=0, le=1, description="Favour tokens about this likely.")
    adaptive_decay: Number | None = Field(default=None, ge=0, le=0.99, description="Memory of that; null is 0.9.")
    min_keep: Integer | None = Field(default=None, ge=1, description="Tokens that every sampler leaves.")
    samplers: str | None = Field(
        default=None,
        pattern=rf"^{_SAMPLER}(;{_SAMPLER})*$",
        description="Samplers in their order, with those of all fields set, such as 'top_k;temperature'; null is "
        "llama.cpp's.",
    )
    backend_sampling: Flag | None = Field(default=None, description="Choose tokens on the GPU; null is off.")
    mirostat: Integer | None = Field(
        default=None, ge=1, le=2, description="Steer perplexity by Mirostat 1 or 2; null is off."
    )
    mirostat_tau: Number | None = Field(default=None, gt=0, description="Entropy aimed at; null is 5.")
    mirostat_eta: Number | None = Field(default=None, gt=0, le=1, description="Learning rate; null is 0.1.")

    # A GGUF file holds any of the three (ggml_type); see above for what `precision` means here. The first is what
    # `auto` is for a quantised file: llama.cpp has its activations in fp32.
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16")
    # What the file holds; of one that is made here fp32, which loses nothing.
    default_precision: ClassVar[str] = "auto"
    alters_answers: ClassVar[tuple[str, ...]] = (
        f"cache_type_k={_CACHED_IN_FEWER_BITS}", f"cache_type_v={_CACHED_IN_FEWER_BITS}", "n_cache_reuse",
        "rope_scaling_type", "rope_freq_base", "rope_freq_scale", "penalty_freq", "penalty_present", "dry_multiplier",
    )  # fmt: skip
    # There are no beams, DRY is another thing than n-grams that may not repeat, and no minimum can be set.
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "no_repeat_ngram_size",
            "min_output_tokens",
            "num_beams",
            "length_penalty",
            "early_stopping",
            "num_return_sequences",
        }
    )
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "n_cache_reuse": {"cache_prompt=false": "no prompt is kept then; remove one of them"},
        "tensor_split": {"split_mode=none": "a single GPU is used then; remove one of them"},
        "draft_model": {
            "speculative_type=ngram_simple|ngram_map_k|ngram_map_k4v|ngram_mod|ngram_cache": "it drafts without a "
            "model; remove one of them"
        },
        "mirostat": {
            **dict.fromkeys(("penalty_freq", "penalty_present", "dry_multiplier", "dynatemp_range"), _MIROSTAT),
            **dict.fromkeys(("typ_p", "xtc_probability", "adaptive_target", "samplers"), _MIROSTAT),
        },
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "strict_cpu": ("cpumask",),
        **dict.fromkeys(("n_cache_reuse", "cache_ram_mib", "cache_idle_slots"), ("cache_prompt",)),
        "main_gpu": ("split_mode=none|row",),
        **{
            f"yarn_{name}": ("rope_scaling_type=yarn",)
            for name in ("orig_ctx", "ext_factor", "attn_factor", "beta_fast", "beta_slow")
        },
        "draft_model": (_MODEL_DRAFT,),
        **{f"draft_{name}": (_MODEL_DRAFT,) for name in ("n_max", "n_min", "p_min", "p_split", "probabilistic")},
        **{f"draft_{name}": (_MODEL_DRAFT,) for name in ("backend_sampling", "n_gpu_layers", "n_threads")},
        **{f"draft_{name}": (_MODEL_DRAFT,) for name in ("cache_type_k", "cache_type_v")},
        **{f"ngram_{name}": (_NGRAM_DRAFT,) for name in ("size_n", "size_m", "min_hits")},
        **{f"ngram_mod_{name}": ("speculative_type=ngram_mod",) for name in ("n_match", "n_min", "n_max")},
        "lookup_cache_static": ("speculative_type=ngram_cache",),
        **{f"dry_{name}": ("dry_multiplier",) for name in ("base", "allowed_length", "penalty_last_n")},
        "xtc_threshold": ("xtc_probability",),
        "dynatemp_exponent": ("dynatemp_range",),
        "adaptive_decay": ("adaptive_target",),
        "mirostat_tau": ("mirostat",),
        "mirostat_eta": ("mirostat",),
    }
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "mirostat": dict.fromkeys(("top_k", "top_p", "min_p", "repetition_penalty"), _MIROSTAT)
    }
    decoder_needs: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("typ_p", "xtc_probability", "dynatemp_range", "adaptive_target", "mirostat", "min_keep", "samplers"),
        ("do_sample",),
    )
    library_names: ClassVar[Mapping[str, str]] = {
        "seed": "random_seed",
        "n_predict": "max_output_tokens",
        "temp": "decoder.temperature",
        **dict.fromkeys(("penalty_repeat", "repeat_penalty"), "decoder.repetition_penalty"),
        **dict.fromkeys(("lora_adapters", "lora"), "lora"),
        **dict.fromkeys(("cpuparams", "cpuparams_batch"), "llamacpp.n_threads and its neighbours"),
        "speculative": "llamacpp.speculative_type and its neighbours",
        "sampling": "decoder, or llamacpp.penalty_last_n and its neighbours",
        "repeat_last_n": "llamacpp.penalty_last_n",
        "frequency_penalty": "llamacpp.penalty_freq",
        "presence_penalty": "llamacpp.penalty_present",
        "typical_p": "llamacpp.typ_p",
    }
    refused_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("n", "n_cmpl", "n_sequences"), "asks for several answers; repeat the prompt instead"),
        **dict.fromkeys(("stop", "antiprompt"), "ends answers early and cuts their text, but not their tokens"),
        "t_max_predict_ms": "would make the number of tokens depend on the machine",
        **dict.fromkeys(("ctx_shift", "n_keep"), "drops the beginning of a request whose tokens were counted"),
        **dict.fromkeys(("prompt", "prompt_file", "in_files", "system_prompt"), "is what a request is made of"),
        **dict.fromkeys(("chat_template", "use_jinja"), "changes prompts that were put in their template already"),
        **dict.fromkeys(("embedding", "pooling_type", "attention_type"), "asks for something else than generated text"),
        **dict.fromkeys(("no_perf", "stream", "timings_per_token"), "is set here, since requests are timed by it"),
        **dict.fromkeys(("port", "hostnames", "api_keys", "api_prefix"), "is how requests get to the engine"),
        **dict.fromkeys(
            (
                "ssl_file_key",
                "ssl_file_cert",
                "reuse_port",
                "n_threads_http",
                "timeout_read",
                "timeout_write",
                "server_base",
                "models_dir",
                "models_preset",
                "models_preset_hf",
            ),
            "is how requests get to the engine",
        ),
        **dict.fromkeys(("ui", "endpoint_slots", "verbosity"), "is set here, so that nothing is served but requests"),
        **dict.fromkeys(("no_alloc", "check"), "loads nothing that could be measured"),
        "sleep_idle_seconds": "unloads the model while idling is measured",
        "path_prompt_cache": "keeps prompts from one run to the next, which then do less work",
    }

    @field_validator("flash_attn_type")
    @classmethod
    def _quantised_values_need_it(cls, flash: str | None, info: ValidationInfo) -> str | None:
        values = info.data.get("cache_type_v")
        if flash == "disabled" and values not in (None, "f32", "f16", "bf16"):
            raise ValueError(f"flash_attn_type: disabled cannot go with cache_type_v: {values}; change one of them")
        return flash

    @field_validator("samplers")
    @classmethod
    def _with_those_of_what_is_set(cls, samplers: str | None, info: ValidationInfo) -> str | None:
        lacking = _unread(samplers, _READ_BY, info.data)
        if lacking:
            raise ValueError("; also, ".join(lacking))
        return samplers

    def clashes_with(self, decoder: DecoderConfig) -> list[tuple[str, str]]:
        """As of any section, and what of the decoder no sampler of ``samplers`` would read."""
        # Greedy requests have a chain of their own.
        lacking = _unread(self.samplers, _READ_BY_OF_DECODER, vars(decoder), "decoder.") if decoder.do_sample else []
        return [*super().clashes_with(decoder), *(("samplers", text) for text in lacking)]


def _unread(
    samplers: str | None, read_by: Mapping[str, tuple[str, ...]], values: Mapping[str, Any], where: str = ""
) -> list[str]:
    """What to say of each field that is set, and that no sampler of a chain reads; ``where`` stands before its name."""
    chain = () if samplers is None else samplers.split(";")
    return [
        f"samplers: {samplers} leaves {where}{name}: {values[name]} without effect; add {' or '.join(members)}, or "
        f"remove {where}{name}"
        for name, members in read_by.items()
        if chain and values.get(name) not in (None, _NEUTRAL.get(name)) and not set(members) & set(chain)
    ]
