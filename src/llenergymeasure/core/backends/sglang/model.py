"""A checkpoint that SGLang has loaded: generating, counting, telling."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledModel
from llenergymeasure.core.backends.sglang.configuration import engine_version, resolved
from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.sglang.parameters import n_gpus, sampling_arguments
from llenergymeasure.core.backends.sglang.serving import Serving
from llenergymeasure.core.backends.streamed import StreamedRun
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.inference import ModelDescription, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError, first_line


class SGLangModel(ScheduledModel):
    """Implements ``LoadedModel`` over SGLang's engine."""

    no_prompt_cache = "sglang.disable_radix_cache: true"
    dummy_weights = "sglang.load_format: dummy"

    def __init__(self, origin: Origin, core: Core) -> None:
        super().__init__(origin)
        self._core, self._settings = core, core.settings
        self._devices = tuple(visible_gpus().uuids[: n_gpus(origin.config)])
        self._numbers = itertools.count()

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve requests as the load says; SGLang's scheduler has those that have begun.

        Raises:
            ExperimentError: the engine has died.
        """
        serving = Serving(core=self._core, sampling=self._sampling, ends=self._origin.settings.end_token_ids)
        StreamedRun(serving, self._counts, self.unanswerable).serve(requests, load, on_done)

    def capacity(self) -> int | None:
        """The most requests that all of its schedulers have at work at a time."""
        of_one = self._settings.get("effective_max_running_requests_per_dp")
        n_schedulers = (self._settings.get("dp_size") or 1) * (self._settings.get("attn_dp_size") or 1)
        return None if of_one is None else int(of_one) * int(n_schedulers)

    def forget_prompts(self) -> None:
        """Empty SGLang's cache of prompts."""
        if not self._settings.get("disable_radix_cache"):
            self._core.forget_prefixes()

    def quantization(self) -> str | None:
        """As SGLang has resolved it."""
        method = self._settings.get("quantization")
        return str(method) if method else None

    def drafts(self) -> bool:
        """Whether decoding is speculative."""
        return bool(self._settings.get("speculative_algorithm"))

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By a request that asks for those of its prompt, before any setting of decoding.

        Raises:
            ExperimentError: SGLang refuses it, tells of other tokens, or has died.
        """
        try:
            told = self._core.scored(f"scored-{next(self._numbers)}", token_ids)
        except ValueError as error:
            raise ExperimentError(f"SGLang does not score {len(token_ids)} tokens: {first_line(error)}") from error
        rows: list[Any] = told["meta_info"]["input_token_logprobs"]
        if [row[1] for row in rows] != list(token_ids):
            raise ExperimentError(f"SGLang scored {len(rows)} other tokens than the {len(token_ids)} that it was given")
        # Rounding can put a certain token above zero.
        return [min(float(row[0]), 0.0) for row in rows[1:]]

    def describe(self) -> ModelDescription:
        """Version, devices and settings as SGLang arrived at them."""
        return ModelDescription(
            engine="sglang",
            engine_version=engine_version(),
            devices=self._devices,
            n_parameters=self.n_parameters(),
            parameters={**resolved(self._settings), **self.described()},
            weights=self.weights(),
            dense_from=None if self.is_random else self.dense_from(),
            quantization=self.quantization(),
        )

    def release(self) -> None:
        """End SGLang; the model is of no use after this."""
        self._core.close()

    def _sampling(self, request: Request) -> dict[str, Any]:
        return sampling_arguments(self._origin.config, request, self._random_seed, self._origin.settings)
