"""The TensorRT-LLM engine: what ``tensorrt_llm.LLM`` and ``SamplingParams`` can be told.

Names and choices as read in TensorRT-LLM 1.3 (``llm_args.py`` at commit 0004396, about 1.3.0rc26). Its only
backend is the one on PyTorch: ``TrtLlmArgs``, with engines built before running, is gone, and ``LlmArgs`` is
``TorchLlmArgs``. What the library nests is flat here: members of ``KvCacheConfig``,
``SchedulerConfig`` and the speculative configurations under their own names, those of ``CudaGraphConfig``,
``TorchCompileConfig``, ``MoeConfig`` and ``AttentionDpConfig`` behind the name of their group.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.names.paths import PathText

Sizes = Annotated[list[Annotated[Integer, Field(ge=1)]], Field(min_length=1)]
_AllReduce = Literal["NCCL", "UB", "MINLATENCY", "ONESHOT", "TWOSHOT", "LOWPRECISION", "MNNVL", "NCCL_SYMMETRIC"]
_Moe = Literal["CUTLASS", "CUTEDSL", "TRTLLM", "DEEPGEMM", "DENSEGEMM", "VANILLA", "TRITON", "MARLIN"]
_MegaMoe = Literal["MEGAMOE_DEEPGEMM", "MEGAMOE_CUTEDSL"]
_Fp4Kernel = Literal["cutlass", "cublaslt", "cutedsl", "cuda_core", "marlin"]
_DraftedByModel = Literal["Draft_Target", "Eagle3", "MTP", "PARD", "DFlash", "DSpark"]

_NO_GRAPH = "there is no graph then; remove one of them"
_NO_REUSE = "nothing is reused then; remove one of them"
_IN_MODEL = "decoding_type=Draft_Target|Eagle3|MTP|PARD|DFlash|DSpark|SA"
_WITHOUT_SPECULATION = "drafted tokens are checked without it; remove one of them"


class TensorRTConfig(EngineSection):
    """Settings of the TensorRT-LLM engine.

    Weights are quantised beforehand: the checkpoint says how, and only the KV cache's format is chosen here.
    """

    # What is loaded, and how much of it runs together.
    revision: str | None = Field(default=None, min_length=1, description="Branch, tag or commit; null is the main one.")
    tokenizer_revision: str | None = Field(default=None, min_length=1, description="The same for the tokenizer.")
    tokenizer_mode: Literal["auto", "slow"] | None = Field(default=None, description="slow avoids the fast one.")
    trust_remote_code: Flag = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
    load_format: Literal["auto", "dummy"] | None = Field(
        default=None, description="dummy makes random weights; null is auto."
    )
    disable_mm_encoder: Flag | None = Field(default=None, description="Leave image and audio encoders unloaded.")
    max_batch_size: Integer | None = Field(default=None, ge=1, description="Most requests in one step; null is 2048.")
    max_num_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens in one step; null is 8192.")
    max_seq_len: Integer | None = Field(
        default=None, ge=1, description="Most tokens of a request, prompt and output; null is the model's own most."
    )

    # Several devices.
    tensor_parallel_size: Integer | None = Field(default=None, ge=1, description="GPUs that share a layer; null is 1.")
    pipeline_parallel_size: Integer | None = Field(default=None, ge=1, description="Stages of layers; null is 1.")
    pp_partition: Sizes | None = Field(default=None, description="Layers of each stage; null makes them alike.")
    context_parallel_size: Integer | None = Field(default=None, ge=1, description="Ranks that share a context.")
    cp_type: Literal["ULYSSES", "STAR", "RING", "HELIX"] | None = Field(
        default=None, description="How they share it; null is ULYSSES."
    )
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
    kv_cache_dtype: Literal["float16", "bfloat16", "float32", "fp8", "fp8_ds_mla", "nvfp4"] | None = Field(
        default=None, description="Format of the KV cache; null is what the checkpoint says."
    )
    tokens_per_block: Integer | None = Field(default=None, ge=1, description="Tokens in a block; null is 32.")
    max_attention_window: Sizes | None = Field(default=None, description="Tokens attended to, layer by layer.")
    enable_block_reuse: Flag | None = Field(
        default=None, description="Keep the cache of prompts for others that begin alike; null is on."
    )
    enable_partial_reuse: Flag | None = Field(default=None, description="Reuse parts of blocks too; null is on.")
    copy_on_partial_reuse: Flag | None = Field(default=None, description="Copy such blocks when in use; null is on.")
    host_cache_size: Integer | None = Field(default=None, ge=1, description="Bytes of CPU memory that take KV cache.")
    use_uvm: Flag | None = Field(default=None, description="Put the cache into unified memory.")
    use_kv_cache_manager_v2: Flag | None = Field(default=None, description="Newer manager; null is the model's choice.")
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
    context_chunking_policy: Literal["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS", "FORCE_CHUNK"] | None = Field(
        default=None, description="How the room of a step is shared out among prompts."
    )
    waiting_queue_policy: Literal["fcfs", "priority"] | None = Field(
        default=None, description="Order of waiting requests; null is fcfs."
    )
    use_python_scheduler: Flag | None = Field(default=None, description="Plan in Python instead of C++.")
    enable_prefix_aware_scheduling: Flag | None = Field(default=None, description="Plan for reuse; null is on.")
    disable_overlap_scheduler: Flag | None = Field(default=None, description="Plan a step only when the last is done.")
    enable_early_first_token_response: Flag | None = Field(
        default=None, description="Hand a first token over before the next step ends."
    )
    enable_low_latency_host_dispatch: Flag | None = Field(
        default=None, description="Spin on a core while waiting for the GPU, to go on sooner."
    )
    batch_wait_timeout_ms: Number | None = Field(default=None, ge=0, description="Wait so long for a full batch.")
    batch_wait_timeout_iters: Integer | None = Field(default=None, ge=0, description="Wait so many steps for requests.")
    batch_wait_max_tokens_ratio: Number | None = Field(
        default=None, ge=0, le=1, description="Share of max_num_tokens that ends the wait; null does not wait."
    )
    stream_interval: Integer | None = Field(
        default=None, ge=1, description="Tokens handed over at a time, and timed as one; null is 1."
    )
    num_postprocess_workers: Integer | None = Field(default=None, ge=0, description="Processes that detokenise.")

    # Graphs, compilation and kernels.
    cuda_graph: Flag | None = Field(default=None, description="Decode in CUDA graphs; null is on.")
    cuda_graph_batch_sizes: Sizes | None = Field(default=None, description="Batch sizes that get a graph.")
    cuda_graph_max_batch_size: Integer | None = Field(default=None, ge=1, description="Largest of them; null is 128.")
    cuda_graph_enable_padding: Flag | None = Field(default=None, description="Fill up to the next graph's size.")
    prefill_cuda_graph_backend: Literal["disabled", "piecewise", "breakable"] | None = Field(
        default=None, description="Graphs for prefill; null is disabled."
    )
    prefill_capture_num_tokens: Sizes | None = Field(default=None, description="Token counts that get such a graph.")
    torch_compile: Flag | None = Field(
        default=None, description="Run torch.compile; null does for piecewise graphs only."
    )
    torch_compile_enable_fullgraph: Flag | None = Field(
        default=None, description="Compile one whole graph; null is on."
    )
    torch_compile_enable_inductor: Flag | None = Field(default=None, description="Compile with inductor; null is off.")
    torch_compile_enable_userbuffers: Flag | None = Field(default=None, description="Use user buffers; null is on.")
    torch_compile_max_num_streams: Integer | None = Field(default=None, ge=1, description="CUDA streams; null is 3.")
    enable_in_graph_sampling: Flag | None = Field(default=None, description="Choose tokens inside the graph.")
    enable_autotuner: Flag | None = Field(default=None, description="Try kernels on loading; null is on.")
    enable_min_latency: Flag | None = Field(default=None, description="Favour latency, for models that can.")
    attn_backend: Literal["TRTLLM", "FLASHINFER", "VANILLA"] | None = Field(
        default=None, description="Attention kernel; null is TRTLLM."
    )
    moe_backend: Literal[_Moe, _MegaMoe] | None = Field(
        default=None, description="Kernel for mixtures of experts; null is the library's choice for the model."
    )
    moe_max_num_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens that it takes at a time.")
    moe_disable_finalize_fusion: Flag | None = Field(
        default=None, description="Leave its last step unfused, for equal results each time."
    )
    moe_use_low_precision_moe_combine: Flag | None = Field(default=None, description="Combine coarsely (NVFP4).")
    nvfp4_gemm_allowed_backends: Annotated[list[_Fp4Kernel], Field(min_length=1)] | None = Field(
        default=None, description="Kernels to choose from for NVFP4; null is cutlass, cublaslt and cuda_core."
    )
    use_cute_dsl_blockscaling_mm: Flag | None = Field(default=None, description="FP8 products by CuTe DSL.")
    use_cute_dsl_bf16_gemm: Flag | None = Field(default=None, description="BF16 linear layers by CuTe DSL (Blackwell).")
    force_dynamic_quantization: Flag | None = Field(default=None, description="Scale activations as they come.")

    # Speculative decoding.
    decoding_type: Literal[_DraftedByModel, "NGram", "SA", "AUTO"] | None = Field(
        default=None, description="How tokens are drafted: by a model or head, n-grams, suffixes; null is not at all."
    )
    speculative_model: PathText | None = Field(
        default=None, min_length=1, description="Draft model: hub id or directory."
    )
    max_draft_len: Integer | None = Field(default=None, ge=1, description="Tokens drafted, or depth of a tree.")
    speculative_max_concurrency: Integer | None = Field(default=None, ge=1, description="Larger batches draft nothing.")
    use_dynamic_tree: Flag | None = Field(default=None, description="Draft a tree instead of a chain.")
    dynamic_tree_max_topk: Integer | None = Field(default=None, ge=1, description="Branches at each token of a tree.")
    max_total_draft_tokens: Integer | None = Field(default=None, ge=1, description="Most tokens in a tree.")
    use_rejection_sampling: Flag | None = Field(
        default=None, description="Accept drafted tokens by their probability, not only equal ones."
    )
    enable_penalty: Flag | None = Field(default=None, description="Make room for penalties beside drafted tokens.")
    acceptance_rate_window_size: Integer | None = Field(default=None, ge=1, description="Steps averaged over.")
    acceptance_rate_threshold: Number | None = Field(default=None, ge=0, le=1, description="Stop drafting below this.")
    max_matching_ngram_size: Integer | None = Field(default=None, ge=1, description="Longest match that is looked up.")
    is_keep_all: Flag | None = Field(default=None, description="Keep every match of a pattern, not one; null is on.")
    is_use_oldest: Flag | None = Field(default=None, description="Draft from the oldest match; null is on.")
    is_public_pool: Flag | None = Field(default=None, description="Look up other requests' tokens too; null is on.")
    enable_global_pool: Flag | None = Field(
        default=None, description="Look up suffixes of other requests too; null is off."
    )

    # Scores of tokens, beyond what `decoder` has.
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2, description="Taken off tokens produced before.")
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2, description="The same for each time produced.")
    top_p_decay: Number | None = Field(default=None, gt=0, le=1, description="Factor of top_p at each token.")
    top_p_min: Number | None = Field(default=None, gt=0, le=1, description="Where it stops.")
    beam_search_diversity_rate: Number | None = Field(default=None, ge=0, description="Keep beams apart by this.")

    # `dtype` takes float32 too, but the fused attention kernels are for fp16 and bf16 only (AttentionOp).
    precisions: ClassVar[tuple[str, ...]] = ("fp16", "bf16")
    one_is_off: ClassVar[frozenset[str]] = frozenset({"context_parallel_size", "pipeline_parallel_size"})
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "enable_partial_reuse": {"enable_block_reuse=false": _NO_REUSE},
        "copy_on_partial_reuse": {"enable_block_reuse=false": _NO_REUSE, "enable_partial_reuse=false": _NO_REUSE},
        "enable_early_first_token_response": {
            "disable_overlap_scheduler": "it hurries the overlap; remove one of them"
        },
        "cuda_graph_batch_sizes": {"cuda_graph=false": _NO_GRAPH},
        "cuda_graph_max_batch_size": {
            "cuda_graph=false": _NO_GRAPH,
            "cuda_graph_batch_sizes": "the largest of the list is the most; remove one of them",
        },
        "cuda_graph_enable_padding": {"cuda_graph=false": _NO_GRAPH},
        "enable_in_graph_sampling": {"cuda_graph=false": _NO_GRAPH},
        "torch_compile": {"prefill_cuda_graph_backend=breakable": "such graphs are not compiled; remove one of them"},
        "speculative_model": {"decoding_type=NGram|SA|AUTO": "it drafts without a model; remove one of them"},
        "use_rejection_sampling": {
            "decoding_type=NGram|SA|AUTO": "such drafts have no probability; remove one of them"
        },
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pp_partition": ("pipeline_parallel_size",),
        "cp_type": ("context_parallel_size",),
        **dict.fromkeys(("enable_lm_head_tp_in_adp", "attention_dp_enable_balance"), ("enable_attention_dp",)),
        "attention_dp_batching_wait_iters": ("attention_dp_enable_balance",),
        "attention_dp_timeout_iters": ("attention_dp_enable_balance",),
        "context_chunking_policy": ("enable_chunked_prefill",),
        "prefill_capture_num_tokens": ("prefill_cuda_graph_backend=piecewise|breakable",),
        **{
            f"torch_compile_{name}": ("torch_compile", "prefill_cuda_graph_backend=piecewise")
            for name in ("enable_fullgraph", "enable_inductor", "enable_userbuffers", "max_num_streams")
        },
        "speculative_model": ("decoding_type",),
        "max_draft_len": (f"{_IN_MODEL}|NGram",),
        "speculative_max_concurrency": (f"{_IN_MODEL}|NGram",),
        "use_dynamic_tree": ("decoding_type=Eagle3|MTP",),
        **dict.fromkeys(("dynamic_tree_max_topk", "max_total_draft_tokens"), ("use_dynamic_tree",)),
        "use_rejection_sampling": ("decoding_type",),
        "enable_penalty": (_IN_MODEL,),
        "acceptance_rate_window_size": ("acceptance_rate_threshold",),
        "acceptance_rate_threshold": ("decoding_type",),
        "max_matching_ngram_size": ("decoding_type=NGram|SA",),
        **dict.fromkeys(("is_keep_all", "is_use_oldest", "is_public_pool"), ("decoding_type=NGram",)),
        "enable_global_pool": ("decoding_type=SA",),
        "top_p_min": ("top_p_decay",),
    }
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "decoding_type": {"num_beams": "tokens are drafted without beams; remove one of them"},
        _IN_MODEL: dict.fromkeys(("min_p", "no_repeat_ngram_size", "min_output_tokens"), _WITHOUT_SPECULATION),
    }
    decoder_needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("top_p_decay", "top_p_min", "use_rejection_sampling"), ("do_sample",)),
        "beam_search_diversity_rate": ("num_beams",),
    }
    library_names: ClassVar[Mapping[str, str]] = {
        "dtype": "precision",
        "seed": "random_seed",
        "max_input_len": "max_input_tokens",
        "max_tokens": "max_output_tokens",
        "n": "decoder.num_return_sequences",
        "min_tokens": "decoder.min_output_tokens",
        **dict.fromkeys(("max_beam_width", "use_beam_search", "beam_width_array"), "decoder.num_beams"),
        "generation_config": "decoder",
        **dict.fromkeys(("enable_lora", "lora_config", "lora_request"), "lora"),
        "kv_cache_config": "tensorrt.free_gpu_memory_fraction and its neighbours",
        "scheduler_config": "tensorrt.capacity_scheduler_policy and its neighbours",
        "speculative_config": "tensorrt.decoding_type and its neighbours",
        "cuda_graph_config": "tensorrt.cuda_graph and its neighbours",
        "torch_compile_config": "tensorrt.torch_compile and its neighbours",
        "moe_config": "tensorrt.moe_backend and its neighbours",
        "nvfp4_gemm_config": "tensorrt.nvfp4_gemm_allowed_backends",
        "attention_dp_config": "tensorrt.attention_dp_enable_balance and its neighbours",
        "cp_config": "tensorrt.cp_type",
    }
    refused_names: ClassVar[Mapping[str, str]] = {
        "best_of": "discards answers whose tokens were paid for; set decoder.num_return_sequences instead",
        **dict.fromkeys(("stop", "stop_token_ids"), "ends answers early and cuts their text, but not their tokens"),
        **dict.fromkeys(("end_id", "pad_id"), "is set from the tokenizer; tokens are counted by it"),
        "exclude_input_from_output": "would count the prompt as output",
        **dict.fromkeys(("truncate_prompt_tokens", "add_special_tokens"), "changes a prompt that was counted already"),
        "return_perf_metrics": "is set here, since requests are timed by it",
        **dict.fromkeys(
            ("tokenizer", "custom_tokenizer", "skip_tokenizer_init"), "takes away what tokens are counted by"
        ),
        **dict.fromkeys(("encode_only", "mm_encoder_only"), "asks for something else than generated text"),
        **dict.fromkeys(("backend", "checkpoint_loader", "mpi_session"), "would replace what is measured"),
        **dict.fromkeys(("logits_processor", "batched_logits_processor"), "runs other code in the measured loop"),
        **dict.fromkeys(("enable_energy_metrics", "print_iter_log"), "does work of its own in the measured loop"),
        **dict.fromkeys(("cache_transceiver_config", "kv_connector_config"), "needs several engines"),
    }
