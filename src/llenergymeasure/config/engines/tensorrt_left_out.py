"""Arguments of TensorRT-LLM 1.2.1 that are no field of ours, each with the reason.

``REFUSED`` ones would make the counts wrong or take something out of our hands, so ``passthrough_kwargs`` refuses them;
those of ``TorchLlmArgs`` that are ``HANDED_ON`` it hands on. A reason is what follows after "NAME may not be passed
through: it". What nested configurations have beside our fields stands in the test that holds all of it against the
recorded shape of the API.
"""

_TOKENIZER = "concerns a tokenizer, and TensorRT-LLM is given and gives token ids"
_NOT_SAMPLED = "is not looked at by the sampler on PyTorch of 1.2"
_ENDS = "is set from the model; tokens are counted by it"
_CUT = "ends answers early and cuts their text, but not their tokens"
_CODE = "runs other code in the measured loop"
_WORK = "does work of its own in the measured loop"
_SEVERAL = "needs several engines"
_BEAMS = "belongs to beam search, whose tokens change after they were told, so that none would have a time"
_RETURNS = "changes what is returned, and is no answer"
_INSTEAD = "would replace what is measured"
_ORCHESTRATOR = "has ranks started by another orchestrator than the one whose processes are watched"
_TEXT = "changes an answer's text, and there is none here"

# Of ``TorchLlmArgs`` and ``SamplingParams``.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("tokenizer", "custom_tokenizer", "skip_tokenizer_init", "tokenizer_mode"), _TOKENIZER),
    **dict.fromkeys(("tokenizer_revision", "postprocess_tokenizer_dir", "num_postprocess_workers"), _TOKENIZER),
    **dict.fromkeys(("backend", "checkpoint_loader", "checkpoint_format", "mpi_session", "_mpi_session"), _INSTEAD),
    **dict.fromkeys(("orchestrator_type", "ray_worker_extension_cls", "ray_placement_config"), _ORCHESTRATOR),
    **dict.fromkeys(("cache_transceiver_config", "kv_connector_config"), _SEVERAL),
    **dict.fromkeys(("batched_logits_processor", "logits_processor", "apply_batched_logits_processor"), _CODE),
    **dict.fromkeys(("guided_decoding_backend", "guided_decoding", "reasoning_parser"), _CODE),
    **dict.fromkeys(("enable_iter_perf_stats", "enable_iter_req_stats", "print_iter_log"), _WORK),
    **dict.fromkeys(("iter_stats_max_iterations", "request_stats_max_iterations", "max_stats_len"), _WORK),
    **dict.fromkeys(("enable_layerwise_nvtx_marker", "otlp_traces_endpoint", "perf_metrics_max_requests"), _WORK),
    "return_perf_metrics": "has requests timed by clocks of TensorRT-LLM's, and each token has a time of ours",
    "sampler_type": "is set here: the sampler in C++ does not tell an answer's end token, by which tokens are counted",
    **dict.fromkeys(("context_parallel_size", "cp_config"), "is a prototype: ranks that share a context"),
    "moe_cluster_parallel_size": "is a prototype: experts over several machines",
    "gpus_per_node": "is what the machine has, and ranks are here on one",
    "env_overrides": "changes variables after this package has told them; set them yourself",
    "mm_encoder_only": "asks for something else than generated text",
    "sparse_attention_config": "computes another attention than the model's own, whose work is counted",
    "decoding_config": "is the former name of what tensorrt.decoding_type and its neighbours set",
    "gather_generation_logits": _RETURNS,
    # Of a request.
    **dict.fromkeys(("end_id", "pad_id"), _ENDS),
    **dict.fromkeys(("stop", "stop_token_ids", "include_stop_str_in_output"), _CUT),
    **dict.fromkeys(("bad", "bad_token_ids", "embedding_bias"), "takes tokens away that other engines have"),
    "best_of": "discards answers whose tokens were paid for; set decoder.num_return_sequences instead",
    **dict.fromkeys(("max_beam_width", "use_beam_search", "beam_width_array", "beam_search_diversity_rate"), _BEAMS),
    **dict.fromkeys(("top_p_min", "top_p_reset_ids", "top_p_decay"), _NOT_SAMPLED),
    **dict.fromkeys(("presence_penalty", "frequency_penalty", "prompt_ignore_length"), _NOT_SAMPLED),
    "min_tokens": "counts the prompt's tokens too in the sampler on PyTorch of 1.2",
    **dict.fromkeys(("logprobs", "prompt_logprobs", "return_context_logits", "return_generation_logits"), _RETURNS),
    **dict.fromkeys(("return_encoder_output", "additional_model_outputs"), _RETURNS),
    "exclude_input_from_output": "would count the prompt as output",
    "lookahead_config": "belongs to the engine that is built before it runs",
    "detokenize": _TEXT,
    **dict.fromkeys(("skip_special_tokens", "spaces_between_special_tokens"), _TEXT),
    **dict.fromkeys(("truncate_prompt_tokens", "add_special_tokens"), "changes a prompt that was counted already"),
}

# Of ``TorchLlmArgs`` alone: nothing that is counted depends on them.
HANDED_ON: dict[str, str] = {
    "fail_fast_on_attention_window_too_large": "decides only when an error is told",
    "sampler_force_async_worker": "is for testing",
    "enable_sleep": "prepares for what nobody does here",
}
