"""Fields of SGLang's ``ServerArgs`` (0.5.23) and its sampling parameters that are none of ours, each with the reason.

``REFUSED`` ones would make counts or times wrong or take something out of our hands, so ``passthrough_kwargs`` refuses
them; the others it hands on. A reason is what follows after "NAME may not be passed through: it".
"""


def _of(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_OTHER_MODEL = "may make another model of it than the one that is told and counted"
_WATCHES = "does work of its own in the measured loop"
_RETURNS = "changes what is returned, and keeps it in memory meanwhile"
_ELSEWHERE = "takes weights from elsewhere than the files whose digest is told"
_HTTP = "concerns the HTTP server, which is not started"
_TEXT = "concerns text and its tokenizer; requests and answers are token ids here"
_ENDS = "ends answers early, so that engines could not be compared"

REFUSED: dict[str, str] = {
    **_of("is CUDA here", "device mlx_enable_sampling"),
    **_of(
        "may take other GPUs than those that are measured; set CUDA_VISIBLE_DEVICES instead", "base_gpu_id gpu_id_step"
    ),
    **_of("is set here, so that an engine that dies is told", "custom_sigquit_handler soft_watchdog_timeout"),
    **_of(
        "needs several engines or machines",
        "use_ray nnodes node_rank dist_init_addr gated_launch_port ep_join_mode ep_join_rank_offset "
        "elastic_ep_backend elastic_ep_initial_size elastic_ep_scale_timeout enable_elastic_expert_backup max_ep_size "
        "decoupled_spec_bind_endpoint decoupled_spec_connect_endpoints decoupled_spec_rank decoupled_spec_role "
        "disaggregation_mode disaggregation_decode_allocation_policy disaggregation_transfer_backend "
        "disaggregation_enable_kv_checksum disaggregation_bootstrap_port disaggregation_ib_device "
        "disaggregation_decode_enable_radix_cache disaggregation_decode_enable_offload_kvcache "
        "disaggregation_decode_retraction_backup disaggregation_decode_extra_slots "
        "disaggregation_decode_polling_interval disaggregation_decode_host_receive_threshold "
        "num_reserved_decode_tokens enable_pd_role_switch optimistic_prefill_attempts encoder_only language_only "
        "encoder_transfer_backend encoder_urls encoder_bootstrap_port encoder_register_urls "
        "enable_adaptive_dispatch_to_encoder enable_kv_cache_sharding enable_dsa_cache_layer_split mooncake_ib_device",
    ),
    **_of(
        "changes what the model says",
        "enable_watermark watermark watermark_config watermark_key watermark_key_b watermark_context_window "
        "watermark_mixing_probability watermark_max_probability watermark_default_enabled watermark_enforce_all "
        "enable_custom_logit_processor custom_params logit_bias rl_on_policy_target",
    ),
    **_of(
        _RETURNS,
        "enable_return_hidden_states return_hidden_states_mode enable_return_aux_hidden_states "
        "aux_hidden_state_capture return_aux_hidden_state_layer_ids enable_return_routed_experts "
        "enable_return_indexer_topk sampling_mask_max_tokens return_input_ids return_output_ids enable_cache_report",
    ),
    **_of(
        _OTHER_MODEL,
        "is_embedding model_config_parser json_model_override_args decrypted_config_file decrypted_draft_config_file "
        "dllm_algorithm dllm_algorithm_config dllm_fdfo enable_mis prefill_only_disable_kv_cache",
    ),
    **_of(
        _ELSEWHERE,
        "custom_weight_loader modelopt_checkpoint_restore_path rl_quant_profile modelexpress_config "
        "remote_instance_weight_loader_seed_instance_ip remote_instance_weight_loader_seed_instance_service_port "
        "remote_instance_weight_loader_send_weights_group_ports remote_instance_weight_loader_backend "
        "remote_instance_weight_loader_start_seed_via_transfer_engine engine_info_bootstrap_port "
        "checkpoint_engine_wait_weights_before_ready weight_cache_mode weight_cache_socket weight_cache_timeout "
        "weight_version kt_weight_path download_dir enable_memory_saver enable_weights_cpu_backup "
        "enable_draft_weights_cpu_backup",
    ),
    "delete_ckpt_after_loading": "deletes the model's files",
    **_of("writes the model anew", "modelopt_checkpoint_save_path modelopt_export_path quantize_and_serve"),
    **_of(
        _WATCHES,
        "log_requests log_requests_level log_requests_format log_requests_target crash_dump_folder show_time_cost "
        "enable_metrics enable_mfu_metrics enable_metrics_for_all_schedulers load_snapshot_publish_interval "
        "tokenizer_metrics_custom_labels_header tokenizer_metrics_allowed_custom_labels extra_metric_labels "
        "bucket_time_to_first_token bucket_inter_token_latency bucket_e2e_request_latency prompt_tokens_buckets "
        "generation_tokens_buckets enable_request_time_stats_logging kv_events_config load_publish_endpoint "
        "enable_forward_pass_metrics forward_pass_metrics_worker_id forward_pass_metrics_ipc_name enable_trace "
        "trace_modules otlp_traces_endpoint otlp_service_name export_metrics_to_file export_metrics_to_file_dir "
        "stat_loggers kv_canary kv_canary_real_data kv_canary_sweep_interval debug_tensor_dump_output_folder "
        "debug_tensor_dump_layers debug_tensor_dump_input_file forward_hooks msprobe_dump_config spec_trace_dir "
        "enable_layerwise_nvtx_marker enable_profile_cuda_graph debug_cuda_graph enable_torch_compile_debug_mode "
        "expert_distribution_recorder_mode expert_distribution_recorder_buffer_size expert_balancedness_report_mode",
    ),
    **_of(
        _HTTP,
        "host port fastapi_root_path enable_http_worker_reuseport smg_grpc_mode grpc_mode grpc_port "
        "grpc_response_timeout_secs grpc_worker_threads sidecar sidecar_args skip_server_warmup warmups enable_http2 "
        "http2_max_concurrent_streams http2_initial_connection_window_size ssl_keyfile ssl_certfile ssl_ca_certs "
        "ssl_keyfile_password enable_ssl_refresh api_key admin_api_key served_model_name enable_response_store "
        "log_level_http uvicorn_access_log_exclude_prefixes smg_http_sidecar_port file_storage_path tool_server "
        "stream_response_default_include_usage asr_max_buffer_seconds asr_max_concurrent_sessions",
    ),
    **_of(
        _TEXT,
        "tokenizer_path tokenizer_mode tokenizer_backend tokenizer_worker_num detokenizer_worker_num "
        "skip_tokenizer_init chat_template trust_request_chat_template hf_chat_template_name completion_template "
        "reasoning_parser default_chat_template_kwargs strip_thinking_cache enable_strict_thinking tool_call_parser "
        "enable_dynamic_batch_tokenizer dynamic_batch_tokenizer_batch_size dynamic_batch_tokenizer_batch_timeout "
        "enable_tokenizer_batch_encode disable_tokenizer_batch_decode skip_special_tokens "
        "spaces_between_special_tokens no_stop_trim",
    ),
    **_of(
        "concerns answers of a given form, for which no request asks",
        "grammar_backend disable_outlines_disk_cache constrained_json_whitespace_pattern "
        "constrained_json_disable_any_whitespace constrained_json_max_whitespace_cnt json_schema regex ebnf "
        "structural_tag",
    ),
    **_of(_ENDS, "stop stop_regex"),
    "stop_token_ids": "is set from the model's end tokens; tokens are counted by it",
    "allow_auto_truncate": "changes the prompt after its tokens were counted",
    "incremental_streaming_output": "is how tokens reach the timer",
    "max_queued_requests": "turns requests away",
    **_of(
        "concerns priorities and sessions, which no request has",
        "enable_priority_scheduling disable_priority_preemption default_priority_value abort_on_priority_when_disabled "
        "schedule_low_priority_values_first priority_scheduling_preemption_threshold enable_streaming_session "
        "enable_session_radix_cache",
    ),
    **_of(
        "goes with adapters, which this engine is not given here",
        "enable_lora_overlap_loading max_loaded_loras max_loras_per_batch lora_eviction_policy lora_backend "
        "max_lora_chunk_size experts_shared_outer_loras lora_use_virtual_experts lora_strict_loading "
        "lora_drain_wait_threshold uno_lora_path",
    ),
    **_of(
        "is worked out by SGLang itself",
        "_radix_eviction_policy_explicitly_set _swa_full_tokens_ratio_explicitly_set "
        "_speculative_draft_quantization_explicitly_set uses_mamba_radix_cache enable_cp_tp_group_sharing "
        "speculative_boundary_reduction",
    ),
    **_of("needs storage or a program beside the engine", "hicache_storage_backend enable_lmcache enable_flexkv "
          "enable_unified_cache_external_linker radix_cache_backend enable_mm_global_cache"),
}  # fmt: skip

_KERNEL = "chooses between kernels of a few models or devices; passthrough_kwargs hands it on"
_DETAIL = "is a detail of something that has a field; passthrough_kwargs hands it on"
_LOADING = "decides how weights are read, which is outside the measured window; passthrough_kwargs hands it on"
_PICTURES = "concerns images and sound, of which no request has any; passthrough_kwargs hands it on"
_PARALLEL = "shares the work of the same GPUs in another way; passthrough_kwargs hands it on"
_PATIENCE = "decides how long something is waited for, or how often it is told; passthrough_kwargs hands it on"

HANDED_ON: dict[str, str] = {
    **_of(
        _KERNEL,
        "enable_lean_attention enable_nvidia_megakernel enable_amd_monokernel prefill_kv_cache_dequant_dtype "
        "dsa_prefill_backend dsv4_prefill_backend dsa_triton_union dsa_decode_backend dsv4_attn_backend "
        "dsa_paged_mqa_logits_backend dsa_topk_backend triton_attention_reduce_in_fp32 "
        "triton_attention_split_tile_size flashinfer_mla_disable_ragged enable_fused_qk_norm_rope "
        "enable_precise_embedding_interpolation enable_deepseek_v4_fp4_indexer enable_dsa_fused_indexer "
        "linear_attn_decode_backend linear_attn_prefill_backend linear_attn_verify_backend enable_linear_replayssm "
        "linear_replayssm_cache_len enable_linear_replayssm_spec enable_mscclpp enable_scattered_sconv "
        "boundary_reduction enable_quant_communications enforce_disable_flashinfer_allreduce_fusion "
        "flashinfer_allreduce_fusion_backend enable_aiter_allreduce_fusion disable_aiter_allreduce_fusion_in_prefill "
        "disable_aiter_allreduce_fusion_in_decode enable_fused_moe_sum_all_reduce enable_w4a4_mxfp4_megamoe "
        "deepep_v2_mode flashinfer_mxfp4_moe_precision fuseep_mode deepep_dispatcher_output_dtype "
        "flashinfer_a2a_dispatch_type disable_flashinfer_cutlass_moe_fp4_allgather enforce_shared_experts_fusion "
        "flashinfer_autotune_skip_ops qsa_indexer_dtype speculative_dsa_topk_backend speculative_moe_runner_backend "
        "speculative_moe_a2a_backend speculative_enable_w4a4_mxfp4_megamoe enable_encoder_swa_bounded_replay "
        "enable_decoder_swa_bounded_replay c128_page_size",
    ),
    **_of(
        _DETAIL,
        "mamba_max_states_per_path enable_mamba_cache_stochastic_rounding mamba_cache_philox_rounds "
        "mamba_radix_cache_strategy mamba_track_interval enable_int8_mamba_checkpoint int8_mamba_ckpt_size "
        "cuda_graph_max_seq_len_prefill cuda_graph_prefill_max_context enable_cudagraph_gc ep_dispatch_algorithm "
        "init_expert_location eplb_algorithm eplb_rebalance_num_iterations eplb_rebalance_layers_per_chunk "
        "eplb_min_rebalancing_utilization_threshold deepep_config enable_waterfill enable_paged_experts "
        "paged_experts_num_resident kt_method kt_cpuinfer kt_threadpool_count kt_num_gpu_experts "
        "kt_max_deferred_experts_per_token tbo_token_distribution_threshold offload_group_size offload_num_in_group "
        "offload_prefetch_step offload_mode ple_offload_embedding ple_offload_backend ple_offload_dir "
        "radix_eviction_policy_config enable_page_major_kv_layout enable_unified_memory hicache_host_memory_mode "
        "hicache_host_memory_fraction hicache_io_backend hicache_mem_layout hicache_storage_prefetch_policy "
        "hicache_storage_backend_extra_config hicache_storage_prefetch_retry_poll_interval "
        "hicache_storage_prefetch_retry_max_attempts unified_cache_external_linker_backend "
        "unified_cache_external_linker_config enable_linker_mla_dedup enable_hisparse hisparse_config "
        "lmcache_config_file flexkv_config_file quantization_param_path modelopt_quant prefill_decode_interval "
        "prefill_decode_interval_min_bs enable_dynamic_chunking retraction_policy swa_prefix_tails "
        "disable_chunked_prefix_cache scheduler_recv_interval enable_prefill_delayer prefill_delayer_max_delay_passes "
        "prefill_delayer_token_usage_low_watermark prefill_delayer_forward_passes_buckets "
        "prefill_delayer_wait_seconds_buckets prefill_delayer_queue_min_ratio prefill_delayer_max_delay_ms "
        "min_free_slots_delay batch_notify_size speculative_dflash_block_size speculative_domino_candidate_pool_size "
        "speculative_dspark_block_size speculative_dspark_sps_table_path speculative_dspark_confidence_sts_path "
        "speculative_dspark_align_verify_tokens_to_graph_tier speculative_use_rejection_sampling "
        "speculative_use_block_verification speculative_token_map speculative_attention_mode "
        "speculative_draft_kv_cache_dtype speculative_draft_window_size speculative_draft_sink_size "
        "enable_multi_layer_eagle speculative_adaptive speculative_adaptive_config speculative_draft_load_format "
        "speculative_ngram_min_bfs_breadth speculative_ngram_capacity speculative_ngram_external_corpus_path "
        "speculative_ngram_external_sam_budget speculative_ngram_external_corpus_max_tokens enable_pdmux "
        "pdmux_config_path sm_group_num numa_node gc_threshold pre_warm_nccl",
    ),
    **_of(
        _LOADING,
        "model_loader_extra_config startup_weight_load_mode weight_loader_disable_mmap "
        "weight_loader_prefetch_checkpoints weight_loader_prefetch_num_threads weight_loader_drop_cache_after_load "
        "model_checksum",
    ),
    **_of(
        _PICTURES,
        "language_model_only enable_multimodal mm_attention_backend enable_broadcast_mm_inputs_process "
        "enable_prefix_mm_cache mm_enable_dp_encoder mm_process_config mm_processor_worker_num mm_io_worker_num "
        "allowed_media_domains media_url_max_file_size_mb mm_preprocess_cache_size_mb trust_mm_content_hashes "
        "limit_mm_data_per_request image_processor_backend mm_global_cache_backend disable_fast_image_processor "
        "mm_feature_transport",
    ),
    **_of(
        _PARALLEL,
        "dcp_size attn_cp_size moe_dp_size dwdp_size dcp_comm_backend dcp_replicate_q_proj enable_prefill_cp "
        "cp_strategy enable_cp_decode_attn_tp enable_dp_attention_local_control_broadcast "
        "enable_tp_lm_head_all_to_all enable_attn_tp_input_scattered enable_shared_experts_attn_tp "
        "shared_experts_tp_size enable_dense_mlp_attn_tp enable_layernorm_sp enable_megamoe_for_layernorm_sp "
        "disable_attn_tp_gather enable_p2p_check",
    ),
    **_of(_PATIENCE, "watchdog_timeout nccl_port dist_timeout log_level gc_warning_threshold_secs decode_log_interval"),
}

LEFT_OUT: dict[str, str] = {**REFUSED, **HANDED_ON}
