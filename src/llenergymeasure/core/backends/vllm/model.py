"""A checkpoint that vLLM has loaded: generating, counting, telling."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.core.backends.from_checkpoint import CheckpointModel, Origin
from llenergymeasure.core.backends.vllm.configuration import engine_version, n_ranks, resolved
from llenergymeasure.core.backends.vllm.core import Core
from llenergymeasure.core.backends.vllm.parameters import sampling_arguments, section_of
from llenergymeasure.core.backends.vllm.scheduling import Counts, Run, scored
from llenergymeasure.core.flops import described_flops
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.warnings import MeasurementWarning

_FORMATS: dict[str, NumberFormat] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}
# Of the prompt's own tokens, without drawing anything.
_SCORES = {"prompt_logprobs": 0, "max_tokens": 1, "temperature": 0.0, "detokenize": False}
_RANDOM_WEIGHTS = MeasurementWarning(
    "random_weights",
    "the weights were drawn and not read (vllm.load_format: dummy), so tokens are noise: answers end by chance (set "
    "decoder.ignore_eos, or use dataset.random), experts are chosen at random, and a GPU's power depends on the values "
    "it multiplies",
    "say so wherever the figures are cited",
)


class VLLMModel(CheckpointModel):
    """Implements ``LoadedModel`` over vLLM's engine."""

    def __init__(self, origin: Origin, core: Core) -> None:
        super().__init__(origin)
        self._core, self._config = core, core.config
        self._section: VLLMConfig = section_of(origin.config)
        self._random_seed = origin.config.random_seed
        self._counts = Counts()
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

    def seed(self, random_seed: int) -> None:
        """Each request draws from a seed of its own, which follows from this; kept prompts are forgotten."""
        self._random_seed = random_seed
        self._counts = Counts()
        if self._config.cache_config.enable_prefix_caching:
            # Warm-up has read the same prompts.
            self._core.forget_prefixes()

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By a request that asks for those of its prompt, before any setting of decoding."""
        return scored(self._core, token_ids, _SCORES)

    def warnings(self) -> list[MeasurementWarning]:
        """Settings that were not followed, what was taken from the cache, and weights that are none."""
        found = super().warnings()
        if self._counts.n_cached:
            found.append(
                MeasurementWarning(
                    "prompt_cache_used",
                    f"{self._counts.n_cached} tokens of prompts were taken from the cache and not computed",
                    "set vllm.enable_prefix_caching: false to have every prompt read",
                )
            )
        return [*found, _RANDOM_WEIGHTS] if self._is_random else found

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token of the requests that ended, and what they took with a cache, by the checkpoint's shape."""
        sequences = [(r.input_tokens, n) for r in output.requests if r.succeeded for n in r.answer_lengths]
        result = described_flops(self._origin.description, sequences, self.number_format())
        left_out = self._left_out()
        if result is None or left_out is None:
            return result
        return replace(result, method=f"{result.method}; {left_out}", confidence="low", prefill=None, decode=None)

    def _left_out(self) -> str | None:
        if self._config.speculative_config is not None:
            return "drafted tokens not counted"
        return "tokens from the prompt cache counted as if they were computed" if self._counts.n_cached else None

    def number_format(self) -> NumberFormat | None:
        """That of the weights; None for quantised ones."""
        return None if self._config.model_config.quantization else _FORMATS.get(self._origin.config.precision)

    def peak_memory_mb(self) -> float | None:
        """On a CPU the largest resident sets of vLLM's processes and this one, added up; None on a GPU."""
        return self._core.started.peak_mb() if self._counts_peak else None

    def describe(self) -> ModelDescription:
        """Version, devices and settings as vLLM arrived at them."""
        settings, decoder = self._origin.settings, self._origin.config.decoder
        sampling = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
        quantization = self._config.model_config.quantization
        return ModelDescription(
            engine="vllm",
            engine_version=engine_version(),
            devices=self._devices,
            n_parameters=self.n_parameters(),
            parameters={
                **resolved(self._config),
                "device": str(self._config.device_config.device_type),
                "engine_in_own_process": self._core.is_own_process,
                "do_sample": decoder.do_sample,
                **(sampling if decoder.do_sample else dict.fromkeys(sampling)),
                "max_new_tokens": self._origin.config.max_output_tokens,
            },
            weights=f"random, seed {self._origin.config.random_seed}" if self._is_random else None,
            dense_from=None if self._is_random else self.dense_from(),
            quantization=str(quantization) if quantization else None,
        )

    def release(self) -> None:
        """End vLLM; the model is of no use after this."""
        self._core.close()

    @property
    def _is_random(self) -> bool:
        return self._section.load_format == "dummy"

    def _sampling(self, request: Request) -> dict[str, object]:
        return sampling_arguments(self._origin.config, request, self._random_seed, self._origin.settings)
