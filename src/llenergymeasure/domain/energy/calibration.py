"""What was found of a card's own power readings and energy counter, under a load that is known."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from llenergymeasure.domain.metrics import FINITE

# What an energy counter adds up: all of the time, the readings of power that we take, or the card's own average.
CounterFeed = Literal["everything", "power", "average"]


@dataclass(frozen=True, kw_only=True)
class ReadingProperties:
    """What a reading of power is: new every ``update_s``, then the mean of ``window_s`` that ended ``lag_s`` earlier.

    ``field`` is the driver's name of it. ``unexplained`` is the share of the variance of ``n_readings`` that this
    leaves, 0 to 1.
    """

    field: str
    update_s: float
    window_s: float
    lag_s: float
    unexplained: float
    n_readings: int

    @property
    def is_possible(self) -> bool:
        """Whether there can be such a reading."""
        times_s = (self.update_s, self.window_s)
        return all(0 < each_s <= _LONGEST_S for each_s in times_s) and 0 <= self.lag_s <= _LONGEST_S

    @property
    def sees_all(self) -> bool:
        """Whether no time lies outside of all readings."""
        return self.window_s >= _WHOLE * self.update_s


# No card's readings are older, or further apart.
_LONGEST_S = 10.0
# What a window may come out shorter than it is, and still be one that leaves nothing out.
_WHOLE = 0.95


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found of one card, with one driver; None is what could not be told.

    ``timestamp`` is Unix time in seconds, ``load`` what made the card work. ``counter_tick_s`` is the distance of the
    counter's changes. ``counter_fed_by`` is the one of several explanations of its steps that holds;
    ``counter_unexplained`` is the share of their variance that each of them leaves.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    device: str
    name: str
    driver_version: str | None
    timestamp: float
    tool_version: str
    load: str
    duration_s: float
    power: ReadingProperties | None = None
    average: ReadingProperties | None = None
    counter_tick_s: float | None = None
    counter_fed_by: CounterFeed | None = None
    counter_unexplained: dict[CounterFeed, float] | None = None

    @property
    def is_possible(self) -> bool:
        """Whether there can be such a card."""
        readings = [reading for reading in (self.power, self.average) if reading is not None]
        ticks = self.counter_tick_s is None or 0 < self.counter_tick_s <= _LONGEST_S
        return ticks and all(reading.is_possible for reading in readings)
