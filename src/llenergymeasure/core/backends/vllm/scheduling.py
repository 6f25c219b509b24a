"""Requests on their way through vLLM's scheduler, each step's tokens stamped when they are there."""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from llenergymeasure.core.backends.arrivals import PATIENCE_S, Arrivals
from llenergymeasure.core.backends.in_flight import Counts, InFlight
from llenergymeasure.core.backends.vllm.core import Core, RefusedError
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError


class Run:
    """One ``run`` of the model: requests of a load, all of them in the scheduler unless the load says otherwise."""

    _numbers = itertools.count()

    def __init__(
        self,
        core: Core,
        counts: Counts,
        sampling: Callable[[Request], dict[str, Any]],
        refusal: Callable[[Request], str | None] = lambda _: None,
    ) -> None:
        """Serve requests.

        Args:
            core: vLLM.
            counts: what is seen is added to it.
            sampling: arguments of ``SamplingParams`` for a request.
            refusal: why a request is not given to vLLM at all; None where it is.
        """
        self._core, self._counts, self._sampling, self._refusal = core, counts, sampling, refusal
        self._on_done: Callable[[RequestOutput], None] = lambda _: None
        self._opened: dict[str, InFlight] = {}
        # Names of an earlier run may still be on their way out.
        self._number = next(self._numbers)

    def serve(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve [n] requests; those in flight when the load is cancelled are told as that.

        Raises:
            ExperimentError: the engine has died.
        """
        self._on_done = on_done
        waiting = Arrivals(requests, load)
        try:
            while (waiting or self._opened) and not load.cancelled():
                while (due := waiting.due(len(self._opened))) is not None:
                    self._begin(*due)
                    if self._opened and self._core.has_answers():
                        break  # tokens that are there are stamped before more requests are begun
                if self._opened or waiting:
                    self._step(waiting.wait_s(len(self._opened)))
        except BaseException:
            # Whoever uses the model again must not find these in it; a dead engine has none.
            with contextlib.suppress(Exception):
                self._core.abort(list(self._opened))
            raise
        now_s = time.monotonic()
        if self._opened:
            self._core.abort(list(self._opened))
        for each in self._opened.values():
            on_done(each.told("cancelled", now_s))

    def _begin(self, request: Request, due_s: float | None) -> None:
        name, begun = f"{self._number}-{request.index}", InFlight(request, time.monotonic(), due_s)
        why = self._refusal(request)
        try:
            if why is None:
                self._core.add(name, request.token_ids, self._sampling(request))
        except RefusedError as error:
            why = f"vLLM does not take it: {error}"
        if why is not None:
            self._on_done(begun.failed(why))
            return
        self._opened[name] = begun

    def _step(self, wait_s: float) -> None:
        if not self._opened:
            time.sleep(wait_s)
            return
        outputs = self._core.step(wait_s)
        now_s = time.monotonic()
        for output in outputs:
            each = self._opened.get(output.request_id)
            if each is None:
                continue
            each.n_cached = max(each.n_cached, output.num_cached_tokens or 0)
            for answer in output.outputs:
                why = answer.finish_reason
                each.take(answer.token_ids, now_s, place=answer.index, reason=None if why is None else str(why))
            if output.finished:
                del self._opened[output.request_id]
                self._on_done(each.ended(self._counts, "vLLM", "vllm.max_model_len"))


def scored(core: Core, token_ids: Sequence[int], sampling: dict[str, Any]) -> list[float]:
    """Natural logarithms of the probabilities of [n] tokens but the first, by one request that asks for them.

    Raises:
        ExperimentError: vLLM refuses it, or has died.
    """
    name = f"scored-{next(Run._numbers)}"
    try:
        core.add(name, token_ids, sampling)
    except RefusedError as error:
        raise ExperimentError(f"vLLM does not score {len(token_ids)} tokens: {error}") from error
    while True:
        for output in core.step(PATIENCE_S):
            if output.request_id == name and output.finished:
                rows = output.prompt_logprobs[1:]
                # Rounding can put a certain token above zero.
                return [min(float(row[t].logprob), 0.0) for row, t in zip(rows, token_ids[1:], strict=True)]
