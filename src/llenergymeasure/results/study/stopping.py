"""When enough runs of a configuration have been made.

What is decided of a run depends on runs with lower repeats alone, so that whoever asks later gets the same answer.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llenergymeasure.domain.study_plan import Slot, StudyPlan
from llenergymeasure.results.statistics import LEAST_RUNS, summary

# The value of the metric in a finished run; None where it has none, or is not finished.
ValueOf = Callable[[Slot], float | None]


def half_width_pct(values: list[float]) -> float | None:
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
    _known: dict[int, float] = field(default_factory=dict)
    _of: Mapping[int, list[Slot]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Find the runs of each configuration, where the rule asks for them."""
        if self.plan.execution.stop is not None:
            for slot in self.plan.slots:
                self._of[slot.configuration].append(slot)

    def is_needed(self, slot: Slot) -> bool:
        """Whether a run is to be made: the interval of those with lower repeats is too wide.

        The cycles are run in any case, and no more of a metric that no run has a value of.
        """
        stop = self.plan.execution.stop
        if stop is None or slot.repeat < max(self.plan.execution.cycles or 1, LEAST_RUNS):
            return True
        values = [value for each in self._of[slot.configuration] if each.repeat < slot.repeat
                  if (value := self._value(each)) is not None]  # fmt: skip
        if not values:
            return False
        half_pct = half_width_pct(values)
        return half_pct is None or half_pct > stop.target_pct

    def _value(self, slot: Slot) -> float | None:
        if slot.slot not in self._known:
            value = self.value_of(slot)
            if value is None or not (math.isfinite(value) and value > 0):
                return None
            self._known[slot.slot] = value
        return self._known[slot.slot]
