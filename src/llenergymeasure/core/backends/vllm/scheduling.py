"""Requests on their way through vLLM's scheduler, each step's tokens stamped when they are there."""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from llenergymeasure.core.backends.outputs import failed
from llenergymeasure.core.backends.vllm.core import Core, RefusedError
from llenergymeasure.domain.inference import FinishReason, Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError

# How soon a run that waits sees that it was cancelled.
_PATIENCE_S = 0.05


@dataclass
class Counts:
    """What was seen since the last seed."""

    n_requests: int = 0
    n_cached: int = 0


@dataclass
class _Open:
    """A request that vLLM has; its answers by their place."""

    request: Request
    sent_s: float
    due_s: float | None
    ids: dict[int, list[int]] = field(default_factory=dict)
    times_s: dict[int, list[float]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    n_cached: int = 0

    def take(self, output: Any, now_s: float) -> None:
        """Note what a step gave to this request."""
        self.n_cached = max(self.n_cached, output.num_cached_tokens or 0)
        for answer in output.outputs:
            new = list(answer.token_ids)
            self.ids.setdefault(answer.index, []).extend(new)
            self.times_s.setdefault(answer.index, []).extend([now_s] * len(new))
            if answer.finish_reason is not None:
                self.reasons[answer.index] = str(answer.finish_reason)

    def told(self, finish_reason: FinishReason, end_s: float) -> RequestOutput:
        """All of it. Of several answers a token is there when the last of them has as many."""
        answers = tuple(tuple(self.ids[place]) for place in sorted(self.ids)) or ((),)
        times_s = tuple(
            max(time_s for time_s in step if time_s is not None)
            for step in zip_longest(*(self.times_s[place] for place in sorted(self.times_s)))
        )
        return RequestOutput(
            index=self.request.index,
            input_tokens=len(self.request.token_ids),
            output_tokens=sum(map(len, answers)),
            finish_reason=finish_reason,
            output_digest=tokens_digest(*answers),
            input_digest=tokens_digest(self.request.token_ids),
            due_s=self.due_s,
            sent_s=self.sent_s,
            first_token_s=times_s[0] if times_s else None,
            token_times_s=times_s,
            end_s=times_s[-1] if times_s and finish_reason != "cancelled" else end_s,
            output_ids=answers,
        )


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
        self._opened: dict[str, _Open] = {}
        # Names of an earlier run may still be on their way out.
        self._number = next(self._numbers)

    def serve(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve [n] requests; those in flight when the load is cancelled are told as that.

        Raises:
            ExperimentError: the engine has died.
        """
        self._on_done = on_done
        most, began_s = load.n_at_once or len(requests), time.monotonic()
        due_s: list[float | None] = [began_s + wait_s for wait_s in load.due_s] or [None] * len(requests)
        waiting = deque(zip(requests, due_s, strict=True))
        try:
            while (waiting or self._opened) and not load.cancelled():
                while waiting and len(self._opened) < most and _is_due(waiting[0][1]):
                    self._begin(*waiting.popleft())
                    if self._opened and self._core.has_answers():
                        break  # tokens that are there are stamped before more requests are begun
                if self._opened or waiting:
                    self._step(_wait_s(waiting, len(self._opened) < most))
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
        name, sent_s = f"{self._number}-{request.index}", time.monotonic()
        why = self._refusal(request)
        try:
            if why is None:
                self._core.add(name, request.token_ids, self._sampling(request))
        except RefusedError as error:
            why = f"vLLM does not take it: {error}"
        if why is not None:
            self._on_done(failed(request, why, sent_s=sent_s, due_s=due_s))
            return
        self._opened[name] = _Open(request=request, sent_s=sent_s, due_s=due_s)

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
            each.take(output, now_s)
            if output.finished:
                del self._opened[output.request_id]
                self._on_done(self._ended(each, now_s))

    def _ended(self, each: _Open, now_s: float) -> RequestOutput:
        request, reasons = each.request, set(each.reasons.values())
        if not reasons <= {"stop", "length"}:
            said = ", ".join(sorted(reasons - {"stop", "length"}))
            return failed(request, f"vLLM gave it up ({said})", sent_s=each.sent_s, due_s=each.due_s)
        short = [
            len(each.ids[place])
            for place, reason in each.reasons.items()
            if reason == "length" and len(each.ids[place]) < request.max_output_tokens
        ]
        if short:
            full = (
                f"there was no room for more after {short[0]} of {request.max_output_tokens} tokens; raise "
                "vllm.max_model_len"
            )
            return failed(request, full, sent_s=each.sent_s, due_s=each.due_s)
        self._counts.n_requests += 1
        self._counts.n_cached += each.n_cached
        return each.told("stop" if reasons == {"stop"} else "length", now_s)


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
        for output in core.step(_PATIENCE_S):
            if output.request_id == name and output.finished:
                rows = output.prompt_logprobs[1:]
                # Rounding can put a certain token above zero.
                return [min(float(row[t].logprob), 0.0) for row, t in zip(rows, token_ids[1:], strict=True)]


def _is_due(due_s: float | None) -> bool:
    return due_s is None or due_s <= time.monotonic()


def _wait_s(waiting: Sequence[tuple[Request, float | None]], has_room: bool) -> float:
    """How long to wait for a step: until the next request is due, where it can begin."""
    due_s = waiting[0][1] if waiting and has_room else None
    return _PATIENCE_S if due_s is None else min(max(due_s - time.monotonic(), 0.0), _PATIENCE_S)
