"""Arguments of ``EngineArgs`` and ``SamplingParams`` that are no field of ours, each with the reason (vLLM 0.32).

``SET_HERE`` are those whose value the engine gives itself. They and the ``UNSAFE`` ones, which would make the counts
wrong or take something out of our hands, are refused in ``passthrough_kwargs``; those ``HANDED_ON`` are taken there. A
reason is what follows after "NAME may not be passed through: it". ``tests/integration/vllm/test_audit.py`` holds the
lists against the installed vLLM.
"""

_LOADING = "decides how weights are fetched or read, which is outside the measured window"
_PICTURES = "concerns images, audio and video, which no prompt here has"
_ONE_KIND = "chooses a kernel or a store for one kind of layer, which vLLM chooses by itself"
_ADAPTERS = "concerns how room for adapters is made, of which there is one"
_FINE = "is a finer setting of one that is a field here"
_SEVERAL = "needs several engines"
_OTHER_MODEL = "may make another model of it than the one that is told and counted"
_OTHER_WORK = "does something else than answering in the measured processes"
_STATISTICS = "concerns statistics and logs of vLLM's own, which are off here"
_SLEEPING = "concerns engines that are put to sleep"
_ANSWERS = "changes which tokens may come, so that engines could not be compared"
_SCORES = "has scores kept of every token, in the measured loop"
_NO_TEXT = "is about text, and tokens are not turned into any here"
_DECIDED = "is decided here, since requests and their times are"

SET_HERE: dict[str, str] = {
    "skip_tokenizer_init": "is set here: vLLM is given token ids, and what tokens are is known outside",
    "disable_log_stats": "is set here: times are taken outside of vLLM, and no others are used",
    "output_kind": "is set here: it is how tokens reach the timer",
    "detokenize": "is set here: tokens are not turned into text in the measured loop",
    "stop_token_ids": "is set here, from the model's own end tokens",
    "prompt_logprobs": "is set here, where the output's quality is looked at after the measured window",
}

UNSAFE: dict[str, str] = {
    "best_of": "discards answers whose tokens were paid for; set decoder.num_return_sequences instead",
    "stop": "ends answers early and cuts their text, but not their tokens",
    "repetition_detection": "ends answers early, so that engines could not be compared",
    "trace_decode_token_ids": "replaces what the model says",
    "truncate_prompt_tokens": "changes the prompt after its tokens were counted",
    "tokenizer": "takes away the tokenizer that tokens are counted by",
    "device_ids": "may take other GPUs than those that are measured; set CUDA_VISIBLE_DEVICES instead",
    "hf_token": "is found without being named: set the variable HF_TOKEN, or log in with 'hf auth login'",
    "lora_target_modules": "would leave part of the adapter out",
    "mm_encoder_only": "would leave the language model out",
    "served_model_name": "is a name for the clients of a server, and there is none",
    "tokens_only": "belongs to a server in front of the engine, and there is none",
    "enable_prompt_embeds": "is for prompts that are no tokens",
    "renderer_num_workers": "belongs to a server in front of the engine, and there is none",
    "shutdown_timeout": "is how vLLM ends, which is seen to here",
    "skip_reading_prefix_cache": "is asked of all requests alike: vllm.enable_prefix_caching",
    "skip_clone": _DECIDED,
    "extra_args": "is for plugins, whose work nobody could tell",
    **dict.fromkeys(("runner", "convert", "pooler_config"), "asks for something else than generated text"),
    **dict.fromkeys(("max_num_queued_reqs", "max_num_queued_tokens"), "turns requests away"),
    **dict.fromkeys(("scheduler_cls", "worker_cls", "logits_processors"), "runs other code in the measured loop"),
    "io_processor_plugin": "runs other code in the measured loop",
    **dict.fromkeys(("use_tqdm", "profiler_config"), "does work of its own in the measured loop"),
    **dict.fromkeys(("jit_monitor_mode", "jit_monitor_verbose"), "does work of its own in the measured loop"),
    **dict.fromkeys(("kv_transfer_config", "ec_transfer_config", "weight_transfer_config"), _SEVERAL),
    **dict.fromkeys(("nnodes", "node_rank", "master_addr", "master_port"), _SEVERAL),
    **dict.fromkeys(("data_parallel_rank", "data_parallel_start_rank", "data_parallel_size_local"), _SEVERAL),
    **dict.fromkeys(("data_parallel_address", "data_parallel_rpc_port", "data_parallel_backend"), _SEVERAL),
    **dict.fromkeys(("data_parallel_hybrid_lb", "data_parallel_external_lb"), _SEVERAL),
    **dict.fromkeys(("data_parallel_multi_port_external_lb", "dp_sync_interval"), _SEVERAL),
    **dict.fromkeys(("disable_nccl_for_dp_synchronization", "prefill_schedule_interval"), _SEVERAL),
    **dict.fromkeys(("enable_elastic_ep", "elastic_ep_max_dp_size"), _SEVERAL),
    **dict.fromkeys(("enable_fault_tolerance", "fault_tolerance_config"), _SEVERAL),
    **dict.fromkeys(("hf_overrides", "hf_config_path", "model_class_overrides", "config_format"), _OTHER_MODEL),
    "diffusion_config": _OTHER_MODEL,
    **dict.fromkeys(("worker_extension_cls", "additional_config", "watermark_config", "kv_events_config"), _OTHER_WORK),
    **dict.fromkeys(("enable_trace_replay", "collect_detailed_traces", "otlp_traces_endpoint"), _OTHER_WORK),
    **dict.fromkeys(("enable_layerwise_nvtx_tracing", "ray_workers_use_nsight"), _OTHER_WORK),
    **dict.fromkeys(("enable_return_routed_experts", "return_sampling_mask", "aux_output_config"), _OTHER_WORK),
    **dict.fromkeys(("enable_sleep_mode", "sleep_mode_offload_cudagraph"), _SLEEPING),
    **dict.fromkeys(("sleep_preserve_parameter_names", "enable_nccl_comm_suspend"), _SLEEPING),
    **dict.fromkeys(("structured_outputs_config", "structured_outputs", "reasoning_parser"), _ANSWERS),
    **dict.fromkeys(("reasoning_parser_plugin", "reasoning_config", "thinking_token_budget"), _ANSWERS),
    **dict.fromkeys(("logit_bias", "allowed_token_ids", "bad_words", "watermarking"), _ANSWERS),
    **dict.fromkeys(("logprobs", "logprob_token_ids", "flat_logprobs", "prompt_logprob_token_ids"), _SCORES),
    **dict.fromkeys(("prompt_logprob_start", "max_logprobs", "logprobs_mode"), _SCORES),
    "routed_experts_prompt_start": _SCORES,
    **dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens"), _NO_TEXT),
    **dict.fromkeys(("include_stop_str_in_output", "output_text_buffer_length"), _NO_TEXT),
    **dict.fromkeys(("aggregate_engine_logging", "show_hidden_metrics_for_version"), _STATISTICS),
    **dict.fromkeys(("kv_cache_metrics", "kv_cache_metrics_sample", "cudagraph_metrics"), _STATISTICS),
    **dict.fromkeys(("custom_histogram_buckets", "enable_mfu_metrics"), _STATISTICS),
    **dict.fromkeys(("enable_logging_iteration_details", "per_request_spec_decode_metrics"), _STATISTICS),
    **dict.fromkeys(("log_config_file", "log_level", "logging_config", "enable_mm_processor_stats"), _STATISTICS),
}

HANDED_ON: dict[str, str] = {
    **dict.fromkeys(("download_dir", "ignore_patterns", "model_loader_extra_config"), _LOADING),
    **dict.fromkeys(("safetensors_load_strategy", "safetensors_prefetch_num_threads"), _LOADING),
    **dict.fromkeys(("safetensors_prefetch_block_size", "max_parallel_loading_workers"), _LOADING),
    **dict.fromkeys(("pt_load_map_location", "use_tqdm_on_load", "enable_ep_weight_filter"), _LOADING),
    "code_revision": "matters only with trust_remote_code",
    "allow_deprecated_quantization": "lets vLLM take what it will drop",
    "fail_on_environ_validation": "decides whether vLLM minds variables that it does not know",
    "distributed_timeout_seconds": "decides how long ranks wait for each other before they give up",
    "cpu_distributed_timeout_seconds": "decides how long ranks wait for each other before they give up",
    "disable_cascade_attn": "is taken and ignored by vLLM",
    "enable_cumem_allocator": "is for links between machines",
    "use_fp64_gumbel": "is about tails of a distribution in drawing",
    "num_gpu_blocks_override": "is vLLM's own way of testing; set kv_cache_memory_bytes",
    **dict.fromkeys(("cpu_offload_params", "offload_params", "offload_backend"), _FINE),
    **dict.fromkeys(("max_num_scheduled_tokens", "long_prefill_token_threshold_adaptive"), _FINE),
    **dict.fromkeys(("numa_bind_nodes", "numa_bind_cpus", "ubatch_size"), _FINE),
    **dict.fromkeys(("dcp_comm_backend", "dcp_q_replicate", "dcp_kv_cache_interleave_size"), _FINE),
    **dict.fromkeys(("cp_kv_cache_interleave_size", "enable_batch_sharded_sampling"), _FINE),
    **dict.fromkeys(("prefix_cache_retention_interval", "prefix_match_unit"), _FINE),
    **dict.fromkeys(("mamba_block_size", "mamba_cache_mode", "mamba_config", "mamba_ssu_algorithm"), _ONE_KIND),
    **dict.fromkeys(("mamba_cache_philox_rounds", "enable_mamba_cache_stochastic_rounding"), _ONE_KIND),
    **dict.fromkeys(("enable_mamba_shared_prefix_checkpoint", "use_replayssm", "replayssm_buffer_len"), _ONE_KIND),
    **dict.fromkeys(("gdn_prefill_backend", "kda_prefill_backend", "kda_decode_backend"), _ONE_KIND),
    **dict.fromkeys(("sparse_indexer_topk_backend", "swa_bounded_replay", "engram_config"), _ONE_KIND),
    **dict.fromkeys(("enable_hc_sp", "ir_op_priority"), _ONE_KIND),
    **dict.fromkeys(("max_cpu_loras", "lora_dtype", "specialize_active_lora", "max_lora_cls_labels"), _ADAPTERS),
    **dict.fromkeys(("enable_mixed_moe_lora_format", "enable_moe_shared_loras", "default_mm_loras"), _ADAPTERS),
    "enable_tower_connector_lora": _ADAPTERS,
    **dict.fromkeys(("allowed_local_media_path", "allowed_media_domains", "disable_chunked_mm_input"), _PICTURES),
    **dict.fromkeys(("ec_manager_config", "enable_mm_embeds", "enable_shm_tensor_arena"), _PICTURES),
    **dict.fromkeys(
        ("interleave_mm_strings", "limit_mm_per_prompt", "media_io_kwargs", "skip_mm_profiling"), _PICTURES
    ),
    **dict.fromkeys(("mm_device_do_normalize", "mm_encoder_attn_backend", "mm_encoder_attn_dtype"), _PICTURES),
    **dict.fromkeys(("mm_encoder_fp8_scale_path", "mm_encoder_fp8_scale_save_margin"), _PICTURES),
    **dict.fromkeys(("mm_encoder_fp8_scale_save_path", "mm_encoder_tp_mode", "mm_hasher_algorithm"), _PICTURES),
    **dict.fromkeys(("mm_ipc_gpu_memory_gb", "mm_processor_cache_gb", "mm_processor_cache_type"), _PICTURES),
    **dict.fromkeys(("mm_processor_device", "mm_processor_kwargs", "mm_shm_cache_max_object_size_mb"), _PICTURES),
    **dict.fromkeys(("mm_tensor_ipc", "video_pruning_method", "video_pruning_rate"), _PICTURES),
}

LEFT_OUT: dict[str, str] = {**SET_HERE, **UNSAFE, **HANDED_ON}
