"""What a sensor read around a window, as it was read: what its joules can be worked out from again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict

# Watts; watts that the device has averaged itself; joules of a counter; the power limit in force, in watts.
ReadingKind = Literal["power", "average", "counter", "limit"]
# How much of what was read before a window is kept: more than ticks and means around its start reach back.
KEPT_BEFORE_S = 5.0


class Reading(NamedTuple):
    """What was read, None where that failed, and the moment it is stamped with.

    ``began_s`` and ``ended_s`` are looks at the clock before and after; None where nobody looked.
    """

    time_s: float
    value: float | None
    began_s: float | None = None
    ended_s: float | None = None

    @classmethod
    def between(cls, began_s: float, ended_s: float, value: float | None) -> Self:
        """What was read between two looks at the clock."""
        return cls((began_s + ended_s) / 2, value, began_s, ended_s)


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Readings of one kind, oldest first."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    kind: ReadingKind
    reads: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceTrace:
    """What ``sensor`` read of ``device`` around a window from ``start_s`` to ``end_s``.

    All times are seconds of the measurement's monotonic clock. ``facts`` are what is to be known of the readings to
    work with them, in SI units: how old and how long means are, where a counter begins anew.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    device: str
    sensor: str
    start_s: float
    end_s: float
    facts: dict[str, float]
    readings: tuple[Readings, ...]


def without(traces: Sequence[DeviceTrace], devices: Iterable[str]) -> tuple[DeviceTrace, ...]:
    """[n] traces but for those of some devices."""
    left_out = frozenset(devices)
    return tuple(trace for trace in traces if trace.device not in left_out)
