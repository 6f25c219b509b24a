"""Random pauses between batches, so that the rhythm of tokens and that of a sensor do not keep step.

A sensor that looks for a part of each of its periods sees the same part of every token where the two rhythms lock. With
a pause of random length after each batch it begins each at another place, so that its error is one of many draws.
"""

import random
from dataclasses import dataclass, field
from typing import Self

from llenergymeasure.core.instruments import Instruments
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning


@dataclass
class Dither:
    """Pauses that are drawn evenly from 0 up to ``longest_s``, the same ones for the same seed."""

    longest_s: float
    random_seed: int
    _draws: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the first draw."""
        self._draws = random.Random(self.random_seed)

    @classmethod
    def of(cls, plan: ExperimentPlan, load: Load, instruments: Instruments) -> Self | None:
        """The pauses of an experiment; None where none are asked for, or nothing is measured that they would better.

        Processes that share every batch have to pause alike, so all draw from the experiment's seed.
        """
        longest_s = plan.config.measurement.dither_s
        if longest_s is None or instruments.energy is None or not load.has_pauses:
            return None
        return cls(longest_s, plan.config.random_seed)

    def next_s(self) -> float:
        """The length of the next pause in seconds."""
        return self._draws.uniform(0.0, self.longest_s)


def dither_warnings(plan: ExperimentPlan, load: Load) -> list[MeasurementWarning]:
    """Whether pauses were asked for that a load has no room for."""
    if plan.config.measurement.dither_s is None or load.has_pauses:
        return []
    return [
        MeasurementWarning(
            "dither_left_out",
            "requests are always in flight under this load, so nothing paused",
            "use fixed batches, or leave measurement.dither_s out",
        )
    ]
