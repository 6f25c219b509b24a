"""The CTranslate2 engine: what ``ctranslate2.Generator`` and its ``generate_batch`` can be told.

Names as read in ctranslate2 4.8.5. Each of their parameters is a field, is set by a shared field, or stands in
``LEFT_OUT`` with the reason.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from llenergymeasure.config.base import Flag, Integer
from llenergymeasure.config.engines.from_checkpoint import FromCheckpoint

_REQUEST = "is what a request is made of"
_SHAPE = "changes what is returned, and is set here"
_BEAMS = "belongs to beam search, which calls nobody back, so that no token would have a time"
_OF_THE_DECODER = "looks at what was generated and not at the prompt, unlike other engines"

LEFT_OUT: dict[str, str] = {
    "files": "holds a model in memory, which a file of settings cannot",
    "max_queued_batches": "concerns batches that wait, and one is given at a time",
    "tensor_parallel": "needs processes that mpirun starts, which this engine does not",
    "start_tokens": _REQUEST,
    "static_prompt": "keeps the beginning of prompts, which are read whole here",
    "cache_static_prompt": "keeps the beginning of prompts, which are read whole here",
    "asynchronous": "lets others wait for the answer; batches run one after the other",
    "beam_size": _BEAMS,
    "patience": _BEAMS,
    "length_penalty": _BEAMS,
    "num_hypotheses": "asks for several answers; repeat the prompt instead",
    "return_alternatives": "asks for several answers; repeat the prompt instead",
    "min_alternative_expansion_prob": "asks for several answers; repeat the prompt instead",
    "repetition_penalty": _OF_THE_DECODER,
    "no_repeat_ngram_size": _OF_THE_DECODER,
    "disable_unk": "takes a token away that other engines have",
    "suppress_sequences": "takes tokens away that other engines have",
    "include_prompt_in_result": "would have prompts read token by token",
    "return_end_token": _SHAPE,
    "return_scores": _SHAPE,
    "return_logits_vocab": _SHAPE,
    "callback": "is how tokens are timed",
}


class CTranslate2Config(FromCheckpoint):
    """Settings of the CTranslate2 engine.

    The model is converted as it is stored, and CTranslate2 makes ``precision`` of it on loading. A number format that
    the device does not compute itself is refused.
    """

    compute_type: Literal["int8_float32", "int8_float16", "int8_bfloat16", "int16"] | None = Field(
        default=None,
        description="Quantise weights on loading; what follows int8_ is `precision` (int16 is of fp32). Null is not "
        "quantised.",
    )
    device: Literal["cpu", "cuda"] | None = Field(
        default=None, description="Null is a GPU where there is one. *GPUs: not yet run on hardware.*"
    )
    device_index: Integer | None = Field(default=None, ge=0, description="Which GPU; null is the first.")
    intra_threads: Integer | None = Field(
        default=None, ge=1, le=512, description="CPU threads of a batch; null is CTranslate2's choice."
    )
    inter_threads: Integer | None = Field(
        default=None, ge=1, le=512, description="Parts of a batch that CPUs work on side by side; null is 1."
    )
    max_batch_size: Integer | None = Field(
        default=None, ge=1, description="Sort a batch by length and split it into parts of this size; null does not."
    )
    batch_type: Literal["examples", "tokens"] | None = Field(
        default=None, description="What max_batch_size counts; null is examples."
    )
    flash_attention: Flag | None = Field(
        default=None, description="FlashAttention 2 on a GPU, where it was built in. *Not yet run on hardware.*"
    )

    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "device_index": {"device=cpu": "it is that of a GPU; remove one of them"},
        "flash_attention": {"device=cpu": "it is of GPUs; remove one of them"},
    }
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "inter_threads": ("max_batch_size",),
        "batch_type": ("max_batch_size",),
    }
    library_names: ClassVar[Mapping[str, str]] = {
        "quantization": "ctranslate2.compute_type",
        "max_length": "max_output_tokens",
        "min_length": "decoder.min_output_tokens",
        "sampling_topk": "decoder.top_k",
        "sampling_topp": "decoder.top_p",
        "sampling_temperature": "decoder.temperature",
        "end_token": "decoder.ignore_eos",
    }
    refused_names: ClassVar[Mapping[str, str]] = LEFT_OUT
