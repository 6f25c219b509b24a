"""The TensorRT-LLM engine: what ``tensorrt_llm.LLM`` and ``SamplingParams`` can be told.

Names and choices as read in TensorRT-LLM 1.2.1 (commit 376f7e1), the newest stable release; its backend is the one on
PyTorch. Each argument of ``TorchLlmArgs`` and ``SamplingParams`` is a field, is set by a shared field, or stands in
``tensorrt_left_out`` with the reason. What the library nests is flat here: members of ``KvCacheConfig``,
``SchedulerConfig`` and the speculative configurations under their own names, those of ``CudaGraphConfig``,
``TorchCompileConfig``, ``MoeConfig`` and ``AttentionDpConfig`` behind the name of their group.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.tensorrt_left_out import REFUSED
from llenergymeasure.config.names.paths import PathText

Sizes = Annotated[list[Annotated[Integer, Field(ge=1)]], Field(min_length=1)]
_AllReduce = Literal["NCCL", "UB", "MINLATENCY", "ONESHOT", "TWOSHOT", "LOWPRECISION", "MNNVL", "NCCL_SYMMETRIC"]
_Moe = Literal["CUTLASS", "CUTEDSL", "WIDEEP", "TRTLLM", "DEEPGEMM", "VANILLA", "TRITON"]
_Fp4Kernel = Literal["cutlass", "cublaslt", "cutedsl", "cuda_core"]

_NO_GRAPH = "there is no graph then; remove one of them"
_NO_REUSE = "nothing is reused then; remove one of them"
_DRAFTED = "decoding_type=Draft_Target|Eagle|MTP|NGram"
_PIECEWISE = ("torch_compile_enable_piecewise_cuda_graph",)


class TensorRTConfig(EngineSection):
    """Settings of the TensorRT-LLM engine.

    Weights are quantised beforehand: the checkpoint says how, and only the KV cache's format is chosen here.
    """

    # What is loaded, and how much of it runs together.
    revision: str | None = Field(default=None, min_length=1, description="Branch, tag or commit; null is the main one.")
    trust_remote_code: Flag = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
    load_format: Literal["auto", "dummy"] | None = Field(
        default=None, description="dummy makes random weights; null is auto."
    )
    max_batch_size: Integer | None = Field(default=None, ge=1, description="Most requests in one step; null is 2048.")
    max_num_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens in one step; null is 8192.")
    max_seq_len: Integer | None = Field(
        default=None, ge=1, description="Most tokens of a request, prompt and output; null is the model's own most."
    )

    # Several devices.
    tensor_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs that share a layer; null is 1.")
    pipeline_parallel_size: Integer | None = Field(default=None, ge=1, description="Stages of layers; null is 1.")
    pp_partition: Sizes | None = Field(default=None, description="Layers of each stage; null makes them alike.")
    moe_tensor_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs that share an expert.")
    moe_expert_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs that experts are dealt to.")
    allreduce_strategy: _AllReduce | None = Field(
        default=None, description="Reduction over ranks; null lets it choose."
    )
    enable_attention_dp: Flag | None = Field(default=None, description="Give each rank the attention of some requests.")
    enable_lm_head_tp_in_adp: Flag | None = Field(
        default=None, description="Split the output head between ranks even so."
    )
    attention_dp_enable_balance: Flag | None = Field(default=None, description="Wait until ranks have equal work.")
    attention_dp_batching_wait_iters: Integer | None = Field(
        default=None, ge=0, description="Steps to wait for a fuller batch; null is 10."
    )
    attention_dp_timeout_iters: Integer | None = Field(
        default=None, ge=0, description="Steps to wait for ranks without work; null is 50."
    )

    # The KV cache.
    free_gpu_memory_fraction: Number | None = Field(
        default=None, ge=0, le=1, description="Share of the memory left after loading; null is 0.9."
    )
    kv_cache_max_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens in the cache.")
    max_gpu_total_bytes: Integer | None = Field(default=None, ge=1, description="Most bytes of the cache on each GPU.")
    kv_cache_dtype: Literal["fp8"] | None = Field(
        default=None, description="Format of the KV cache; null is what the checkpoint says."
    )
    tokens_per_block: Integer | None = Field(default=None, ge=1, description="Tokens in a block; null is 32.")
    max_attention_window: Sizes | None = Field(default=None, description="Tokens attended to, layer by layer.")
    enable_block_reuse: Flag | None = Field(
        default=None,
        description="Keep the cache of prompts for others that begin alike; null is off, unlike TensorRT-LLM's own.",
    )
    enable_partial_reuse: Flag | None = Field(default=None, description="Reuse parts of blocks too; null is on.")
    copy_on_partial_reuse: Flag | None = Field(default=None, description="Copy such blocks when in use; null is on.")
    host_cache_size: Integer | None = Field(default=None, ge=1, description="Bytes of CPU memory that take KV cache.")
    use_uvm: Flag | None = Field(default=None, description="Put the cache into unified memory.")
    mamba_ssm_cache_dtype: Literal["float16", "bfloat16", "float32"] | None = Field(
        default=None, description="Format of state-space layers' state; null is the model's."
    )

    # Which requests run together.
    enable_chunked_prefill: Flag | None = Field(
        default=None, description="Let a prompt take several steps; null is off."
    )
    capacity_scheduler_policy: Literal["MAX_UTILIZATION", "GUARANTEED_NO_EVICT", "STATIC_BATCH"] | None = Field(
        default=None, description="Whether to admit what may have to be paused; null is GUARANTEED_NO_EVICT."
    )
    context_chunking_policy: Literal["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS"] | None = Field(
        default=None, description="How the room of a step is shared out among prompts."
    )
    disable_overlap_scheduler: Flag | None = Field(default=None, description="Plan a step only when the last is done.")
    batch_wait_timeout_ms: Number | None = Field(default=None, ge=0, description="Wait so long for a full batch.")
    batch_wait_timeout_iters: Integer | None = Field(default=None, ge=0, description="Wait so many steps for requests.")
    batch_wait_max_tokens_ratio: Number | None = Field(
        default=None, ge=0, le=1, description="Share of max_num_tokens that ends the wait; null does not wait."
    )
    stream_interval: Integer | None = Field(
        default=None, ge=1, description="Tokens handed over at a time, and timed as one; null is 1."
    )

    # Graphs, compilation and kernels.
    cuda_graph: Flag | None = Field(default=None, description="Decode in CUDA graphs; null is on.")
    cuda_graph_batch_sizes: Sizes | None = Field(default=None, description="Batch sizes that get a graph.")
    cuda_graph_max_batch_size: Integer | None = Field(default=None, ge=1, description="Largest of them; null is 128.")
    cuda_graph_enable_padding: Flag | None = Field(default=None, description="Fill up to the next graph's size.")
    torch_compile: Flag | None = Field(default=None, description="Run torch.compile; null is off.")
    torch_compile_enable_fullgraph: Flag | None = Field(
        default=None, description="Compile one whole graph; null is on."
    )
    torch_compile_enable_inductor: Flag | None = Field(default=None, description="Compile with inductor; null is off.")
    torch_compile_enable_piecewise_cuda_graph: Flag | None = Field(
        default=None, description="Graphs for prefill, piece by piece; null is off."
    )
    torch_compile_capture_num_tokens: Sizes | None = Field(
        default=None, description="Token counts that get such a graph; null is powers of 2 and multiples of 256."
    )
    torch_compile_enable_userbuffers: Flag | None = Field(default=None, description="Use user buffers; null is on.")
    torch_compile_max_num_streams: Integer | None = Field(default=None, ge=1, description="CUDA streams; null is 1.")
    enable_autotuner: Flag | None = Field(default=None, description="Try kernels on loading; null is on.")
    enable_min_latency: Flag | None = Field(default=None, description="Favour latency, for models that can.")
    attn_backend: Literal["TRTLLM", "FLASHINFER", "VANILLA"] | None = Field(
        default=None, description="Attention kernel; null is TRTLLM."
    )
    moe_backend: _Moe | None = Field(default=None, description="Kernel for mixtures of experts; null is CUTLASS.")
    moe_max_num_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens that it takes at a time.")
    moe_disable_finalize_fusion: Flag | None = Field(
        default=None, description="Leave its last step unfused, for equal results each time."
    )
    moe_use_low_precision_moe_combine: Flag | None = Field(default=None, description="Combine coarsely (NVFP4).")
    nvfp4_gemm_allowed_backends: Annotated[list[_Fp4Kernel], Field(min_length=1)] | None = Field(
        default=None, description="Kernels to choose from for NVFP4; null is cutlass, cublaslt and cuda_core."
    )
    force_dynamic_quantization: Flag | None = Field(default=None, description="Scale activations as they come.")
    disable_flashinfer_sampling: Flag | None = Field(
        default=None, description="Draw tokens by PyTorch's operations instead of FlashInfer's."
    )
    garbage_collection_gen0_threshold: Integer | None = Field(
        default=None, ge=1, description="Objects after which Python collects garbage in the engine; null is 20000."
    )

    # Speculative decoding.
    decoding_type: Literal["Draft_Target", "Eagle", "MTP", "NGram", "AUTO"] | None = Field(
        default=None,
        description="How tokens are drafted: by a model, a head (Eagle is EAGLE-3), n-grams; null is not at all.",
    )
    speculative_model: PathText | None = Field(
        default=None, min_length=1, description="Draft model: hub id or directory."
    )
    max_draft_len: Integer | None = Field(default=None, ge=1, description="Tokens drafted; of MTP its modules.")
    speculative_max_concurrency: Integer | None = Field(default=None, ge=1, description="Larger batches draft nothing.")
    acceptance_window: Integer | None = Field(default=None, ge=1, description="Requests averaged over.")
    acceptance_length_threshold: Number | None = Field(
        default=None, ge=0, description="Stop drafting for good once fewer tokens than this are accepted on average."
    )
    max_matching_ngram_size: Integer | None = Field(default=None, ge=1, description="Longest match that is looked up.")
    is_keep_all: Flag | None = Field(default=None, description="Keep every match of a pattern, not one; null is on.")
    is_use_oldest: Flag | None = Field(default=None, description="Draft from the oldest match; null is on.")
    is_public_pool: Flag | None = Field(default=None, description="Look up other requests' tokens too; null is on.")

    # `dtype` takes float32 too, but the fused attention kernels are for fp16 and bf16 only (AttentionOp).
    precisions: ClassVar[tuple[str, ...]] = ("fp16", "bf16")
    # What the sampler on PyTorch looks at is temperature, top_k and top_p; beams change tokens that were told already.
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "min_p",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "min_output_tokens",
            "num_beams",
            "length_penalty",
            "early_stopping",
        }
    )
    one_is_off: ClassVar[frozenset[str]] = frozenset({"pipeline_parallel_size"})
    alters_answers: ClassVar[tuple[str, ...]] = ("kv_cache_dtype", "mamba_ssm_cache_dtype=float16|bfloat16")
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "enable_partial_reuse": {"enable_block_reuse=false": _NO_REUSE},
        "copy_on_partial_reuse": {"enable_block_reuse=false": _NO_REUSE, "enable_partial_reuse=false": _NO_REUSE},
        "cuda_graph_batch_sizes": {"cuda_graph=false": _NO_GRAPH},
        "cuda_graph_max_batch_size": {
            "cuda_graph=false": _NO_GRAPH,
            "cuda_graph_batch_sizes": "the largest of the list is the most; remove one of them",
        },
        "cuda_graph_enable_padding": {"cuda_graph=false": _NO_GRAPH},
        "speculative_model": {"decoding_type=MTP|NGram|AUTO": "it drafts without a model; remove one of them"},
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pp_partition": ("pipeline_parallel_size",),
        **dict.fromkeys(("enable_lm_head_tp_in_adp", "attention_dp_enable_balance"), ("enable_attention_dp",)),
        "attention_dp_batching_wait_iters": ("attention_dp_enable_balance",),
        "attention_dp_timeout_iters": ("attention_dp_enable_balance",),
        **dict.fromkeys(("enable_partial_reuse", "copy_on_partial_reuse"), ("enable_block_reuse",)),
        "context_chunking_policy": ("enable_chunked_prefill",),
        **{
            f"torch_compile_{name}": ("torch_compile",)
            for name in ("enable_fullgraph", "enable_inductor", "enable_piecewise_cuda_graph", "enable_userbuffers")
        },
        "torch_compile_max_num_streams": ("torch_compile",),
        "torch_compile_capture_num_tokens": _PIECEWISE,
        "speculative_model": ("decoding_type=Draft_Target|Eagle",),
        **dict.fromkeys(("max_draft_len", "speculative_max_concurrency"), (_DRAFTED,)),
        **dict.fromkeys(("acceptance_window", "acceptance_length_threshold"), (_DRAFTED,)),
        **dict.fromkeys(("max_matching_ngram_size", "is_keep_all", "is_use_oldest"), ("decoding_type=NGram",)),
        "is_public_pool": ("decoding_type=NGram",),
    }
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "decoding_type": {"do_sample": "tokens are chosen greedily beside some drafts; remove one of them"},
    }
    library_names: ClassVar[Mapping[str, str]] = {
        "dtype": "precision",
        "seed": "random_seed",
        "max_input_len": "max_input_tokens",
        "max_tokens": "max_output_tokens",
        "n": "decoder.num_return_sequences",
        "generation_config": "decoder",
        **dict.fromkeys(("enable_lora", "lora_config", "lora_request", "peft_cache_config"), "lora"),
        "kv_cache_config": "tensorrt.free_gpu_memory_fraction and its neighbours",
        "scheduler_config": "tensorrt.capacity_scheduler_policy and its neighbours",
        "speculative_config": "tensorrt.decoding_type and its neighbours",
        "cuda_graph_config": "tensorrt.cuda_graph and its neighbours",
        "torch_compile_config": "tensorrt.torch_compile and its neighbours",
        "moe_config": "tensorrt.moe_backend and its neighbours",
        "nvfp4_gemm_config": "tensorrt.nvfp4_gemm_allowed_backends",
        "attention_dp_config": "tensorrt.attention_dp_enable_balance and its neighbours",
    }
    refused_names: ClassVar[Mapping[str, str]] = REFUSED
