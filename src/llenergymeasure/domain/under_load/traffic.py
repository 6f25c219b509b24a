"""Requests of a window under load: which came in it, which ended in it, and how many were there at any moment."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.under_load.load_result import FlightResult

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Traffic:
    """The requests that were there in a window from ``start_s`` to ``end_s``, on the clock of the requests.

    A request comes when it is due, or else when it is sent, and is there until it ends. ``unsent_due_s`` are when
    others were due that had not begun by the end. What happens just at the start is before the window, as everywhere.
    """

    requests: Sequence[RequestOutput]
    start_s: float
    end_s: float
    unsent_due_s: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s

    def holds(self, moment_s: float | None) -> bool:
        """Whether a moment lies in the window."""
        return moment_s is not None and self.start_s < moment_s <= self.end_s

    @property
    def ended(self) -> list[RequestOutput]:
        """Those that ended in the window, well or badly; of one that failed and tells no end, when it was sent."""
        return [r for r in self.requests if r.finish_reason != "cancelled" and self.holds(_ended_s(r))]

    @property
    def n_arrived(self) -> int:
        """Requests that came in the window."""
        return sum(map(self.holds, self._came_s()))

    def _came_s(self) -> Iterator[float]:
        yield from (r.start_s for r in self.requests if r.start_s is not None)
        yield from self.unsent_due_s

    @cached_property
    def _spans(self) -> tuple[_Numbers, _Numbers]:
        """When each came and when it was gone; never, where it had not ended."""
        known = [(r.start_s, _gone_s(r)) for r in self.requests if r.start_s is not None]
        known += [(due_s, math.inf) for due_s in self.unsent_due_s]
        came = np.array([came_s for came_s, _ in known], dtype=float)
        return came, np.array([gone_s for _, gone_s in known], dtype=float)

    def n_at(self, moment_s: float) -> int:
        """Requests that had come by then and not ended."""
        came, gone = self._spans
        return int(np.sum((came <= moment_s) & (gone > moment_s)))

    def mean_between(self, from_s: float, to_s: float) -> float:
        """Mean number of requests that were there from one moment to another."""
        came, gone = self._spans
        shared = np.minimum(gone, to_s) - np.maximum(came, from_s)
        return float(np.sum(np.maximum(shared, 0.0))) / (to_s - from_s)

    def most(self) -> int:
        """The most that were there at the same time in the window; who goes at the moment another comes is gone."""
        came, gone = self._spans
        inside = np.sort(came[(came > self.start_s) & (came <= self.end_s)])
        left = np.sort(gone[(gone > self.start_s) & (gone <= self.end_s)])
        n_there = self.n_at(self.start_s) + np.arange(1, inside.size + 1) - np.searchsorted(left, inside, "right")
        return max(self.n_at(self.start_s), int(n_there.max(initial=0)))

    def in_flight(self) -> FlightResult:
        """Mean, most, and at both edges."""
        return FlightResult(
            n_mean=self.mean_between(self.start_s, self.end_s),
            n_max=self.most(),
            n_at_start=self.n_at(self.start_s),
            n_at_end=self.n_at(self.end_s),
        )


def _ended_s(request: RequestOutput) -> float | None:
    return request.sent_s if request.end_s is None and request.finish_reason == "error" else request.end_s


def _gone_s(request: RequestOutput) -> float:
    ended_s = _ended_s(request)
    return math.inf if ended_s is None else ended_s
