"""What a load of an experiment is in full: requests, their times, and when the window may begin and has to end."""

import bisect
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from llenergymeasure.config.load import LoadConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.load.arrival_times import Ends, drawn_times_s, ends_of
from llenergymeasure.core.load.requests import Repeated
from llenergymeasure.core.load.traces import read_trace
from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.load import Load, LoadKind
from llenergymeasure.exceptions import ConfigError

# Requests of a load that ends by time and not by their number: more than any engine serves in a day.
_WITHOUT_END = 10_000_000
# Of an engine that does not say how many it works on, all at once are over when so much of them is left.
_LAST_SHARE = 0.1
# How many requests warm up an engine at a time where the load does not say.
_WARM_UP_AT_A_TIME = 8

_ARRIVES_AS: Mapping[str, LoadKind] = {
    "concurrency": "concurrency", "rate": "due_times", "trace": "due_times", "max": "all_at_once",
}  # fmt: skip


def arrives_as(kind: str) -> LoadKind:
    """How an engine is given the requests of a kind of load."""
    return _ARRIVES_AS[kind]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Requests and how they come.

    ``n_at_work`` is how many the engine works on at a time; None where it does not say.
    """

    config: LoadConfig
    ends: Ends
    requests: Sequence[Request]
    load: Load
    n_at_work: int | None = None

    @classmethod
    def of(cls, config: ExperimentConfig, prompts: Sequence[Request], n_at_work: int | None = None) -> "Traffic":
        """The traffic of an experiment that has a load.

        Args:
            config: the experiment.
            prompts: [m] one request for each prompt; more than these take them in turns.
            n_at_work: how many requests the engine works on at a time; None where it does not say.

        Raises:
            ConfigError: no request arrives before the arrivals end, or the trace cannot be read.
        """
        assert config.load is not None
        given, ends = config.load, ends_of(config.load)
        if given.concurrency is not None:
            load, n = Load.at_most(given.concurrency), ends.n or _WITHOUT_END
        elif given.max:
            load, n = Load.all_at_once(), ends.n or len(prompts)
        else:
            times_s = _times_s(config, ends)
            load, n = Load.at_due_times(times_s), len(times_s)
        return cls(config=given, ends=ends, requests=Repeated(prompts, n), load=load, n_at_work=n_at_work)

    def rate_per_s(self) -> float | None:
        """Arrivals per second that were asked for, on average; None where answers decide."""
        due_s = self.load.due_s
        if self.config.rate is not None or not due_s:
            return self.config.rate
        if self.ends.most_s is not None:
            return len(due_s) / self.ends.most_s
        return (len(due_s) - 1) / due_s[-1] if due_s[-1] > 0 else None

    def oldest_s(self, elapsed_s: float, place: int) -> float:
        """How long the request at a place has been due; 0 where it has no time of its own, or is not due."""
        due_s = self.load.due_s
        return max(elapsed_s - due_s[place], 0.0) if place < len(due_s) else 0.0

    def missing(self, told: Set[int], n_arrived: int, *, closed: bool) -> list[int]:
        """Places of requests that must have begun, and that an engine has not told of.

        Args:
            told: places that it told of.
            n_arrived: how many had arrived when arrivals ended.
            closed: whether time ended them; else all were to come.
        """
        if self.load.kind == "concurrency" and closed:
            n_begun = max(told, default=-1) + 1
        else:
            n_begun = n_arrived if closed else len(self.requests)
        return [place for place in range(n_begun) if place not in told]

    def expected_s(self, unit_s: float) -> float:
        """About how long it takes, where a unit of warm-up takes ``unit_s``; where time ends it, at the most."""
        if self.ends.most_s is not None:
            return self.ends.most_s + unit_s
        if self.load.due_s:
            return self.load.due_s[-1] + unit_s
        at_a_time = self.load.n_at_once or self.n_at_work or _WARM_UP_AT_A_TIME
        return math.ceil(len(self.requests) / at_a_time) * unit_s

    def for_warm_up(self) -> Load:
        """The load under which an engine is warmed up."""
        return Load.at_most(self.config.concurrency or min(self.n_at_work or _WARM_UP_AT_A_TIME, _WARM_UP_AT_A_TIME))

    def n_arrived(self, elapsed_s: float, n_ended: int) -> int:
        """Requests that have arrived, so long after the beginning, when so many have ended."""
        if self.load.kind == "concurrency":
            return min(len(self.requests), n_ended + (self.load.n_at_once or 0))
        if self.load.kind == "all_at_once":
            return len(self.requests)
        return bisect.bisect_right(self.load.due_s, elapsed_s)

    def first_have_ended(self, n_ended: int) -> bool:
        """Whether all that began together have ended, so that the load has gone round once."""
        if self.load.kind == "concurrency":
            return n_ended >= (self.load.n_at_once or 0)
        if self.load.kind == "all_at_once":
            return n_ended >= self._at_most_at_work()
        return True

    def arrivals_are_over(self, elapsed_s: float, n_ended: int) -> bool:
        """Whether no more requests arrive; of all at once, whether fewer are left than the engine works on."""
        if self.load.kind == "all_at_once":
            return len(self.requests) - n_ended < self._at_most_at_work()
        is_late = self.ends.most_s is not None and elapsed_s >= self.ends.most_s
        return is_late or self.n_arrived(elapsed_s, n_ended) >= len(self.requests)

    def half_is_over(self, elapsed_s: float, n_ended: int) -> bool:
        """Whether the window has to begin now if there is to be one."""
        if self.ends.most_s is not None and elapsed_s >= self.ends.most_s / 2:
            return True
        if self.load.kind == "all_at_once":
            return n_ended >= len(self.requests) / 2
        return self.n_arrived(elapsed_s, n_ended) >= len(self.requests) / 2

    def _at_most_at_work(self) -> int:
        n_requests = len(self.requests)
        at_work = max(1, int(n_requests * _LAST_SHARE)) if self.n_at_work is None else self.n_at_work
        return min(at_work, max(1, n_requests // 2))


def _times_s(config: ExperimentConfig, ends: Ends) -> tuple[float, ...]:
    assert config.load is not None
    load = config.load
    if load.trace is None:
        times_s = drawn_times_s(load, ends, config.random_seed)
    else:
        times_s = tuple(arrival.time_s for arrival in read_trace(load.trace, load.trace_speed, ends.n, ends.most_s))
    if len(times_s) < 2:  # noqa: PLR2004 - one request is no load
        raise ConfigError(
            f"load: {len(times_s)} requests arrive within {ends.most_s or 0:g} s; raise duration_s or rate, or give n"
        )
    return times_s
