"""The SGLang engine: what ``sglang.Engine`` and its sampling parameters can be told.

Names and choices as read in SGLang 0.5.23 (``srt/arg_groups/fields``). Of the 546 fields of its ``ServerArgs`` those
that bear on speed, energy or memory of one engine on one machine are fields here; all others stand in
``sglang_left_out`` with the reason.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.sglang_left_out import REFUSED
from llenergymeasure.config.names.paths import PathText

Sizes = Annotated[list[Annotated[Integer, Field(ge=1)]], Field(min_length=1)]
# Backends made for one model are left out: the model selects them itself.
_Attention = Literal["triton", "torch_native", "flex_attention", "fa3", "fa4", "flashinfer", "flashmla", "hpc_ops"]
_LatentAttention = Literal["trtllm_mla", "cutedsl_mla", "trtllm_mha"]
AttentionBackend = Literal[_Attention, _LatentAttention, "aiter", "wave"]
_OnLoading = Literal["fp8", "mxfp8", "nvfp4_online", "w8a8_int8", "w8a8_fp8", "quark_mxfp4", "bitsandbytes", "humming"]
_Checkpoints = Literal["awq", "awq_marlin", "gptq", "gptq_marlin", "moe_wna16", "w4afp8", "mxfp4", "petit_nvfp4"]
_Toolkits = Literal["modelopt", "modelopt_fp8", "modelopt_fp4", "modelopt_mixed", "compressed-tensors", "quark"]
Quantization = Literal[_OnLoading, _Checkpoints, _Toolkits, "auto-round", "auto-round-int8", "quark_int4fp8_moe"]
CacheDtype = Literal["fp8_e5m2", "fp8_e4m3", "mxfp8", "bf16", "nvfp4", "fp4_mx_block16"]
_FlashInferMoe = Literal["flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_mxfp4", "flashinfer_cutedsl"]
MoeRunner = Literal["deep_gemm", "triton", "triton_kernel", _FlashInferMoe, "cutlass", "aiter", "marlin", "humming"]
AllToAll = Literal["none", "deepep", "deepep_v2", "mooncake", "nixl", "mori", "flashinfer", "megamoe", "pplx"]
_FlashInferGemm = Literal["flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_cutedsl"]
GraphBackend = Literal["full", "breakable", "disabled"]

_CHANGED_BY_BATCHES = (
    "attention_backend=torch_native|flex_attention|flashmla|hpc_ops|trtllm_mla|cutedsl_mla|trtllm_mha|aiter|wave"
)
_NO_GRAPH = {"disable_cuda_graph": "there are no graphs then; remove one of them"}
_NO_CACHE = {"disable_radix_cache=true": "no prefix is kept then; remove one of them"}
_KEPT = ("disable_radix_cache=false",)
_DRAFTED = ("speculative_algorithm",)
_BY_A_MODEL = ("speculative_algorithm=EAGLE|EAGLE3|NEXTN|STANDALONE",)
_BY_NGRAMS = ("speculative_algorithm=NGRAM",)


class SGLangConfig(EngineSection):
    """Settings of the SGLang engine.

    Quantised checkpoints are recognised; ``quantization`` is for the methods that quantise on loading, and
    for another kernel than SGLang would choose.
    """

    # What is loaded, and how long it may get.
    revision: str | None = Field(default=None, min_length=1, description="Branch, tag or commit; null is the main one.")
    trust_remote_code: Flag = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
    load_format: Literal["auto", "safetensors", "pt", "dummy", "layered", "fastsafetensors"] | None = Field(
        default=None, description="Form of the weight files; dummy makes random weights; null finds it out."
    )
    model_impl: Literal["auto", "sglang", "transformers"] | None = Field(
        default=None, description="Whose model code runs; null is SGLang's where there is one."
    )
    context_length: Integer | None = Field(
        default=None, ge=1, description="Most tokens of a request, prompt and output; null is the model's own most."
    )

    # Several devices.
    tp_size: Integer | None = Field(default=None, ge=1, description="GPUs that share a layer; null is 1.")
    pp_size: Integer | None = Field(default=None, ge=1, description="Stages of layers; null is 1.")
    dp_size: Integer | None = Field(
        default=None, ge=1, description="Copies that share the requests, each on GPUs of its own; null is 1."
    )
    attn_dp_size: Integer | None = Field(
        default=None, ge=1, description="Groups of tp_size's GPUs that have attention of different requests; null is 1."
    )
    load_balance_method: Literal["auto", "round_robin", "total_requests", "total_tokens"] | None = Field(
        default=None, description="Which copy or group gets a request; null is auto."
    )
    ep_size: Integer | None = Field(default=None, ge=1, description="GPUs that experts are dealt to; null is 1.")
    moe_dense_tp_size: Literal[1] | None = Field(
        default=None, description="GPUs that share a dense layer of a mixture of experts; null is tp_size."
    )
    enable_dp_lm_head: Flag | None = Field(default=None, description="Give each attention group an output head.")
    pp_max_micro_batch_size: Integer | None = Field(default=None, ge=1, description="Most requests in a stage.")
    pp_async_batch_depth: Integer | None = Field(default=None, ge=0, description="Batches ahead in stages; null is 0.")
    disable_custom_all_reduce: Flag | None = Field(default=None, description="Reduce with NCCL instead.")
    enable_nccl_nvls: Flag | None = Field(default=None, description="Reduce in the NVLink switch for prefill.")
    enable_symm_mem: Flag | None = Field(default=None, description="Reduce over NCCL's symmetric memory.")
    enable_torch_symm_mem: Flag | None = Field(default=None, description="Reduce over torch's symmetric memory.")
    enable_flashinfer_allreduce_fusion: Flag | None = Field(
        default=None, description="Fuse reduction over ranks with normalisation; off does not rule it out."
    )
    moe_a2a_backend: AllToAll | None = Field(default=None, description="How tokens get to experts; null is none.")
    deepep_mode: Literal["auto", "normal", "low_latency"] | None = Field(
        default=None, description="Which kernels of DeepEP; null is auto."
    )
    ep_num_redundant_experts: Integer | None = Field(default=None, ge=0, description="Copies of experts; null is 0.")
    enable_eplb: Flag | None = Field(default=None, description="Move experts about as load asks for it.")
    enable_two_batch_overlap: Flag | None = Field(default=None, description="Overlap two half batches.")
    enable_single_batch_overlap: Flag | None = Field(default=None, description="Overlap within a batch.")

    # Memory and the KV cache.
    mem_fraction_static: Number | None = Field(
        default=None, gt=0, lt=1, description="Share of each GPU's memory for weights and cache; null: SGLang's choice."
    )
    max_total_tokens: Integer | None = Field(default=None, ge=1, description="Tokens that the KV cache holds.")
    page_size: Integer | None = Field(default=None, ge=1, description="Tokens in a page; null suits the backend.")
    kv_cache_dtype: CacheDtype | None = Field(default=None, description="Format of the KV cache; null is precision.")
    disable_radix_cache: Flag | None = Field(
        default=None, description="Keep no cache of prompts for others that begin alike; null is true, unlike SGLang's."
    )
    radix_eviction_policy: Literal["lru", "lfu", "slru", "tlru"] | None = Field(
        default=None, description="What the cache of prompts drops first; null is lru."
    )
    enable_hierarchical_cache: Flag | None = Field(default=None, description="Keep prompts in CPU memory, too.")
    hicache_ratio: Number | None = Field(default=None, gt=0, description="CPU's cache to the GPU's; null is 2.")
    hicache_size: Integer | None = Field(
        default=None, ge=1, description="GB of the CPU's cache, in place of the ratio."
    )
    hicache_write_policy: Literal["write_back", "write_through", "write_through_selective"] | None = Field(
        default=None, description="When prompts go there; null is write_through."
    )
    swa_full_tokens_ratio: Number | None = Field(
        default=None, gt=0, le=1, description="Cache of layers with a sliding window to that of the others; null: 0.8."
    )
    disable_hybrid_swa_memory: Flag | None = Field(
        default=None, description="Give layers with a sliding window as much cache as the others."
    )
    max_mamba_cache_size: Integer | None = Field(default=None, ge=1, description="Requests in state-space layers.")
    mamba_full_memory_ratio: Number | None = Field(
        default=None, gt=0, description="Memory of their states to the KV cache's; null is 0.9."
    )
    mamba_ssm_dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Format of their states; null is the model's."
    )
    cpu_offload_gb: Integer | None = Field(default=None, ge=1, description="GB of weights read from the CPU.")

    # Which requests run together.
    max_running_requests: Integer | None = Field(default=None, ge=1, description="Most requests at work at a time.")
    max_prefill_tokens: Integer | None = Field(
        default=None, ge=1, description="Most tokens of prompts in a step; null is 16384, and no less than the context."
    )
    prefill_max_requests: Integer | None = Field(default=None, ge=1, description="Most prompts in a step.")
    chunked_prefill_size: Annotated[Integer, Field(ge=-1)] | None = Field(
        default=None,
        ge=-1,
        description="Tokens of a prompt that a step takes; -1 takes it whole; null: SGLang's choice.",
    )
    enable_mixed_chunk: Flag | None = Field(default=None, description="Put prompts and decoding into one step.")
    schedule_policy: Literal["fcfs", "lpm", "random", "dfs-weight", "lof"] | None = Field(
        default=None, description="Order of waiting requests; null is fcfs."
    )
    schedule_conservativeness: Number | None = Field(
        default=None, gt=0, description="How much room is kept for answers that go on; null is 1."
    )
    disable_overlap_schedule: Flag | None = Field(default=None, description="Plan a step only after the one before.")
    num_continuous_decode_steps: Integer | None = Field(default=None, ge=1, description="Steps in a row; null is 1.")
    stream_interval: Integer | None = Field(
        default=None, ge=1, description="Tokens handed over at a time, and timed as one; null is 1."
    )
    sleep_on_idle: Flag | None = Field(
        default=None, description="Let a processor of each scheduler sleep while nothing is to do; null has it turn."
    )

    # Compilation, graphs and kernels.
    disable_cuda_graph: Flag | None = Field(default=None, description="Capture no graphs.")
    cuda_graph_backend_decode: GraphBackend | None = Field(default=None, description="Graphs of decoding.")
    cuda_graph_backend_prefill: GraphBackend | None = Field(default=None, description="Graphs of reading prompts.")
    cuda_graph_max_bs_decode: Integer | None = Field(default=None, ge=1, description="Largest batch with a graph.")
    cuda_graph_bs_decode: Sizes | None = Field(default=None, description="Batch sizes that get a graph.")
    cuda_graph_max_bs_prefill: Integer | None = Field(default=None, ge=1, description="Most prompt tokens of a graph.")
    cuda_graph_bs_prefill: Sizes | None = Field(default=None, description="Numbers of prompt tokens with a graph.")
    disable_cuda_graph_padding: Flag | None = Field(default=None, description="A graph for each batch size.")
    enable_torch_compile: Flag | None = Field(default=None, description="Compile with torch.compile.")
    torch_compile_max_bs: Integer | None = Field(default=None, ge=1, description="Largest such batch; null is 32.")
    attention_backend: AttentionBackend | None = Field(default=None, description="Attention kernel; null: SGLang's.")
    prefill_attention_backend: AttentionBackend | None = Field(default=None, description="The same for prompts only.")
    decode_attention_backend: AttentionBackend | None = Field(default=None, description="The same for decoding only.")
    triton_attention_num_kv_splits: Integer | None = Field(default=None, ge=1, description="Splits; null is 8.")
    sampling_backend: Literal["flashinfer", "pytorch"] | None = Field(default=None, description="Kernel that draws.")
    bf16_gemm_backend: Literal["auto", "cutedsl", "gemv", "torch"] | None = Field(
        default=None, description="Kernel for dense layers in bf16; null is auto."
    )
    fp8_gemm_runner_backend: Literal["auto", "deep_gemm", _FlashInferGemm, "cutlass", "triton", "aiter"] | None = Field(
        default=None, description="The same in FP8."
    )
    fp4_gemm_runner_backend: Literal["auto", "flashinfer_cudnn", _FlashInferGemm, "marlin"] | None = Field(
        default=None, description="The same in FP4."
    )
    moe_runner_backend: Literal["auto", MoeRunner] | None = Field(
        default=None, description="Kernel for mixtures of experts; null is auto."
    )
    disable_shared_experts_fusion: Flag | None = Field(default=None, description="Run shared experts by themselves.")
    linear_attn_backend: Literal["triton", "cutedsl", "flashinfer"] | None = Field(
        default=None, description="Kernel for linear attention; null is triton."
    )
    mamba_backend: Literal["triton", "flashinfer"] | None = Field(default=None, description="State-space kernel.")
    disable_flashinfer_autotune: Flag | None = Field(default=None, description="Try no kernels on loading.")
    enable_fp32_lm_head: Flag | None = Field(default=None, description="Compute the output head in fp32.")
    enable_tf32_matmul: Flag | None = Field(default=None, description="Multiply fp32 as TF32.")
    enable_deterministic_inference: Flag | None = Field(
        default=None, description="Kernels that a batch does not change; with it draws follow seeds. Slower."
    )

    # Quantisation.
    quantization: Quantization | None = Field(default=None, description="Method; null is what the checkpoint says.")

    # Speculative decoding.
    speculative_algorithm: Literal["EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM"] | None = Field(
        default=None, description="How tokens are drafted; null drafts none."
    )
    speculative_draft_model_path: PathText | None = Field(
        default=None, min_length=1, description="Draft model or head: hub id or directory."
    )
    speculative_draft_model_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the draft."
    )
    speculative_draft_model_quantization: Quantization | None = Field(default=None, description="Of the draft.")
    speculative_num_steps: Integer | None = Field(default=None, ge=1, description="Steps that a draft takes.")
    speculative_eagle_topk: Integer | None = Field(default=None, ge=1, description="Tokens tried in each of them.")
    speculative_num_draft_tokens: Integer | None = Field(default=None, ge=1, description="Tokens checked at a time.")
    speculative_accept_threshold_single: Number | None = Field(
        default=None, ge=0, le=1, description="Take a token at least this likely; null is 1, no other than the model's."
    )
    speculative_accept_threshold_acc: Number | None = Field(
        default=None, gt=0, le=1, description="Of it and those before."
    )
    speculative_draft_attention_backend: Literal["flashinfer", "fa3", "fa4", "triton", "trtllm_mha"] | None = Field(
        default=None, description="Attention kernel of the draft."
    )
    speculative_ngram_max_bfs_breadth: Integer | None = Field(default=None, ge=1, description="Breadth; null is 10.")
    speculative_ngram_max_trie_depth: Integer | None = Field(default=None, ge=1, description="Depth; null is 18.")
    speculative_ngram_match_type: Literal["BFS", "PROB"] | None = Field(default=None, description="Null is BFS.")

    # Scores of tokens, beyond what `decoder` has.
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2, description="Taken off tokens produced before.")
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2, description="The same for each time produced.")

    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16")
    # Without its tokenizer SGLang refuses min_new_tokens; n reads a prompt once more, for a cache that is off.
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "no_repeat_ngram_size", "min_output_tokens", "num_beams", "length_penalty", "early_stopping",
            "num_return_sequences",
        }
    )  # fmt: skip
    one_is_off: ClassVar[frozenset[str]] = frozenset({"tp_size", "pp_size", "dp_size", "attn_dp_size", "ep_size"})
    alters_answers: ClassVar[tuple[str, ...]] = (
        "kv_cache_dtype", "mamba_ssm_dtype=float16|bfloat16", "presence_penalty", "frequency_penalty",
    )  # fmt: skip
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "attn_dp_size": {"dp_size": "groups run in no copies; remove one of them"},
        "radix_eviction_policy": _NO_CACHE,
        "enable_hierarchical_cache": _NO_CACHE,
        "hicache_size": {"hicache_ratio": "it takes the place of the ratio; remove one of them"},
        **dict.fromkeys(("cuda_graph_backend_decode", "cuda_graph_backend_prefill"), _NO_GRAPH),
        **dict.fromkeys(("cuda_graph_max_bs_prefill", "disable_cuda_graph_padding", "cuda_graph_bs_decode"), _NO_GRAPH),
        "cuda_graph_max_bs_decode": _NO_GRAPH,
        "cuda_graph_bs_prefill": _NO_GRAPH,
        "enable_deterministic_inference": {
            _CHANGED_BY_BATCHES: "SGLang has it with triton, fa3, fa4 and flashinfer; set one of them",
            "sampling_backend=flashinfer": "SGLang would draw with pytorch instead; remove one of them",
        },
        "enable_torch_compile": {"disable_cuda_graph_padding": "each batch size would be compiled; remove one of them"},
        "speculative_algorithm": {
            "pp_size": "drafts cannot be checked in stages; remove one of them",
            "enable_mixed_chunk": "SGLang refuses both; remove one of them",
        },
        "speculative_draft_model_path": {
            "speculative_algorithm=NGRAM": "it drafts without a model; remove one of them"
        },
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "disable_custom_all_reduce": ("tp_size",),
        "load_balance_method": ("dp_size", "attn_dp_size"),
        "enable_dp_lm_head": ("attn_dp_size",),
        **dict.fromkeys(("pp_max_micro_batch_size", "pp_async_batch_depth"), ("pp_size",)),
        "deepep_mode": ("moe_a2a_backend=deepep",),
        "radix_eviction_policy": _KEPT,
        "enable_hierarchical_cache": _KEPT,
        **dict.fromkeys(("hicache_ratio", "hicache_size", "hicache_write_policy"), ("enable_hierarchical_cache",)),
        "torch_compile_max_bs": ("enable_torch_compile",),
        **dict.fromkeys(("speculative_num_draft_tokens", "speculative_draft_attention_backend"), _DRAFTED),
        **dict.fromkeys(("speculative_accept_threshold_single", "speculative_accept_threshold_acc"), _DRAFTED),
        **dict.fromkeys(("speculative_num_steps", "speculative_eagle_topk"), _BY_A_MODEL),
        "speculative_draft_model_path": _BY_A_MODEL,
        **dict.fromkeys(
            ("speculative_draft_model_revision", "speculative_draft_model_quantization"),
            ("speculative_draft_model_path",),
        ),
        **dict.fromkeys(("speculative_ngram_max_bfs_breadth", "speculative_ngram_max_trie_depth"), _BY_NGRAMS),
        "speculative_ngram_match_type": _BY_NGRAMS,
    }
    decoder_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {"sampling_backend": ("do_sample",)}
    library_names: ClassVar[Mapping[str, str]] = {
        "model_path": "model",
        "dtype": "precision",
        **dict.fromkeys(("sampling_seed", "seed"), "random_seed"),
        "max_new_tokens": "max_output_tokens",
        "min_new_tokens": "decoder.min_output_tokens",
        "beam_width": "decoder.num_beams",
        **dict.fromkeys(("preferred_sampling_params", "sampling_defaults"), "decoder"),
        **dict.fromkeys(("enable_lora", "lora_paths", "max_lora_rank", "lora_target_modules"), "lora"),
        "cuda_graph_config": "sglang.cuda_graph_backend_decode and its neighbours",
        **dict.fromkeys(("disable_prefill_cuda_graph",), "sglang.cuda_graph_backend_prefill"),
        **dict.fromkeys(("disable_decode_cuda_graph",), "sglang.cuda_graph_backend_decode"),
        "enable_dp_attention": "sglang.attn_dp_size",
    }
    refused_names: ClassVar[Mapping[str, str]] = REFUSED
