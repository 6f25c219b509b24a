"""When enough runs of a configuration have been made.

What is decided of a run depends on runs with lower repeats alone, so that whoever asks later gets the same answer.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.results.statistics import LEAST_RUNS, summary
from llenergymeasure.results.study.alike import kinds_of, unlike
from llenergymeasure.results.study.rows import RunValue

# The value of the metric in a finished run; None where it has none, or is not finished. Of a ``RunValue`` it is known
# which others it has a mean with; plain numbers have one with each other.
ValueOf = Callable[[Slot], float | None]
_Kinds = dict[str, frozenset[str]]


def half_width_pct(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of [n] runs in percent of their mean, to its wider side; None where there is none."""
    found = summary(values)
    if found.low is None or found.high is None:
        return None
    return 100 * (math.sqrt(found.high / found.low) - 1)


@dataclass(frozen=True)
class StopRule:
    """Says which runs of a plan are needed."""

    plan: StudyPlan
    value_of: ValueOf
    _of: dict[int, "_Repeats"] = field(default_factory=dict)
    _in_block: dict[int, list[Slot]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the runs of each configuration, where the rule asks for them."""
        stop = self.plan.execution.stop
        if stop is None:
            return
        least = max(self.plan.execution.cycles or 1, LEAST_RUNS)
        slots: dict[int, list[Slot]] = {}
        for slot in self.plan.slots:
            if not slot.sentinel:
                slots.setdefault(slot.configuration, []).append(slot)
                self._in_block.setdefault(slot.block, []).append(slot)
        for configuration, of in slots.items():
            found = _Found(sorted(of, key=lambda slot: slot.repeat), self.value_of, stop.metric)
            self._of[configuration] = _Repeats(found, least, stop.target_pct)

    def is_needed(self, slot: Slot) -> bool:
        """Whether a run is to be made: the interval of those with lower repeats is too wide, and always was.

        The cycles are run in any case, and no more of a metric that no run has a value of. Of runs that have no mean
        together the most that have one count. A value without a logarithm leaves the width unknown, so all are run. A
        sentinel is needed as long as anything of its block is, and once after all of them.
        """
        if not self._of or slot.closes:
            return True
        if slot.sentinel:
            return any(self.is_needed(other) for other in self._in_block[slot.block])
        return self._of[slot.configuration].is_needed(slot.repeat)


class _Found:
    """The values of a configuration by repeat, each looked for seldom: looking goes through folders.

    ``values`` are those that there are, ``group_of`` says which of them have a mean together.
    """

    def __init__(self, slots: Sequence[Slot], value_of: ValueOf, metric: str) -> None:
        self._slots, self._value_of, self._metric = slots, value_of, metric
        self.values: dict[int, float] = {}
        self.group_of: dict[int, int] = {}
        self._kinds: list[_Kinds] = []
        self._n_seen = 0
        # Repeats without a value when they were looked for, the longest ago first.
        self._missing: dict[int, None] = {}
        self._asked: list[int] = []

    def asked_for(self, repeat: int) -> None:
        """Take note that a run may be made now, so that it is worth another look."""
        if repeat in self._missing:
            del self._missing[repeat]
            self._asked.append(repeat)

    def look(self, below: int) -> list[int]:
        """Look for values of repeats below one; the repeats that have one since the last look.

        Of those that were missing before one is looked for, and another where it is there: so a question costs a look
        or two, however many are missing, and none is forgotten.
        """
        found = []
        for _ in range(len(self._missing)):
            repeat = next(iter(self._missing))
            del self._missing[repeat]
            if repeat >= below:
                self._missing[repeat] = None
                continue
            if not self._is_there(repeat):
                break
            found.append(repeat)
        new = [*(repeat for repeat in self._asked if repeat < below), *range(self._n_seen, below)]
        self._asked = [repeat for repeat in self._asked if repeat >= below]
        self._n_seen = max(self._n_seen, below)
        return found + [repeat for repeat in new if self._is_there(repeat)]

    def is_any_missing(self, below: int) -> bool:
        """Whether a repeat below one may still get a value."""
        return self._n_seen < below or any(repeat < below for repeat in chain(self._asked, self._missing))

    def _is_there(self, repeat: int) -> bool:
        value = self._value_of(self._slots[repeat])
        if value is None:
            self._missing[repeat] = None
            return False
        self.values[repeat], self.group_of[repeat] = float(value), self._group(value)
        return True

    def _group(self, value: float) -> int:
        kinds: _Kinds = {"known of it": frozenset({"a number"})}
        if isinstance(value, RunValue):
            kinds = kinds_of(self._metric, value.run) | {"known of it": frozenset({"its run"})}
        for number, known in enumerate(self._kinds):
            if unlike([known, kinds]) is None:
                self._kinds[number] = known | kinds
                return number
        self._kinds.append(kinds)
        return len(self._kinds) - 1


class _Repeats:
    """Which repeats of one configuration are needed: all below the first one for which the others are enough."""

    def __init__(self, found: _Found, least: int, target_pct: float) -> None:
        self._found, self._least, self._target_pct = found, least, target_pct
        self._first_not_needed: int | None = None
        self._tried = least

    def is_needed(self, repeat: int) -> bool:
        self._found.asked_for(repeat)
        if repeat < self._least:
            return True
        end = self._first_not_needed
        is_new = self._look(repeat if end is None else min(repeat, end))
        if is_new and end is not None:
            self._first_not_needed = None
            self._look(repeat)
        while self._first_not_needed is None and self._tried <= repeat:
            if self._is_enough(self._tried):
                self._first_not_needed = self._tried
            else:
                self._tried += 1
        return self._first_not_needed is None or repeat < self._first_not_needed

    def _look(self, below: int) -> bool:
        """Whether there is a value that was not there before; what was decided without it is to be decided again."""
        new = self._found.look(below) if self._found.is_any_missing(below) else []
        if new:
            self._tried = min(self._tried, max(min(new) + 1, self._least))
        return bool(new)

    def _is_enough(self, n: int) -> bool:
        """Whether the runs with repeats below [n] are, of whom those below [n - 1] are not."""
        if n > self._least and n - 1 not in self._found.values:
            return False
        values = {repeat: value for repeat, value in self._found.values.items() if repeat < n}
        if not all(math.isfinite(value) and value > 0 for value in values.values()):
            return False
        if not values:
            return True
        ((most, _),) = Counter(self._found.group_of[repeat] for repeat in sorted(values)).most_common(1)
        half_pct = half_width_pct([value for repeat, value in values.items() if self._found.group_of[repeat] == most])
        return half_pct is not None and half_pct <= self._target_pct
