"""What a worker may still begin, where its time is limited or it was asked to take no more."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from llenergymeasure.domain.in_figures import duration
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.orchestration.studies.until import Until
from llenergymeasure.results.study.events import events_of

# What a run may take more than the longest one of its kind: a tenth, and what writing and reading takes.
_MORE, _MARGIN_S = 1.1, 5.0


@dataclass
class RunTimes:
    """How long runs of each configuration took: the longest, and what those had taken that were cut off."""

    longest_s: dict[int, float] = field(default_factory=dict)
    cut_s: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: StudyPlan, events: Path) -> "RunTimes":
        """Those of a study, from what its workers have left word of."""
        times = cls()
        for file in sorted(events.glob("*.jsonl")):
            times.add_events(plan, events_of(file))
        return times

    def add_events(self, plan: StudyPlan, events: Iterable[Mapping[str, Any]]) -> None:
        """Those of one worker."""
        began: tuple[int, datetime] | None = None
        for event in events:
            try:
                at, kind, number = datetime.fromisoformat(event["time"]), event.get("event"), event.get("slot")
            except (KeyError, TypeError, ValueError):
                continue
            if kind == "start" and isinstance(number, int) and 0 <= number < len(plan.slots):
                began = number, at
            elif began is not None and (kind == "interrupted" or number == began[0]):
                kept = {"finished": self.longest_s, "interrupted": self.cut_s}.get(str(kind))
                if kept is not None:
                    _raise_to(kept, plan.slots[began[0]].configuration, (at - began[1]).total_seconds())
                began = None

    def took(self, configuration: int, seconds: float) -> None:
        """One more that finished."""
        _raise_to(self.longest_s, configuration, seconds)

    def next_s(self, configuration: int) -> float | None:
        """How long the next one may take; of a configuration that was never run as long as any; None: nobody knows.

        One that was cut off takes longer than it had, so that it is not cut off in the same way again.
        """
        found = [times[configuration] for times in (self.longest_s, self.cut_s) if configuration in times]
        if not found:
            found = list(self.longest_s.values())
        return _MORE * max(found) + _MARGIN_S if found else None


def _raise_to(times: dict[int, float], configuration: int, seconds: float) -> None:
    times[configuration] = max(seconds, times.get(configuration, 0.0))


@dataclass
class TimeLeft(Until):
    """Begins what can end in time, and nothing once it was asked to take no more.

    Args:
        times: how long runs take.
        limit_s: how long all of it may take, from now on; None for as long as it takes.
        asked_by: who asked to take no more; None where nobody did.
        clock: monotonic seconds.
    """

    times: RunTimes
    limit_s: float | None = None
    asked_by: Callable[[], str | None] = lambda: None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Time runs from now on."""
        self._began_s = self.clock()

    def no_time_for(self, slot: Slot) -> str | None:
        """Because it was asked to take no more, or because such runs take longer than there is time."""
        asked = self.asked_by()
        if asked is not None:
            return f"asked to take no more runs ({asked})"
        if self.limit_s is None:
            return None
        left_s = self._began_s + self.limit_s - self.clock()
        next_s = self.times.next_s(slot.configuration)
        if left_s > (next_s or 0.0):
            return None
        if next_s is None:
            return "the time limit is over"
        takes = f"a run of this configuration takes up to {duration(next_s)}"
        if next_s > self.limit_s:
            return f"{takes}, and the time limit is {duration(self.limit_s)} in all: give it more time"
        return f"{takes}, and {duration(max(left_s, 0.0))} are left of the time limit"

    def as_options(self) -> list[str]:
        """What is left of the time limit."""
        if self.limit_s is None:
            return []
        return ["--time-limit", f"{max(1, int(self._began_s + self.limit_s - self.clock()))}s"]

    def took(self, slot: Slot, seconds: float) -> None:
        """Know it for the next one."""
        self.times.took(slot.configuration, seconds)
