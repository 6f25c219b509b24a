"""Parameters of ``from_pretrained`` and ``generate`` that are no field of ours, each with the reason.

``UNSAFE`` ones would make the counts wrong or take something out of our hands, so ``passthrough_kwargs``
refuses them; the others it hands on.
"""

_LOADING = "decides how weights are fetched or read, which is outside the measured window"
_TENSORS = "is an object of Python, which a file cannot hold"
_NESTED = "has settings of its own; passthrough_kwargs hands them on"
_TOKENS = "belongs to one vocabulary and changes neither speed nor length; passthrough_kwargs hands it on"
_GONE = "transformers 5 no longer acts on it"
_ENCODER = "concerns encoder-decoder models, which this engine does not load"

UNSAFE: dict[str, str] = {
    "num_return_sequences": "one request has one answer here; repeat the prompt in the dataset instead",
    "stop_strings": "ends a row without an end token, so that its own length could not be told from padding",
    "max_time": "would make the number of tokens depend on the machine",
    "token_healing": "changes the prompt after its tokens were counted",
    "continuous_batching_config": "belongs to another way of running than generate's",
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

HANDED_ON: dict[str, str] = {
    "cache_dir": _LOADING,
    "force_download": _LOADING,
    "local_files_only": _LOADING,
    "token": _LOADING,
    "proxies": _LOADING,
    "weights_only": _LOADING,
    "disable_mmap": _LOADING,
    "key_mapping": _LOADING,
    "code_revision": "matters only with trust_remote_code; passthrough_kwargs hands it on",
    "ignore_mismatched_sizes": "is for training on another head",
    "adapter_kwargs": "goes with adapters found in the model's own folder; ours are `lora`",
    "adapter_name": "goes with adapters found in the model's own folder; ours are `lora`",
    "kernel_config": _NESTED,
    "fusion_config": _NESTED,
    "allow_all_kernels": "lets unverified code run; passthrough_kwargs hands it on",
    "watermarking_config": _NESTED,
    "sequence_bias": _TOKENS,
    "forced_bos_token_id": _TOKENS,
    "encoder_no_repeat_ngram_size": _ENCODER,
    "decoder_start_token_id": _ENCODER,
}

LEFT_OUT: dict[str, str] = {**UNSAFE, **HANDED_ON}
