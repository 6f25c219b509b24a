"""The vLLM engine: what ``EngineArgs`` and ``SamplingParams`` can be told.

Names and choices as read in vLLM 0.32.0. What vLLM nests is flat here under its inner name: members of
``CompilationConfig`` (``compilation_mode`` is its ``mode``), ``PassConfig``, ``AttentionConfig``, ``EPLBConfig``
and ``SpeculativeConfig``, where ``draft_`` stands before what concerns the draft model only. What is no field stands in
``vllm_left_out`` with the reason; a test holds both against the installed release.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.vllm_left_out import SET_HERE, UNSAFE
from llenergymeasure.config.names.paths import PathText

# Backends made for one model or one kind of layer are left out: the model selects them itself.
_CudaAttention = Literal["FLASH_ATTN", "TRITON_ATTN", "FLASHINFER", "FLEX_ATTENTION", "TURBOQUANT", "ULTRAQUANT"]
_OtherAttention = Literal["B12X", "CPU_ATTN", "ROCM_ATTN", "ROCM_AITER_FA", "ROCM_AITER_UNIFIED_ATTN"]
_LatentAttention = Literal[
    "FLASH_ATTN_MLA", "FLASHINFER_MLA", "FLASHMLA", "CUTLASS_MLA", "TRITON_MLA", "CPU_MLA", "AMX_MLA"
]
AttentionBackend = Literal[_CudaAttention, _OtherAttention, _LatentAttention, "TOKENSPEED_MLA", "ROCM_AITER_MLA"]

_CacheOf16Or8Bits = Literal["float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "fp8_per_token_head"]
_CacheOfFewBits = Literal["int8_per_token_head", "int4_per_token_head", "nvfp4", "nvfp4_4over6", "nvfp4_ds_mla"]
_CacheOfCodebooks = Literal["turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"]
CacheDtype = Literal[_CacheOf16Or8Bits, _CacheOfFewBits, _CacheOfCodebooks, "ultraquant_4bit"]

_QuantisedOnLoading = Literal["fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8", "nvfp4_per_token"]
_IntegerWeights = Literal["gptq", "auto_gptq", "gptq_marlin", "awq", "auto_awq", "awq_marlin", "moe_wna16", "humming"]
_Toolkit = Literal["modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed", "compressed-tensors", "quark"]
_Quantised = Literal[_IntegerWeights, _Toolkit, "torchao", "inc", "fp8", "mxfp4", "experts_int8"]
Quantization = Literal[_Quantised, _QuantisedOnLoading, "int8_per_channel_weight_only"]

_FlashInferMoe = Literal["flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_cutedsl", "flashinfer_b12x"]
_OtherMoe = Literal["triton", "batched_triton", "triton_unfused", "deep_gemm", "cutlass", "marlin", "humming", "b12x"]
_FlashInferLinear = Literal[_FlashInferMoe, "flashinfer_cudnn"]
_OtherLinear = Literal["cutlass", "marlin", "humming", "triton", "deep_gemm", "torch", "machete", "conch", "exllama"]
_DeepEp = Literal["deepep_high_throughput", "deepep_low_latency", "deepep_v2"]
_OtherAllToAll = Literal["allgather_reducescatter", "flashinfer_nvlink_one_sided", "flashinfer_nvlink_two_sided"]
_DraftHead = Literal["eagle", "eagle3", "mtp", "medusa", "mlp_speculator", "dflash", "dspark"]
SpeculativeMethod = Literal["draft_model", _DraftHead, "ngram", "ngram_gpu", "suffix"]
# Ranks that vLLM makes room for; it has one of 1, too.
LoraRank = Literal[8, 16, 32, 64, 128, 256, 320, 512]
LORA_RANKS: tuple[int, ...] = get_args(LoraRank)
GraphSizes = Annotated[list[Annotated[Integer, Field(ge=1)]], Field(min_length=1)]

_EAGER = {"enforce_eager": "it rules out graphs and compilation; remove one of them"}
_DRAFTED = ("spec_method", "spec_model")


class VLLMConfig(EngineSection):
    """Settings of the vLLM engine.

    Quantised checkpoints are recognised; ``quantization`` is for the methods that quantise on loading, and
    for another kernel than vLLM would choose.
    """

    # What is loaded, and how long it may get.
    revision: str | None = Field(default=None, min_length=1, description="Branch, tag or commit; null is the main one.")
    tokenizer_revision: str | None = Field(default=None, min_length=1, description="The same for the tokenizer.")
    tokenizer_mode: Literal["hf", "mistral", "deepseek_v32", "deepseek_v4", "inkling", "kimi_k3", "cohere"] | None = (
        Field(default=None, description="Implementation of the tokenizer; null lets vLLM choose.")
    )
    trust_remote_code: Flag = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
    load_format: Literal["hf", "safetensors", "pt", "mistral", "sharded_state", "fastsafetensors", "dummy"] | None = (
        Field(default=None, description="Form of the weight files; dummy makes random weights; null finds it out.")
    )
    model_impl: Literal["vllm", "transformers", "terratorch"] | None = Field(
        default=None, description="Whose model code runs; null is vLLM's where there is one."
    )
    language_model_only: Flag | None = Field(default=None, description="Leave image and audio encoders unloaded.")
    max_model_len: Integer | None = Field(
        default=None, ge=1, description="Most tokens of a request, prompt and output; null is the model's own most."
    )
    disable_sliding_window: Flag | None = Field(default=None, description="Cap the length at the sliding window.")

    # Several devices.
    tensor_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs that share a layer; null is 1.")
    pipeline_parallel_size: Integer | None = Field(default=None, ge=1, description="Stages of layers; null is 1.")
    data_parallel_size: Integer | None = Field(
        default=None, ge=1, description="Copies that share the requests, each in its own process; null is 1."
    )
    prefill_context_parallel_size: Integer | None = Field(default=None, ge=1, description="Ranks that share a prefill.")
    decode_context_parallel_size: Integer | None = Field(default=None, ge=1, description="Ranks that share KV cache.")
    distributed_executor_backend: Literal["mp", "ray", "uni"] | None = Field(
        default=None, description="What starts the workers; null is uni for one GPU, else mp."
    )
    disable_custom_all_reduce: Flag | None = Field(default=None, description="Reduce with NCCL instead.")
    numa_bind: Flag | None = Field(default=None, description="Bind each worker to the NUMA node of its GPU.")
    enable_expert_parallel: Flag | None = Field(default=None, description="Split experts over ranks, not each expert.")
    expert_placement_strategy: Literal["linear", "round_robin"] | None = Field(
        default=None, description="Which rank has which experts; null is linear."
    )
    all2all_backend: Literal[_DeepEp, _OtherAllToAll, "moonep", "nixl_ep"] | None = Field(
        default=None, description="How tokens get to their experts; null is allgather_reducescatter."
    )
    enable_eplb: Flag | None = Field(default=None, description="Move experts about as load asks for it.")
    num_redundant_experts: Integer | None = Field(default=None, ge=0, description="Copies of busy experts; null is 0.")
    enable_dbo: Flag | None = Field(default=None, description="Overlap two half batches, computing and communicating.")
    dbo_decode_token_threshold: Integer | None = Field(
        default=None, ge=0, description="Halve decode batches of more tokens than this; null is 32."
    )
    dbo_prefill_token_threshold: Integer | None = Field(
        default=None, ge=0, description="Halve batches with a prefill of more tokens than this; null is 512."
    )

    # Memory and the KV cache.
    gpu_memory_utilization: Number | None = Field(
        default=None, gt=0, le=1, description="Share of each GPU's memory that vLLM takes; null is 0.92."
    )
    kv_cache_memory_bytes: Integer | None = Field(
        default=None, ge=1, description="Bytes of KV cache per GPU, in place of gpu_memory_utilization."
    )
    block_size: Integer | None = Field(default=None, ge=1, description="Tokens in a block; null suits the backend.")
    kv_cache_dtype: CacheDtype | None = Field(default=None, description="Format of the KV cache; null is precision.")
    kv_cache_dtype_skip_layers: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="Layers whose cache stays in precision: their numbers, or a kind as sliding_window."
    )
    enable_prefix_caching: Flag | None = Field(
        default=None,
        description="Keep the cache of prompts for others that begin alike; null is off, unlike vLLM's own.",
    )
    prefix_caching_hash_algo: Literal["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"] | None = Field(
        default=None, description="Hash that prefixes are found by; null is sha256."
    )
    disable_hybrid_kv_cache_manager: Flag | None = Field(
        default=None, description="Give layers with a sliding window as much cache as the others."
    )
    kv_sharing_fast_prefill: Flag | None = Field(default=None, description="Skip prefill in layers that share a cache.")
    mamba_cache_dtype: Literal["float16", "bfloat16", "float32"] | None = Field(
        default=None, description="Format of state-space layers' cache; null is the model's."
    )
    mamba_ssm_cache_dtype: Literal["float16", "bfloat16", "float32"] | None = Field(
        default=None, description="Format of their recurrent state alone; null is mamba_cache_dtype."
    )
    cpu_offload_gb: Number | None = Field(default=None, gt=0, description="GiB of weights per GPU read from the CPU.")
    offload_group_size: Integer | None = Field(
        default=None, ge=1, description="Of every so many layers, the last are fetched ahead from CPU memory."
    )
    offload_num_in_group: Integer | None = Field(default=None, ge=1, description="How many of a group; null is 1.")
    offload_prefetch_step: Integer | None = Field(default=None, ge=1, description="Layers fetched ahead; null is 1.")
    kv_offloading_size: Number | None = Field(default=None, gt=0, description="GiB of CPU memory that take KV cache.")
    kv_offloading_backend: Literal["native", "lmcache"] | None = Field(
        default=None, description="What moves the cache there; null is native."
    )

    # Which requests run together.
    max_num_seqs: Integer | None = Field(default=None, ge=1, description="Most requests in one step.")
    max_num_active_seqs: Integer | None = Field(
        default=None, ge=1, description="Most requests that run, of those that buffers and graphs are made for."
    )
    max_num_batched_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens in one step.")
    enable_chunked_prefill: Flag | None = Field(default=None, description="Let a prompt take several steps.")
    long_prefill_token_threshold: Integer | None = Field(
        default=None, ge=1, description="Most tokens that a step takes of one prompt; null sets no limit."
    )
    scheduling_policy: Literal["fcfs", "priority"] | None = Field(
        default=None, description="Order of waiting requests; null is fcfs."
    )
    scheduler_reserve_full_isl: Flag | None = Field(default=None, description="Admit only whole prompts; null is on.")
    watermark: Number | None = Field(default=None, ge=0, lt=1, description="Share of cache kept free on admitting.")
    async_scheduling: Flag | None = Field(
        default=None, description="Plan a step while the one before runs; null does so where vLLM can."
    )
    stream_interval: Integer | None = Field(
        default=None, ge=1, description="Tokens handed over at a time, and timed as one; null is 1."
    )

    # Compilation, graphs and kernels.
    enforce_eager: Flag | None = Field(default=None, description="Neither compile nor capture graphs.")
    optimization_level: Integer | None = Field(default=None, ge=0, le=3, description="From none to all; null is 2.")
    performance_mode: Literal["balanced", "interactivity", "throughput"] | None = Field(
        default=None, description="Favour latency or throughput; null is balanced."
    )
    compilation_mode: Integer | None = Field(
        default=None,
        ge=0,
        le=3,
        description="0 none, 1 stock torch.compile, 2 one trace, 3 vLLM's; null is the level's.",
    )
    compile_sizes: GraphSizes | None = Field(default=None, description="Batch sizes compiled for on their own.")
    cudagraph_mode: Literal["NONE", "PIECEWISE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"] | None = Field(
        default=None, description="What CUDA graphs hold; null is the level's."
    )
    cudagraph_capture_sizes: GraphSizes | None = Field(default=None, description="Batch sizes that get a graph.")
    max_cudagraph_capture_size: Integer | None = Field(default=None, ge=1, description="Largest batch with a graph.")
    fuse_norm_quant: Flag | None = Field(default=None, description="Fuse normalisation with quantisation.")
    fuse_act_quant: Flag | None = Field(default=None, description="Fuse activation with quantisation.")
    fuse_attn_quant: Flag | None = Field(default=None, description="Fuse attention with quantisation.")
    fuse_allreduce_rms: Flag | None = Field(default=None, description="Fuse reduction over ranks with normalisation.")
    attention_backend: AttentionBackend | None = Field(default=None, description="Attention kernel; null: vLLM's.")
    flash_attn_version: Integer | None = Field(default=None, ge=2, le=4, description="Version of FlashAttention.")
    moe_backend: Literal[_FlashInferMoe, _OtherMoe, "aiter", "flydsl", "hpc"] | None = Field(
        default=None, description="Kernel for mixtures of experts; null is vLLM's choice."
    )
    linear_backend: Literal[_FlashInferLinear, _OtherLinear, "b12x", "fbgemm", "aiter"] | None = Field(
        default=None, description="Kernel for linear layers; null is vLLM's choice."
    )
    mamba_backend: Literal["triton", "flashinfer", "cpu"] | None = Field(
        default=None, description="State-space kernel."
    )
    enable_flashinfer_autotune: Flag | None = Field(default=None, description="Try FlashInfer's kernels on loading.")

    # Quantisation.
    quantization: Quantization | None = Field(default=None, description="Method; null is what the checkpoint says.")
    quantization_ignore: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="Layers that are left as they are (quantization_config.ignore)."
    )

    # Speculative decoding.
    spec_method: SpeculativeMethod | None = Field(
        default=None, description="How tokens are drafted; null is what spec_model is for, and nothing without it."
    )
    spec_model: PathText | None = Field(
        default=None, min_length=1, description="Draft model or head: hub id or directory."
    )
    spec_tokens: Integer | None = Field(default=None, ge=1, description="Drafted at a time; null: the draft's own.")
    draft_revision: str | None = Field(default=None, min_length=1, description="Branch, tag or commit of the draft.")
    draft_quantization: Quantization | None = Field(default=None, description="Quantisation of the draft.")
    draft_tensor_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs of the draft model.")
    draft_sample_method: Literal["greedy", "probabilistic"] | None = Field(
        default=None, description="How the draft picks its tokens; null is greedy."
    )
    rejection_sample_method: Literal["standard", "block"] | None = Field(
        default=None, description="Check drafted tokens one by one or as a block; null is standard."
    )
    parallel_drafting: Flag | None = Field(default=None, description="Draft all tokens at once, if trained for it.")
    prompt_lookup_min: Integer | None = Field(default=None, ge=1, description="Shortest match that is looked up.")
    prompt_lookup_max: Integer | None = Field(default=None, ge=1, description="Longest such match; null is 5.")
    suffix_decoding_max_tree_depth: Integer | None = Field(default=None, ge=1, description="Tokens of match and draft.")
    suffix_decoding_max_spec_factor: Number | None = Field(default=None, gt=0, description="Drafted per token matched.")
    suffix_decoding_min_token_prob: Number | None = Field(default=None, ge=0, le=1, description="Least likely draft.")

    # The adapter of `lora`.
    max_lora_rank: LoraRank | None = Field(
        default=None,
        description="Rank that room is made for; null is the adapter's own, or the next one that there is.",
    )
    fully_sharded_loras: Flag | None = Field(default=None, description="Split both halves of an adapter over ranks.")

    # Scores of tokens, beyond what `decoder` has.
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2, description="Taken off tokens produced before.")
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2, description="The same for each time produced.")

    # ModelDType and the platforms' supported_dtypes; GPUs before Ampere have no bf16.
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16")
    # generate() has no beams: LLM.beam_search is another loop, around one-token requests.
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {"no_repeat_ngram_size", "num_beams", "length_penalty", "early_stopping"}
    )
    one_is_off: ClassVar[frozenset[str]] = frozenset({"tensor_parallel_size"})
    alters_answers: ClassVar[tuple[str, ...]] = (
        "kv_cache_dtype", "mamba_cache_dtype=float16|bfloat16", "mamba_ssm_cache_dtype=float16|bfloat16",
        "presence_penalty", "frequency_penalty",
    )  # fmt: skip
    of_adapters: ClassVar[frozenset[str]] = frozenset({"max_lora_rank", "fully_sharded_loras"})
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "kv_cache_memory_bytes": {"gpu_memory_utilization": "it takes the place of the share; remove one of them"},
        "prefix_caching_hash_algo": {"enable_prefix_caching=false": "no prefix is kept then; remove one of them"},
        "offload_group_size": {"cpu_offload_gb": "weights are offloaded one way; remove one of them"},
        "long_prefill_token_threshold": {"enable_chunked_prefill=false": "prompts are not split; remove one of them"},
        **dict.fromkeys(("compilation_mode", "compile_sizes", "cudagraph_mode", "cudagraph_capture_sizes"), _EAGER),
        "max_cudagraph_capture_size": {
            **_EAGER,
            "cudagraph_capture_sizes": "the largest of the list is the most; remove one of them",
        },
        "spec_model": {"spec_method=ngram|ngram_gpu|suffix": "it drafts without a model; remove one of them"},
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("disable_custom_all_reduce", "fully_sharded_loras"), ("tensor_parallel_size",)),
        **dict.fromkeys(("expert_placement_strategy", "all2all_backend", "enable_eplb"), ("enable_expert_parallel",)),
        "num_redundant_experts": ("enable_eplb",),
        **dict.fromkeys(("dbo_decode_token_threshold", "dbo_prefill_token_threshold"), ("enable_dbo",)),
        **dict.fromkeys(("offload_num_in_group", "offload_prefetch_step"), ("offload_group_size",)),
        "kv_offloading_backend": ("kv_offloading_size",),
        "kv_cache_dtype_skip_layers": ("kv_cache_dtype",),
        "quantization_ignore": ("quantization",),
        **dict.fromkeys(("spec_tokens", "rejection_sample_method"), _DRAFTED),
        **dict.fromkeys(("draft_revision", "draft_tensor_parallel_size", "parallel_drafting"), ("spec_model",)),
        **dict.fromkeys(("draft_quantization", "draft_sample_method"), ("spec_model", "spec_method=mtp|dspark")),
        **dict.fromkeys(("prompt_lookup_min", "prompt_lookup_max"), ("spec_method=ngram|ngram_gpu",)),
        **{f"suffix_decoding_{name}": ("spec_method=suffix",) for name in ("max_tree_depth", "max_spec_factor")},
        "suffix_decoding_min_token_prob": ("spec_method=suffix",),
    }
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        name: {"min_p": "vLLM refuses it with drafted tokens; remove one of them"} for name in _DRAFTED
    }
    library_names: ClassVar[Mapping[str, str]] = {
        "model_weights": "model",
        "dtype": "precision",
        "seed": "random_seed",
        "max_tokens": "max_output_tokens",
        "n": "decoder.num_return_sequences",
        "min_tokens": "decoder.min_output_tokens",
        **dict.fromkeys(("generation_config", "override_generation_config"), "decoder"),
        **dict.fromkeys(("enable_lora", "max_loras", "lora_request"), "lora"),
        "speculative_config": "vllm.spec_method and its neighbours",
        "compilation_config": "vllm.compilation_mode and its neighbours",
        "attention_config": "vllm.attention_backend or flash_attn_version",
        "kernel_config": "vllm.moe_backend or linear_backend",
        "eplb_config": "vllm.num_redundant_experts",
        "quantization_config": "vllm.quantization or quantization_ignore",
    }
    refused_names: ClassVar[Mapping[str, str]] = {**SET_HERE, **UNSAFE}
