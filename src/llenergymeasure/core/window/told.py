"""What an engine tells of its requests, looked at before it counts: an engine from elsewhere may tell anything."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from numbers import Integral, Real

from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.exceptions import ExperimentError, in_one_line

# What reading one clock in two ways may differ by.
_SAME_TIME_S = 1e-6
_COUNTS = ("input_tokens", "output_tokens")


class Told:
    """Takes what is told of [n] requests while they run, and says afterwards whether it can be counted.

    While they run only what costs nothing is done: an engine waits for it.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        cancelled: Callable[[], bool],
        clock: Callable[[], float] | None = None,
        n_answers: int | None = None,
        *,
        all_are_to_come: bool = True,
    ) -> None:
        """Ready for what is told.

        Args:
            requests: what was asked for; where not all are to come, each stands at the place of its index.
            cancelled: whether somebody has asked to end the run.
            clock: that of the engine's times, in seconds; None where they are of no matter.
            n_answers: answers that each request is to have; None where nobody knows.
            all_are_to_come: whether every request is; else those that are not told of did not begin.
        """
        self._n_answers = n_answers
        self.outputs: list[RequestOutput] = []
        self._places = {request.index: place for place, request in enumerate(requests)} if all_are_to_come else None
        self._requests, self._told = requests, set[int]()
        self._cancelled, self._clock = cancelled, clock
        self._began_s = clock() if clock is not None else 0.0
        self._problem: str | None = None

    def take(self, output: RequestOutput) -> RequestOutput:
        """Note one that has ended; what an engine leaves open of its end is added.

        Raises:
            ExperimentError: it was not asked for, or told before.
        """
        if self._problem is None:
            self._problem = self._why_not(output)
        if self._problem is not None:
            # An engine that calls from a thread of its own may lose it: check() says it again.
            raise ExperimentError(self._problem)
        try:
            completed: RequestOutput | None = self._completed(output)
        except Exception as error:  # noqa: BLE001 - what is of no kind that it should be fails in many ways
            completed = self._failed_row(output, f"it cannot be read ({in_one_line(error)})")
        if completed is None:
            self._problem = f"request {output.index} cannot be read"
            raise ExperimentError(self._problem)
        self._told.add(output.index)
        self.outputs.append(completed)
        return completed

    def note(self, output: RequestOutput) -> None:
        """As ``take``, giving nothing."""
        self.take(output)

    def check(self) -> None:
        """Whether all was told, and can be true; to be called when the run is over.

        Raises:
            ExperimentError: what is wrong with the first of them.
        """
        ended_s = math.inf if self._clock is None else self._clock()
        problem = self._problem or next(
            (f"request {o.index}: {wrong}" for o in self.outputs for wrong in self._wrong_with(o, ended_s)), None
        )
        left = set[int]() if self._places is None else self._places.keys() - self._told
        if problem is None and left and not self._cancelled():
            problem = f"{len(left)} of {len(self._requests)} requests were never told of; the first is {min(left)}"
        if problem is not None:
            raise ExperimentError(f"what the engine told cannot be counted: {problem}")

    def _why_not(self, output: object) -> str | None:
        if not isinstance(output, RequestOutput):
            return f"it gave {type(output).__name__} {output!r:.80} where a RequestOutput belongs"
        if output.index in self._told:
            return f"request {output.index} was told twice"
        return None if self._place(output.index) is not None else f"request {output.index} was not asked for"

    def _place(self, index: object) -> int | None:
        """Where the request of an index stands; None where there is none."""
        if self._places is not None:
            return self._places.get(index)  # type: ignore[call-overload, no-any-return]
        if not isinstance(index, Integral) or isinstance(index, bool):
            return None
        return int(index) if 0 <= int(index) < len(self._requests) else None

    def _completed(self, output: RequestOutput) -> RequestOutput:
        """With what an engine left open of its end, and whole numbers as Python's own."""
        output = _of_python(output)
        if output.finish_reason == "cancelled" and not self._cancelled():
            output = replace(
                output, finish_reason="error", error=output.error or "cancelled, and nobody had asked for it"
            )
        if output.finish_reason == "error" and not output.error:
            output = replace(output, error="the engine gives no reason")
        now_s = None if self._clock is None else self._clock()
        if output.end_s is None and output.finish_reason != "cancelled":
            output = replace(output, end_s=now_s)
        return self._whole(output, now_s) if output.finish_reason in ("error", "cancelled") else output

    def _whole(self, failed: RequestOutput, now_s: float | None) -> RequestOutput:
        """A request that failed is a row, whatever its engine tells of it: what cannot be is left out, and said."""
        wrong = next(self._wrong_with(failed, math.inf if now_s is None else now_s), None)
        return failed if wrong is None else self._failed_row(failed, wrong) or failed

    def _failed_row(self, failed: RequestOutput, wrong: str) -> RequestOutput | None:
        """The row of a request that failed, without what its engine tells; None of one that did not fail."""
        if failed.finish_reason not in ("error", "cancelled"):
            return None
        now_s = None if self._clock is None else self._clock()
        was_cancelled = failed.finish_reason == "cancelled" and self._cancelled()
        return RequestOutput(
            index=failed.index,
            input_tokens=0,
            output_tokens=0,
            finish_reason="cancelled" if was_cancelled else "error",
            output_digest="",
            sent_s=failed.sent_s if _is_time(failed.sent_s, now_s) else None,
            end_s=None if was_cancelled else now_s,
            error=None if was_cancelled else f"{failed.error} (what it told is left out: {wrong})",
        )

    def _wrong_with(self, output: RequestOutput, ended_s: float) -> Iterator[str]:
        for name in _COUNTS:
            n_tokens = getattr(output, name)
            if not isinstance(n_tokens, int) or isinstance(n_tokens, bool) or n_tokens < 0:
                yield f"{name} is {n_tokens!r}"
                return
        if output.finish_reason not in ("stop", "length", "error", "cancelled"):
            yield f"finish_reason is {output.finish_reason!r}"
        if output.error is not None and output.succeeded:
            yield f"it has an error ({output.error}) and ended by itself ({output.finish_reason})"
        if not isinstance(output.output_digest, str):
            yield f"output_digest is {output.output_digest!r}"
        if not all(isinstance(token_id, Integral) for ids in output.output_ids for token_id in ids):
            yield "output_ids holds what is no token id"
        if output.output_ids and sum(map(len, output.output_ids)) != output.output_tokens:
            yield f"output_tokens is {output.output_tokens}, and output_ids has {sum(map(len, output.output_ids))}"
        if not isinstance(output.input_digest, str | None) or not isinstance(output.error, str | None):
            yield "input_digest or error is no text"
        limit = self._requests[self._place(output.index) or 0].max_output_tokens
        if not output.output_ids and self._n_answers is not None and output.output_tokens > limit * self._n_answers:
            yield f"it has {output.output_tokens} tokens, and {limit} were asked for"
        if output.output_ids and max(output.answer_lengths) > limit:
            yield f"an answer has {max(output.answer_lengths)} tokens, and {limit} were asked for"
        apart = output.output_ids or self._n_answers in (None, 1)
        if apart and len(output.token_times_s) not in (0, max(output.answer_lengths)):
            yield f"there are {len(output.token_times_s)} token_times_s for {max(output.answer_lengths)} tokens"
        if self._clock is not None:
            yield from self._wrong_times(output, ended_s)

    def _wrong_times(self, output: RequestOutput, ended_s: float) -> Iterator[str]:
        if not 0 <= (output.cached_tokens or 0) <= output.input_tokens:
            yield f"cached_tokens is {output.cached_tokens} of {output.input_tokens}"
        if output.token_times_s and output.chunk_times_s:
            yield "it has token_times_s and chunk_times_s, which are of answers whose tokens nobody tells apart"
        seen = output.token_times_s or output.chunk_times_s
        known = [output.sent_s, output.first_token_s, *seen, output.end_s]
        times_s = [time_s for time_s in known if time_s is not None]
        if not all(isinstance(time_s, Real) and math.isfinite(time_s) for time_s in times_s):
            yield "a time of it is no number"
        elif any(later < earlier - _SAME_TIME_S for earlier, later in pairwise(times_s)):
            yield f"its times run backwards: {', '.join(f'{time_s:.6f}' for time_s in times_s[:6])} s"
        elif output.due_s is not None and not self._began_s - _SAME_TIME_S <= output.due_s <= ended_s:
            yield f"it was due at {output.due_s:.3f} s, and the run began at {self._began_s:.3f} s"
        elif output.due_s is not None and output.sent_s is not None and output.due_s > output.sent_s + _SAME_TIME_S:
            yield f"it was sent at {output.sent_s:.6f} s, before it was due at {output.due_s:.6f} s"
        elif times_s and not self._began_s - _SAME_TIME_S <= times_s[0] <= times_s[-1] <= ended_s + _SAME_TIME_S:
            yield (
                f"it went from {times_s[0]:.3f} to {times_s[-1]:.3f} s, and the run from {self._began_s:.3f} to "
                f"{ended_s:.3f} s; times are of time.monotonic"
            )


def _of_python(output: RequestOutput) -> RequestOutput:
    """With numbers and rows of other libraries, such as numpy, as Python's own; what is none is found out later."""
    times_s, ids = output.token_times_s, output.output_ids
    chunks_s = output.chunk_times_s
    if type(times_s) is not tuple:
        times_s = tuple(map(float, times_s))
    if type(chunks_s) is not tuple:
        chunks_s = tuple(map(float, chunks_s))
    if type(ids) is not tuple or any(type(row) is not tuple for row in ids):
        ids = tuple(tuple(_python_int(token_id) for token_id in row) for row in ids)
    return replace(
        output,
        input_tokens=_python_int(output.input_tokens),
        output_tokens=_python_int(output.output_tokens),
        token_times_s=times_s,
        chunk_times_s=chunks_s,
        output_ids=ids,
        error=str(output.error) if isinstance(output.error, BaseException) else output.error,
    )


def _python_int(number: int) -> int:
    return int(number) if isinstance(number, Integral) and not isinstance(number, bool) else number


def _is_time(time_s: object, now_s: float | None) -> bool:
    return isinstance(time_s, int | float) and math.isfinite(time_s) and (now_s is None or time_s <= now_s)
