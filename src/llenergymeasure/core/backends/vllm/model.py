"""A checkpoint that vLLM has loaded: generating, counting, telling."""

from collections.abc import Callable, Sequence

from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledModel
from llenergymeasure.core.backends.vllm.configuration import engine_version, n_ranks, resolved
from llenergymeasure.core.backends.vllm.core import Core
from llenergymeasure.core.backends.vllm.parameters import sampling_arguments
from llenergymeasure.core.backends.vllm.scheduling import Run, scored
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.inference import ModelDescription, Request, RequestOutput
from llenergymeasure.domain.load import Load

# Of the prompt's own tokens, without drawing anything.
_SCORES = {"prompt_logprobs": 0, "max_tokens": 1, "temperature": 0.0, "detokenize": False}


class VLLMModel(ScheduledModel):
    """Implements ``LoadedModel`` over vLLM's engine."""

    no_prompt_cache = "vllm.enable_prefix_caching: false"
    dummy_weights = "vllm.load_format: dummy"

    def __init__(self, origin: Origin, core: Core) -> None:
        super().__init__(origin)
        self._core, self._config = core, core.config
        on_gpu = self._config.device_config.device_type == "cuda"
        self._devices = tuple(visible_gpus().uuids[: n_ranks(self._config)]) if on_gpu else ()
        # What vLLM holds of a GPU is set before anything runs, and no peak of the work.
        self._counts_peak = not on_gpu and core.started.count_peaks()

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve requests as the load says; vLLM's scheduler has those that have begun.

        Raises:
            ExperimentError: the engine has died.
        """
        Run(self._core, self._counts, self._sampling, self.unanswerable).serve(requests, load, on_done)

    def capacity(self) -> int:
        """The most requests of a step."""
        return int(self._config.scheduler_config.max_num_seqs)

    def forget_prompts(self) -> None:
        """Empty vLLM's cache of prompts."""
        if self._config.cache_config.enable_prefix_caching:
            self._core.forget_prefixes()

    def quantization(self) -> str | None:
        """As vLLM has resolved it."""
        method = self._config.model_config.quantization
        return str(method) if method else None

    def drafts(self) -> bool:
        """Whether decoding is speculative."""
        return self._config.speculative_config is not None

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By a request that asks for those of its prompt, before any setting of decoding."""
        return scored(self._core, token_ids, _SCORES)

    def peak_memory_mb(self) -> float | None:
        """On a CPU the largest resident sets of vLLM's processes and this one, added up; None on a GPU."""
        return self._core.started.peak_mb() if self._counts_peak else None

    def describe(self) -> ModelDescription:
        """Version, devices and settings as vLLM arrived at them."""
        return ModelDescription(
            engine="vllm",
            engine_version=engine_version(),
            devices=self._devices,
            n_parameters=self.n_parameters(),
            parameters={
                **resolved(self._config),
                "device": str(self._config.device_config.device_type),
                "engine_in_own_process": self._core.is_own_process,
                **self.described(),
            },
            weights=self.weights(),
            dense_from=None if self.is_random else self.dense_from(),
            quantization=self.quantization(),
            adapter=None if self._origin.adapter is None else self._origin.adapter.described(merged=False),
        )

    def release(self) -> None:
        """End vLLM; the model is of no use after this."""
        self._core.close()

    def _sampling(self, request: Request) -> dict[str, object]:
        return sampling_arguments(self._origin.config, request, self._random_seed, self._origin.settings)
