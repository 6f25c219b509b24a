"""The ONNX Runtime GenAI engine: what ``onnxruntime_genai`` and its model builder can be told.

Names as read in onnxruntime-genai 0.18.0: options of a search (``GeneratorParams.get_search_options``), of a session
(``genai_config.json``) and of the builder. Each option of a search is set by a shared field or stands in ``LEFT_OUT``.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from llenergymeasure.config.base import Integer
from llenergymeasure.config.engines.from_checkpoint import FromCheckpoint

_BEAMS = "belongs to beam search, which settles on its tokens only when it ends"
_PADDED = "looks at what a batch is padded with too"

LEFT_OUT: dict[str, str] = {
    "num_beams": _BEAMS,
    "length_penalty": _BEAMS,
    "early_stopping": _BEAMS,
    "diversity_penalty": _BEAMS,
    "num_return_sequences": "asks for several answers; repeat the prompt instead",
    "repetition_penalty": _PADDED,
    "no_repeat_ngram_size": _PADDED,
    "chunk_size": "reads prompts in parts, which batches of several lengths were not tried with",
    "past_present_share_buffer": "is set by the builder, as the model needs it",
}


class OnnxRuntimeConfig(FromCheckpoint):
    """Settings of the ONNX Runtime GenAI engine, on the CPU.

    The model is built for the CPU in fp32, or with quantised weights beside fp32 activations.
    """

    batch_size: Integer = Field(default=1, ge=1, le=32, description="Requests generated together in one batch.")
    quantization: Literal["int4", "int8"] | None = Field(
        default=None, description="Quantise weights when the model is built; null does not."
    )
    intra_op_num_threads: Integer | None = Field(
        default=None, ge=1, le=512, description="Threads inside of an operation; null is ONNX Runtime's choice."
    )
    inter_op_num_threads: Integer | None = Field(
        default=None, ge=1, le=512, description="Operations side by side; null is ONNX Runtime's choice."
    )

    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "quantization": {"model_path": "the folder holds what was built already; remove one of them"}
    }
    library_names: ClassVar[Mapping[str, str]] = {
        "max_length": "max_output_tokens",
        "min_length": "decoder.min_output_tokens",
        **dict.fromkeys(("eos_token_id", "pad_token_id"), "decoder.ignore_eos"),
    }
    refused_names: ClassVar[Mapping[str, str]] = LEFT_OUT
