"""What each sensor read of a device, from the table of readings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llenergymeasure.results.verification.findings import DamageError, is_number, shown
from llenergymeasure.results.verification.tables import Row, Table

Numbers = npt.NDArray[np.float64]
_KINDS = ("power", "average", "counter", "limit")
_WINDOW = {"process", "device", "sensor", "start_s", "end_s", "facts"}
# A card without a known limit draws less than any module so far may.
_NO_CARD_DRAWS_W = 5000.0
# Cards exceed their limit for milliseconds; what is over this multiple of it is no reading.
OVER_LIMIT = 1.5


@dataclass(frozen=True)
class Series:
    """Readings of one kind: [n] seconds, and what was read between which looks at the clock; NaN where it failed."""

    time_s: Numbers
    value: Numbers
    began_s: Numbers
    ended_s: Numbers

    def __len__(self) -> int:
        """How many there are."""
        return int(self.time_s.size)

    @property
    def known(self) -> "Series":
        """Those that did not fail."""
        return self.where(np.isfinite(self.value))

    def where(self, kept: npt.NDArray[np.bool_]) -> "Series":
        """Those of them that are true."""
        return Series(self.time_s[kept], self.value[kept], self.began_s[kept], self.ended_s[kept])


@dataclass(frozen=True)
class DeviceReadings:
    """What a sensor read of a device around a window, and what is known of its readings."""

    process_index: int
    device: str
    sensor: str
    start_s: float
    end_s: float
    facts: Mapping[str, float]
    power: Series
    average: Series
    counter: Series
    limit: Series

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s

    @property
    def limit_w(self) -> float:
        """The highest limit in force in the window, in watts."""
        told = self.limit.known
        inside = (told.time_s >= self.start_s) & (told.time_s <= self.end_s)
        before = np.flatnonzero(told.time_s <= self.start_s)[-1:]
        in_force = [*told.value[inside], *told.value[before]]
        if not before.size and "power_limit_w" in self.facts:
            in_force.append(self.facts["power_limit_w"])
        return float(max(in_force, default=_NO_CARD_DRAWS_W))

    @property
    def believed_power(self) -> Series:
        """Readings of power that can be: something that runs draws some, and not far more than its limit."""
        known = self.power.known
        return known.where((known.value > 0) & (known.value <= OVER_LIMIT * self.limit_w))

    def fact(self, name: str) -> float:
        """What is to be known of the readings.

        Raises:
            DamageError: it is not said.
        """
        if name not in self.facts:
            raise DamageError(f"nothing says what {name} is for {shown(self.device)}")
        return self.facts[name]


def read_windows(table: Table) -> list[Row]:
    """The windows that the table's metadata have.

    Raises:
        DamageError: they have none, or something else.
    """
    try:
        windows = json.loads(table.metadata["windows"])
        found = [window for window in windows if set(window) == _WINDOW]
    except (KeyError, ValueError, TypeError, RecursionError):
        raise DamageError("its metadata do not say of which windows the readings are") from None
    for window in found:
        numbers = [window["start_s"], window["end_s"], *window["facts"].values()]
        if not all(is_number(n) and np.isfinite(n) for n in numbers) or window["end_s"] <= window["start_s"]:
            raise DamageError(f"its metadata have a window that is none: {shown(window)}")
    names = [(window["process"], window["device"], window["sensor"]) for window in found]
    if len(found) < len(windows) or len(set(names)) < len(names):
        raise DamageError("its metadata have windows that are none, or twice")
    return found


def device_readings(table: Table, windows: Sequence[Row]) -> list[DeviceReadings]:
    """The readings of each window.

    Raises:
        DamageError: rows are of no window, of no known kind, or out of order.
    """
    keys = [*zip(*(table.column(name) for name in ("process", "device", "sensor", "what")), strict=True)]
    strange = next((key for key in keys if key[3] not in _KINDS), None)
    if strange is not None:
        raise DamageError(f"it has readings of {shown(strange[3])}, which nobody knows")
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    columns = {name: table.numbers(name) for name in ("time_s", "value", "began_s", "ended_s")}
    known = {(window["process"], window["device"], window["sensor"]) for window in windows}
    lost = next((key for key in places if key[:3] not in known), None)
    if lost is not None:
        raise DamageError(f"it has readings of {shown(lost[1])} by {shown(lost[2])}, and no window of them")
    found = []
    for window in windows:
        key = (window["process"], window["device"], window["sensor"])
        power, average, counter, limit = (_series(columns, places.get((*key, kind), []), kind) for kind in _KINDS)
        found.append(
            DeviceReadings(*key, window["start_s"], window["end_s"], window["facts"], power, average, counter, limit)
        )
    return found


def _series(columns: Mapping[str, Numbers], places: Sequence[int], kind: str) -> Series:
    found = Series(**{name: column[list(places)] for name, column in columns.items()})
    if np.any(np.diff(found.time_s) < 0):
        raise DamageError(f"its readings of {kind} are not in the order of time")
    if np.any(found.ended_s < found.began_s):
        raise DamageError(f"it has a reading of {kind} that ended before it began")
    if kind == "counter" and np.any(~np.isfinite(found.began_s) | ~np.isfinite(found.ended_s)):
        raise DamageError("it has a read of a counter that does not say when it was")
    return found
