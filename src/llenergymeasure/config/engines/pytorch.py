"""The PyTorch engine: what transformers' ``from_pretrained`` and ``generate`` can be told.

Long because it is a list: every parameter of the two that changes speed, energy or output is a
field, under its own name in transformers. Those left out stand in ``pytorch_left_out`` with the reason;
``tests/integration/pytorch/test_audit.py`` holds both against the installed transformers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from llenergymeasure.config.base import Flag, Integer, Number
from llenergymeasure.config.engines.pytorch_left_out import ANOTHER_MODEL, UNSAFE
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.names.paths import PathText

HubKernel = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+(@[\w./-]+)?(:\w+)?$")]
MemorySize = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")]
TokenIds = Annotated[list[Annotated[Integer, Field(ge=0)]], Field(min_length=1)]

_ONE_QUANTISATION = "a model is quantised one way; remove one of them"
_ONE_SPECULATION = "tokens are drafted one way; remove one of them"
_ASSISTED = {
    "batch_size": "transformers drafts tokens for one sequence at a time; set batch_size: 1 or remove the draft",
    "use_cache=false": "drafted tokens are checked against the cache; remove one of them",
    "cache_implementation=static|offloaded_static|quantized": (
        "a draft is taken back from the cache, which must be dynamic"
    ),
    "prefill_chunk_size": "with a draft the prompt is read whole; remove one of them",
}
_NOT_READ = "weights that are drawn are read from no files; remove one of them"
_PACKED_WHOLE = "transformers cannot use weights of bitsandbytes that a plan has split; use torchao, or remove one"
_DRAWN_DENSE = "weights are drawn in the number format of precision; remove one of them"
_DRAWN_DRAFT = "how much of a draft a model of random weights accepts means nothing; remove one of them"
_GROUP_WISE = {"cache_backend=fp8": "it has one scale per tensor and always 8 bits; remove one of them"}
_DRAFT_MODELS = ("assistant_model", "assistant_early_exit")
_DRAFTS = (*_DRAFT_MODELS, "prompt_lookup_num_tokens")
# quanto, which null stands for, and hqq pack values in these widths.
_CACHE_BITS = {"quanto": (2, 4), "hqq": (1, 2, 3, 4, 8)}


class PyTorchConfig(EngineSection):
    """Settings of the PyTorch engine (transformers)."""

    # What is loaded, and where it lies.
    batch_size: Integer = Field(default=1, ge=1, description="Requests generated together in one batch.")
    revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of a hub model; null is its main branch."
    )
    variant: str | None = Field(
        default=None, min_length=1, description="Weight files of this variant, such as 'fp16'; null is the plain ones."
    )
    subfolder: PathText | None = Field(
        default=None, min_length=1, description="Folder inside the repository or directory that holds the model."
    )
    use_safetensors: Flag | None = Field(
        default=None, description="Read only safetensors files (true) or only pickled ones (false)."
    )
    random_weights: Flag = Field(
        default=False,
        description="Draw the weights from random_seed instead of reading them: the model's config.json is enough, "
        "tokens are noise. *Not yet run on a GPU.*",
    )
    trust_remote_code: Flag = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
    device_map: str | dict[str, int | str] | None = Field(
        default=None,
        description="Placement of the layers as accelerate reads it ('auto', 'cpu', a mapping); null is the "
        "first CUDA device where there is one, else the CPU.",
    )
    max_memory: dict[str, MemorySize] | None = Field(
        default=None, description='Most memory per device for device_map, such as {"0": 20GiB, cpu: 60GiB}.'
    )
    offload_folder: Path | None = Field(default=None, description="Folder for layers that device_map puts on disk.")
    offload_buffers: Flag | None = Field(default=None, description="Offload buffers together with parameters.")
    data_parallel_size: Integer | None = Field(
        default=None,
        ge=1,
        description="Processes that share the prompts, each with the whole model on a GPU of its own, or all on the "
        "CPU; null is one. *Several GPUs: not yet run on hardware.*",
    )
    tp_plan: Literal["auto"] | None = Field(
        default=None,
        description="Split each layer over several processes by the model's own plan. *Several GPUs: not yet run on "
        "hardware.*",
    )
    tp_size: Integer | None = Field(
        default=None, ge=1, description="Processes of tp_plan, a GPU each; null is one for every visible GPU."
    )

    # Kernels and compilation.
    attn_implementation: (
        Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention"]
        | HubKernel
        | None
    ) = Field(default=None, description="Attention kernel, or one of the hub as 'owner/name'; null lets it choose.")
    experts_implementation: (
        Literal["eager", "batched_mm", "grouped_mm", "deepgemm", "deepgemm_megamoe", "sonicmoe"] | None
    ) = Field(default=None, description="Kernel for mixtures of experts; null lets transformers choose.")
    use_kernels: Flag | None = Field(default=None, description="Replace layers by kernels of the hub (needs kernels).")
    compile: Flag | None = Field(
        default=None,
        description="torch.compile the forward pass (true) or nothing (false); null compiles the decoding step where "
        "transformers does so by itself: with a static cache on a GPU.",
    )
    compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None = Field(
        default=None, description="Mode of torch.compile."
    )
    compile_backend: str | None = Field(
        default=None, min_length=1, description="Backend of torch.compile; null is inductor."
    )
    compile_fullgraph: Flag | None = Field(default=None, description="Fail where the graph would break.")
    compile_dynamic: Flag | None = Field(
        default=None, description="Compile for any shape (true) or for each (false); null lets torch find out."
    )
    float32_matmul_precision: Literal["highest", "high", "medium"] | None = Field(
        default=None, description="Precision inside fp32 matrix products ('high' allows TF32); null is torch's."
    )
    num_threads: Integer | None = Field(default=None, ge=1, description="CPU threads of torch; null is torch's choice.")

    # Quantisation. A checkpoint that is quantised already (GPTQ, AWQ, FP8, ...) needs none of these.
    load_in_8bit: Flag = Field(default=False, description="Quantise to 8 bits with bitsandbytes.")
    load_in_4bit: Flag = Field(default=False, description="Quantise to 4 bits with bitsandbytes.")
    bnb_4bit_quant_type: Literal["fp4", "nf4"] | None = Field(
        default=None, description="4-bit format; null is bitsandbytes' fp4."
    )
    bnb_4bit_compute_dtype: Literal["fp32", "fp16", "bf16"] | None = Field(
        default=None, description="Number format that 4-bit weights are multiplied in; null is fp32."
    )
    bnb_4bit_use_double_quant: Flag | None = Field(default=None, description="Quantise the 4-bit scales too.")
    llm_int8_threshold: Number | None = Field(
        default=None, ge=0, description="Activations above this are multiplied in 16 bits; null is 6.0."
    )
    llm_int8_skip_modules: list[str] | None = Field(
        default=None, description="Modules that bitsandbytes leaves as they are; null is the output head."
    )
    llm_int8_enable_fp32_cpu_offload: Flag | None = Field(
        default=None, description="Keep what device_map puts on the CPU in fp32 instead of refusing it."
    )
    torchao: (
        Literal[
            "int4_weight_only",
            "int8_weight_only",
            "int8_dynamic_activation_int8_weight",
            "int8_dynamic_activation_int4_weight",
            "float8_weight_only",
            "float8_dynamic_activation_float8_weight",
            "float8_dynamic_activation_int4_weight",
        ]
        | None
    ) = Field(default=None, description="Quantise with torchao; float8 needs a GPU that has it.")
    torchao_group_size: Integer | None = Field(
        default=None, ge=1, description="Weights that share a scale, for int4_weight_only; null is torchao's choice."
    )
    checkpoint_backend: str | None = Field(
        default=None,
        min_length=1,
        description="Kernels for a GPTQ or AWQ checkpoint, such as 'marlin'. *Not yet run on hardware.*",
    )
    checkpoint_dequantize: Flag | None = Field(
        default=None,
        description="Unpack an FP8, MXFP4 or compressed-tensors checkpoint on loading. *Not yet run on hardware.*",
    )

    # The key-value cache.
    use_cache: Flag | None = Field(default=None, description="Keep keys and values of earlier tokens; null does.")
    cache_implementation: Literal["dynamic", "static", "offloaded", "offloaded_static", "quantized"] | None = Field(
        default=None, description="Kind of key-value cache; null is the model's own, mostly dynamic."
    )
    max_cache_len: Integer | None = Field(
        default=None, ge=1, description="Tokens that a static cache is made for; null is what each batch needs."
    )
    cache_backend: Literal["quanto", "hqq", "fp8"] | None = Field(
        default=None, description="Library behind a quantized cache; null is quanto."
    )
    cache_nbits: Integer | None = Field(
        default=None,
        ge=1,
        le=8,
        examples=[2, 4],
        description="Bits per value of a quantized cache: 2 or 4 with quanto, 1, 2, 3, 4 or 8 with hqq; null is 4.",
    )
    cache_group_size: Integer | None = Field(
        default=None, ge=1, description="Values that share a scale in a quantized cache; null is 64."
    )
    cache_residual_length: Integer | None = Field(
        default=None, ge=1, description="Latest tokens that a quantized cache keeps whole; null is 128."
    )
    prefill_chunk_size: Integer | None = Field(
        default=None, ge=1, description="Prompt tokens read at once; null reads the prompt whole."
    )

    # Speculative decoding.
    assistant_model: PathText | None = Field(
        default=None,
        min_length=1,
        description="Draft model, named as `model` is; it must have the same tokenizer.",
    )
    assistant_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of assistant_model; null is its main branch."
    )
    prompt_lookup_num_tokens: Integer | None = Field(
        default=None, ge=1, description="Draft this many tokens by looking them up in the prompt."
    )
    max_matching_ngram_size: Integer | None = Field(
        default=None, ge=1, description="Longest run of tokens that is looked up; null is 2."
    )
    assistant_early_exit: Integer | None = Field(
        default=None, ge=1, description="Draft with the first so many layers, for models trained for it."
    )
    num_assistant_tokens: Integer | None = Field(
        default=None, ge=1, description="Tokens drafted at a time; null is the draft model's own, mostly 20."
    )
    num_assistant_tokens_schedule: Literal["constant", "heuristic", "heuristic_transient"] | None = Field(
        default=None, description="How the number of drafted tokens changes; null is constant."
    )
    assistant_confidence_threshold: Number | None = Field(
        default=None, ge=0, le=1, description="End a draft when its confidence falls below this; null is 0.4."
    )
    assistant_ensemble_weight: Number | None = Field(
        default=None, gt=0, lt=1, description="Accept tokens of this mixture with the draft model; null is lossless."
    )

    # Scores of tokens, beyond what `decoder` has.
    typical_p: Number | None = Field(default=None, gt=0, le=1, description="Locally typical sampling of this mass.")
    top_h: Number | None = Field(default=None, gt=0, le=1, description="Keep this share of the entropy.")
    epsilon_cutoff: Number | None = Field(default=None, ge=0, lt=1, description="Drop tokens less likely than this.")
    eta_cutoff: Number | None = Field(
        default=None, ge=0, lt=1, description="Drop tokens less likely than this allows at the entropy at hand."
    )
    encoder_repetition_penalty: Number | None = Field(
        default=None, gt=0, description="Favour tokens of the prompt by this factor."
    )
    guidance_scale: Number | None = Field(
        default=None, gt=0, description="Classifier-free guidance; above 1 it runs the model twice per token."
    )
    exponential_decay_length_penalty: tuple[Integer, Number] | None = Field(
        default=None, description="From this token on, raise the end token's score by this factor each step."
    )
    suppress_tokens: TokenIds | None = Field(default=None, description="Token ids that are never produced.")
    begin_suppress_tokens: TokenIds | None = Field(default=None, description="Token ids never produced first.")
    bad_words_ids: Annotated[list[TokenIds], Field(min_length=1)] | None = Field(
        default=None, description="Sequences of token ids that are never produced."
    )
    forced_eos_token_id: Annotated[Integer, Field(ge=0)] | None = Field(
        default=None, description="Token id that ends a request at max_output_tokens."
    )
    renormalize_logits: Flag | None = Field(default=None, description="Normalise scores after changing them.")
    remove_invalid_values: Flag | None = Field(default=None, description="Replace NaN and infinite scores; slower.")

    one_is_off: ClassVar[frozenset[str]] = frozenset({"batch_size", "data_parallel_size"})
    seeded: ClassVar[frozenset[str]] = frozenset({"random_weights"})
    alters_answers: ClassVar[tuple[str, ...]] = (
        "cache_implementation=quantized", "float32_matmul_precision=high|medium", "assistant_ensemble_weight",
        "encoder_repetition_penalty", "guidance_scale", "exponential_decay_length_penalty", "suppress_tokens",
        "begin_suppress_tokens", "bad_words_ids", "forced_eos_token_id",
    )  # fmt: skip
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "data_parallel_size": {"device_map": "each process has one GPU, or the CPU, to itself; remove one of them"},
        "random_weights": {"variant": _NOT_READ, "use_safetensors=true|false": _NOT_READ},
        "offload_folder": {"random_weights": "weights that are drawn are put on no disk; remove one of them"},
        "tp_plan": {
            "random_weights": "drawn weights are not split by a plan; remove it, or set device_map instead",
            "device_map": "the plan places the layers itself; remove one of them",
            "data_parallel_size": "processes share the prompts or the layers, not yet both; remove one of them",
        },
        "load_in_8bit": {"random_weights": _DRAWN_DENSE, "tp_plan": _PACKED_WHOLE},
        "load_in_4bit": {
            "random_weights": _DRAWN_DENSE,
            "tp_plan": _PACKED_WHOLE,
            "load_in_8bit": _ONE_QUANTISATION,
        },
        "torchao": {
            "random_weights": _DRAWN_DENSE,
            "load_in_8bit": _ONE_QUANTISATION,
            "load_in_4bit": _ONE_QUANTISATION,
        },
        "checkpoint_backend": {"random_weights": _DRAWN_DENSE},
        "checkpoint_dequantize": {"random_weights": _DRAWN_DENSE},
        "cache_implementation": {"use_cache=false": "there is no cache then; remove one of them"},
        "cache_nbits": _GROUP_WISE,
        "cache_group_size": _GROUP_WISE,
        "cache_residual_length": _GROUP_WISE,
        "prefill_chunk_size": {"use_cache=false": "the prompt is read into the cache; remove one of them"},
        "assistant_model": {**_ASSISTED, "random_weights": _DRAWN_DRAFT},
        "prompt_lookup_num_tokens": {
            **_ASSISTED,
            "random_weights": _DRAWN_DRAFT,
            "assistant_model": _ONE_SPECULATION,
        },
        "assistant_early_exit": {
            **_ASSISTED,
            "random_weights": _DRAWN_DRAFT,
            "assistant_model": _ONE_SPECULATION,
            "prompt_lookup_num_tokens": _ONE_SPECULATION,
        },
        "assistant_ensemble_weight": {
            "prompt_lookup_num_tokens": "looked-up tokens have no probabilities to mix; remove one of them"
        },
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "max_memory": ("device_map=auto|balanced|balanced_low_0|sequential",),
        "offload_folder": ("device_map",),
        "offload_buffers": ("device_map",),
        "tp_size": ("tp_plan",),
        "compile_mode": ("compile",),
        "compile_backend": ("compile",),
        "compile_fullgraph": ("compile",),
        "compile_dynamic": ("compile",),
        "bnb_4bit_quant_type": ("load_in_4bit",),
        "bnb_4bit_compute_dtype": ("load_in_4bit",),
        "bnb_4bit_use_double_quant": ("load_in_4bit",),
        "llm_int8_threshold": ("load_in_8bit",),
        "llm_int8_skip_modules": ("load_in_8bit", "load_in_4bit"),
        "llm_int8_enable_fp32_cpu_offload": ("load_in_8bit", "load_in_4bit"),
        "torchao_group_size": ("torchao=int4_weight_only",),
        "max_cache_len": ("cache_implementation=static|offloaded_static",),
        "cache_backend": ("cache_implementation=quantized",),
        "cache_nbits": ("cache_implementation=quantized",),
        "cache_group_size": ("cache_implementation=quantized",),
        "cache_residual_length": ("cache_implementation=quantized",),
        "assistant_revision": ("assistant_model",),
        "max_matching_ngram_size": ("prompt_lookup_num_tokens",),
        "num_assistant_tokens": _DRAFT_MODELS,
        "num_assistant_tokens_schedule": _DRAFT_MODELS,
        "assistant_confidence_threshold": _DRAFT_MODELS,
        "assistant_ensemble_weight": _DRAFT_MODELS,
    }
    decoder_conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        name: {
            "num_beams": "transformers drafts tokens without beams; set decoder.num_beams: 1 or remove the draft",
            "num_return_sequences": "transformers drafts tokens for one answer; set it to 1 or remove the draft",
        }
        for name in _DRAFTS
    }
    decoder_needs: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("typical_p", "top_h", "epsilon_cutoff", "eta_cutoff"), ("do_sample",)
    )
    library_names: ClassVar[Mapping[str, str]] = {
        "pretrained_model_name_or_path": "model",
        "gguf_file": "model",
        "dtype": "precision",
        "torch_dtype": "precision",
        "max_new_tokens": "max_output_tokens",
        "max_length": "max_output_tokens",
        "min_new_tokens": "decoder.min_output_tokens",
        "min_length": "decoder.min_output_tokens",
        "quantization_config": "pytorch.load_in_4bit, load_in_8bit, torchao or checkpoint_backend",
        "compile_config": "pytorch.compile_mode and its neighbours",
        "disable_compile": "pytorch.compile",
        "cache_config": "pytorch.cache_backend and its neighbours",
        "distributed_config": "pytorch.tp_plan",
        "seed": "random_seed",
    }
    refused_names: ClassVar[Mapping[str, str]] = {**UNSAFE, **ANOTHER_MODEL}

    @property
    def n_shares(self) -> int:
        """Processes that share the prompts."""
        return self.data_parallel_size or 1

    @field_validator("compile_backend")
    @classmethod
    def _backend_with_a_mode(cls, backend: str | None, info: ValidationInfo) -> str | None:
        mode = info.data.get("compile_mode")
        if backend not in (None, "inductor") and mode is not None:
            raise ValueError(
                f"compile_backend {backend} cannot go with compile_mode: {mode}, which only inductor has; "
                "remove one of them"
            )
        return backend

    @field_validator("cache_nbits")
    @classmethod
    def _bits_of_the_backend(cls, n_bits: int | None, info: ValidationInfo) -> int | None:
        backend = info.data.get("cache_backend") or "quanto"
        choices = _CACHE_BITS.get(backend)
        if n_bits is not None and choices is not None and n_bits not in choices:
            raise ValueError(
                f"cache_nbits {n_bits} cannot go with cache_backend: {backend}, which has "
                f"{', '.join(map(str, choices))}; change one of them"
            )
        return n_bits

    @field_validator("forced_eos_token_id")
    @classmethod
    def _forced_and_suppressed(cls, token: int | None, info: ValidationInfo) -> int | None:
        if token is not None and token in (info.data.get("suppress_tokens") or ()):
            raise ValueError(
                f"forced_eos_token_id {token} cannot go with suppress_tokens, which has it too; remove it from one"
            )
        return token
