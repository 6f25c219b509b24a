"""A checkpoint that TensorRT-LLM has loaded: generating, counting, telling."""

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledModel
from llenergymeasure.core.backends.streamed import StreamedRun
from llenergymeasure.core.backends.tensorrt.configuration import engine_version, resolved
from llenergymeasure.core.backends.tensorrt.core import Core
from llenergymeasure.core.backends.tensorrt.parameters import engine_arguments, n_gpus, sampling_arguments, section_of
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.inference import ModelDescription, Request, RequestOutput
from llenergymeasure.domain.load import Load

# Of ``TorchLlmArgs``, where nothing is said.
_MAX_BATCH_SIZE = 2048
# Beside config.json, from NVIDIA's quantiser.
_QUANTISED_BY = "hf_quant_config.json"


class TensorRTModel(ScheduledModel):
    """Implements ``LoadedModel`` over TensorRT-LLM's ``LLM``."""

    no_prompt_cache = "tensorrt.enable_block_reuse: false"
    dummy_weights = "tensorrt.load_format: dummy"
    _salts = itertools.count()

    def __init__(self, origin: Origin, imported: Callable[[], Any]) -> None:
        """Load.

        Raises:
            BackendError: TensorRT-LLM cannot load it.
        """
        super().__init__(origin)
        self._section = section_of(origin.config)
        self._core = Core(
            imported,
            lambda library: engine_arguments(origin.config, str(origin.opened), library),
            lambda request: sampling_arguments(origin.config, request, self._random_seed, origin.settings),
        )
        self._devices = tuple(visible_gpus().uuids[: n_gpus(origin.config)])
        self.forget_prompts()

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve requests as the load says; TensorRT-LLM's scheduler has those that have begun.

        Raises:
            ExperimentError: a worker has died.
        """
        StreamedRun(self._core, self._counts, self.unanswerable).serve(requests, load, on_done)

    def capacity(self) -> int:
        """The most requests of a step."""
        return int(self._core.arguments.max_batch_size or _MAX_BATCH_SIZE)

    def forget_prompts(self) -> None:
        """Have no prompt found among those of before: the cache cannot be emptied, but what it holds can be salted."""
        if self._section.enable_block_reuse:
            self._core.salt = f"llem-{next(self._salts)}"

    def quantization(self) -> str | None:
        """As TensorRT-LLM or the checkpoint says."""
        told = getattr(getattr(self._core.arguments, "quant_config", None), "quant_algo", None)
        stored = getattr(self._origin.description, "quantization_config", None)
        if told is None and isinstance(stored, dict):
            told = stored.get("quant_algo") or stored.get("quant_method")
        told = told or self._of_the_quantiser()
        return None if told is None else str(getattr(told, "value", told))

    def drafts(self) -> bool:
        """Whether decoding is speculative."""
        return self._section.decoding_type is not None

    def weights(self) -> str | None:
        """How the weights were drawn: by TensorRT-LLM, whatever the seed is; None where they were read."""
        return "random, drawn by TensorRT-LLM" if self.is_random else None

    def describe(self) -> ModelDescription:
        """Version, devices and settings as TensorRT-LLM took them."""
        return ModelDescription(
            engine="tensorrt",
            engine_version=engine_version(),
            devices=self._devices,
            n_parameters=self.n_parameters(),
            parameters={**resolved(self._core.arguments), **self.described()},
            weights=self.weights(),
            dense_from=None if self.is_random else self.dense_from(),
            quantization=self.quantization(),
        )

    def release(self) -> None:
        """End TensorRT-LLM; the model is of no use after this."""
        self._core.close()

    def _of_the_quantiser(self) -> str | None:
        try:
            told = json.loads((self._origin.folder / _QUANTISED_BY).read_text("utf-8"))
            method = told["quantization"]["quant_algo"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None if method is None else str(method)
