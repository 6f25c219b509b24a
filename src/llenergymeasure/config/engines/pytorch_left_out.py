"""Parameters of ``from_pretrained`` and ``generate`` that are no field of ours, each with the reason.

``UNSAFE`` ones would make the counts wrong or take something out of our hands, so ``passthrough_kwargs``
refuses them, and so it does attributes of the model's configuration that make ``ANOTHER_MODEL`` of it; the
others it hands on. A reason is what follows after "NAME may not be passed through: it".
"""

_LOADING = "decides how weights are fetched or read, which is outside the measured window"
_TENSORS = "is an object of Python, which a file cannot hold"
_NESTED = "has settings of its own; passthrough_kwargs hands them on"
_TOKENS = "belongs to one vocabulary and changes neither speed nor length; passthrough_kwargs hands it on"
_GONE = "is no longer acted on by transformers 5"
_ENCODER = "concerns encoder-decoder models, which this engine does not load"

UNSAFE: dict[str, str] = {
    "stop_strings": "ends a row without an end token, so that its own length could not be told from padding",
    "max_time": "would make the number of tokens depend on the machine",
    "token_healing": "changes the prompt after its tokens were counted",
    "continuous_batching_config": "belongs to another way of running than generate's",
    "use_mtp": "has transformers read the drafting heads from disk again for every batch, inside the measured window",
    "ignore_mismatched_sizes": "would fill weights of another shape with random numbers",
    "token": "is found without being named: set the variable HF_TOKEN, or log in with 'hf auth login'",
    "kernel_config": _TENSORS,
    "is_assistant": "is set by transformers on the draft model",
    "speculation_type": "needs a draft model made for it, and a cache that rewinds",
    "assistant_lookbehind": "concerns draft models with another tokenizer, which are not offered",
    "target_lookbehind": "concerns draft models with another tokenizer, which are not offered",
    "return_dict_in_generate": "changes what generate returns",
    "output_attentions": "changes what generate returns, and keeps it all in memory",
    "output_hidden_states": "changes what generate returns, and keeps it all in memory",
    "output_scores": "changes what generate returns, and keeps it all in memory",
    "output_logits": "changes what generate returns, and keeps it all in memory",
    "output_loading_info": "changes what from_pretrained returns",
    "pad_token_id": "is set from the tokenizer; tokens are counted by it",
    "bos_token_id": "is set by the model",
    "eos_token_id": "is set by the model; tokens are counted by it",
    "inputs": "is what a request is made of",
    "input_ids": "is what a request is made of",
    "attention_mask": "is what a request is made of",
    "negative_prompt_ids": "is what a request is made of",
    "negative_prompt_attention_mask": "is what a request is made of",
    "generation_config": "is put together from the fields here",
    "stopping_criteria": "is where the steps are timed",
    "streamer": "would run in the measured loop",
    "config": "is read from the model",
    "state_dict": _TENSORS,
    "device_mesh": _TENSORS,
    "tqdm_class": _TENSORS,
    "logits_processor": _TENSORS,
    "prefix_allowed_tokens_fn": _TENSORS,
    "synced_gpus": "is set by transformers when ranks must step together",
    "custom_generate": "would replace the loop that is measured",
    "constraints": _GONE,
    "force_words_ids": _GONE,
    "penalty_alpha": _GONE,
    "dola_layers": _GONE,
    "diversity_penalty": _GONE,
    "num_beam_groups": _GONE,
    "low_memory": _GONE,
    "low_cpu_mem_usage": f"{_GONE}: loading always uses little memory",
    "mirror": _GONE,
    "offload_state_dict": _GONE,
    "from_tf": _GONE,
    "from_flax": _GONE,
}

_SHAPE = "is fixed by the weights, and would make another model of it"

ANOTHER_MODEL: dict[str, str] = {
    **dict.fromkeys(
        ("model_type", "architectures", "auto_map", "is_encoder_decoder"), "would make another model of it"
    ),
    **dict.fromkeys(("text_config", "transformers_weights", "extra_files"), "would make another model of it"),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "layer_types"), _SHAPE),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embedding_size"), _SHAPE),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "moe_intermediate_size"), _SHAPE),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "num_kv_heads", "n_head", "head_dim"), _SHAPE),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "n_shared_experts"), _SHAPE),
    **dict.fromkeys(("vocab_size", "n_positions", "tie_word_embeddings"), _SHAPE),
}

HANDED_ON: dict[str, str] = {
    "cache_dir": _LOADING,
    "force_download": _LOADING,
    "local_files_only": _LOADING,
    "proxies": _LOADING,
    "weights_only": _LOADING,
    "disable_mmap": _LOADING,
    "key_mapping": _LOADING,
    "code_revision": "matters only with trust_remote_code; passthrough_kwargs hands it on",
    "adapter_kwargs": "goes with adapters found in the model's own folder; ours are `lora`",
    "adapter_name": "goes with adapters found in the model's own folder; ours are `lora`",
    "fusion_config": _NESTED,
    "allow_all_kernels": "lets unverified code run; passthrough_kwargs hands it on",
    "watermarking_config": _NESTED,
    "sequence_bias": _TOKENS,
    "forced_bos_token_id": _TOKENS,
    "encoder_no_repeat_ngram_size": _ENCODER,
    "decoder_start_token_id": _ENCODER,
}

LEFT_OUT: dict[str, str] = {**UNSAFE, **HANDED_ON}
