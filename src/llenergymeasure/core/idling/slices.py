"""Power of idling, from a wait that is measured in slices: whether it was steady, and how well it is known.

A sensor gives one figure for a window, which does not show that somebody else was at work in a part of it. So a wait
is cut into slices, each a window of its own: load of others is then power above the level that the quiet slices have.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Self

from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.idling.reading import Reading, Readings, are_alike, cover_the_same, readings_of
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    counted_devices,
    slowest_update_s,
    sum_or_none,
)
from llenergymeasure.domain.phases import mean_with_interval
from llenergymeasure.protocols import EnergyBackend

# Means of a second or more of a device that idles repeat to a few percent; a neighbour's load is tens of percent.
STEADY = 0.05
# Ten slices make an interval of little more than two standard errors. Under a second the edges of sensors are a large
# part of a slice, over five of them a burst is a small one.
_N_SLICES = 10
_SHORTEST_S, _LONGEST_S = 1.0, 5.0
# A sensor that is read between two of its updates is off by up to one of them at either end.
_UPDATES_IN_A_SLICE = 10
# Fewer slices do not show a level, and have no interval.
_FEWEST = 3
# Of what is no number of mean power, such as rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Level:
    """Mean power in watts and its bound; None where the sensor states none, nor how often it is new.

    ``noise_w`` is what another measurement of the same may be apart: scatter, with what the sensor states; None where
    neither tells of any, and by default the bound. ``readings`` are what it was read from, by device; ``hidden_w`` is
    by how much it may be off beside other readings.
    """

    power_w: float
    uncertainty_w: float | None = None
    noise_w: float | None = None
    readings: Readings = field(default_factory=dict)
    hidden_w: float = 0.0

    @property
    def open_w(self) -> float | None:
        """What two measurements of the same may be apart by."""
        return self.uncertainty_w if self.noise_w is None else self.noise_w

    def is_like(self, other: "Level") -> bool:
        """Whether both were read in the same way."""
        return are_alike(self.readings, other.readings)

    def differs_from(self, other: "Level") -> bool:
        """Whether two levels are further apart than their noise explains; without any, nothing is explained.

        Levels of different things do not differ.
        """
        if not cover_the_same(self.readings, other.readings):
            return False
        noise_w = (self.open_w or 0.0) + (other.open_w or 0.0)
        noise_w += 0.0 if self.is_like(other) else self.hidden_w + other.hidden_w
        return abs(self.power_w - other.power_w) > noise_w + _ROUNDING * abs(other.power_w)

    def beside(self, rows: Sequence[DeviceEnergy]) -> "Level | None":
        """The level as it may be taken off the energy of [n] rows: its bound holds how unlike their readings are.

        None where they cover something else.
        """
        others = readings_of(rows)
        if not cover_the_same(self.readings, others):
            return None
        if self.uncertainty_w is None or are_alike(self.readings, others):
            return self
        return replace(self, uncertainty_w=self.uncertainty_w + self.hidden_w)


@dataclass(frozen=True, kw_only=True)
class Idling:
    """Power of a window of idling: of all that is counted, and of each counted device by itself.

    ``duration_sec`` is the time that the figure is of, ``devices`` all that have rows. ``disturbance`` says what was
    seen of others; the bounds then reach from the quiet level to the mean of everything.
    """

    whole: Level
    by_device: Mapping[str, Level] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    duration_sec: float = 0.0
    disturbance: str | None = None

    @property
    def levels(self) -> dict[str | None, Level]:
        """Power of each device by itself, and under None of the whole."""
        found: dict[str | None, Level] = {None: self.whole}
        found.update(self.by_device)
        return found


class IdleMeter:
    """Measures a wait slice by slice. What lies between two slices, edges of the sensor, is waited and not measured.

    A slice is a tenth of the whole, but no shorter than a second nor than ten updates of the sensor, nor longer than
    five seconds; of a wait of under three seconds it is a third. Where a slice was read by what leaves out some of the
    time, the others are five seconds long: the average that a card takes itself needs four.
    """

    def __init__(self, energy: EnergyBackend, whole_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """``whole_s`` is how long will be waited, ``sleep`` may return before its time is over."""
        self.measurements: list[EnergyMeasurement] = []
        self._energy, self._sleep = energy, sleep
        self._longest_s = whole_s / _FEWEST
        self._slice_s = min(max(whole_s / _N_SLICES, _SHORTEST_S), _LONGEST_S, self._longest_s)
        self._open = ExitStack()
        self._tracking: Tracking | None = None
        self._slept_s = 0.0

    def __enter__(self) -> Self:
        """Nothing is measured before somebody waits."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the slice that is open."""
        self._end_slice()

    @property
    def is_lost(self) -> bool:
        """Whether the sensor gave nothing so far although it was asked."""
        return bool(self.measurements) and all(m.total_j is None for m in self.measurements)

    def sleep(self, seconds: float) -> None:
        """Wait, and measure; a slice that is not full goes on with the next call."""
        left_s = seconds
        while left_s > _ROUNDING:
            if self._tracking is None:
                self._tracking = self._open.enter_context(Tracking(self._energy))
            step_s = min(left_s, self._slice_s - self._slept_s)
            self._sleep(step_s)
            left_s -= step_s
            self._slept_s += step_s
            if self._slept_s >= self._slice_s - _ROUNDING:
                self._end_slice()

    def _end_slice(self) -> None:
        tracking, self._tracking, self._slept_s = self._tracking, None, 0.0
        if tracking is None:
            return
        self._open.close()
        self.measurements.append(tracking.measurement)
        period_s = slowest_update_s(tracking.measurement) or 0.0
        sees_all = all(reading.sees_all for reading in readings_of(tracking.measurement.devices).values())
        shortest_s = max(_UPDATES_IN_A_SLICE * period_s, 0.0 if sees_all else _LONGEST_S)
        self._slice_s = min(max(self._slice_s, shortest_s), self._longest_s)


def measured_idling(
    energy: EnergyBackend, duration_sec: float, sleep: Callable[[float], None] = time.sleep
) -> list[EnergyMeasurement]:
    """Do nothing for a while and measure it in slices; a sensor that gives nothing at first is not waited for."""
    with IdleMeter(energy, duration_sec, sleep) as meter:
        left_s = duration_sec
        while left_s > _ROUNDING and not meter.is_lost:
            step_s = min(left_s, _SHORTEST_S)
            meter.sleep(step_s)
            left_s -= step_s
    return meter.measurements


@dataclass(frozen=True)
class _Slice:
    seconds: float
    energy_j: float
    bound_j: float | None
    update_s: float | None

    @property
    def power_w(self) -> float:
        return self.energy_j / self.seconds

    @property
    def bound_w(self) -> float | None:
        return None if self.bound_j is None else self.bound_j / self.seconds

    @property
    def edges_w(self) -> float | None:
        """The sensor's bound, else one update at this power; None where it says of neither."""
        if self.bound_w is not None or self.update_s is None:
            return self.bound_w
        return abs(self.power_w) * self.update_s / self.seconds


def idling_of(measurements: Sequence[EnergyMeasurement]) -> Idling | None:
    """Power of idling from [n] slices in the order of time; None where no slice has energy.

    The level is that of the lowest three slices, by their median. Slices within 5 % of it, and within what the sensor
    leaves open of two of them, are quiet, and the figure is theirs. What comes before the first of them is our own work
    dying away and is left out; what differs after it is load of others.
    """
    known = [m for m in measurements if m.total_j is not None and m.duration_sec > 0]
    longest_s = max((m.duration_sec for m in known), default=0.0)
    # What is left at the end is mostly edges.
    known = [m for m in known if 2 * m.duration_sec >= longest_s]
    if not known:
        return None
    whole = [_whole_slice(m) for m in known]
    by_name = _slices_by_device(known)
    n = len(known)
    quiet = sorted(set.intersection(*map(_quiet, [whole, *by_name.values()])))
    has_level = len(quiet) >= min(_FEWEST, n)
    quiet, seen = (quiet, range(quiet[0], n)) if has_level else (list(range(n)), range(n))
    disturbed = not has_level or len(quiet) < len(seen)
    by_device = {name: _level(slices, quiet, seen, has_level=has_level) for name, slices in by_name.items()}
    readings = _common_readings(known)
    by_device = {name: with_readings(level, {name: level.power_w}, readings) for name, level in by_device.items()}
    return Idling(
        whole=with_readings(
            _level(whole, quiet, seen, has_level=has_level), {n: lv.power_w for n, lv in by_device.items()}, readings
        ),
        by_device=by_device,
        devices=tuple(dict.fromkeys(d.device for m in known for d in m.devices)),
        duration_sec=sum(known[i].duration_sec for i in quiet),
        disturbance=_in_words([whole[i].power_w for i in seen], len(quiet) * has_level) if disturbed else None,
    )


def with_readings(level: Level, powers_w: Mapping[str, float], readings: Readings) -> Level:
    """A level of devices of so many watts each, with what they were read from."""
    own = {device: readings[device] for device in powers_w if device in readings}
    hidden_w = sum(reading.hidden_w(powers_w[device]) for device, reading in own.items())
    return replace(level, readings=own, hidden_w=hidden_w)


def _read_alike(measurements: Sequence[EnergyMeasurement]) -> list[EnergyMeasurement]:
    names = [frozenset((d, r.name) for d, r in readings_of(m.devices).items()) for m in measurements]
    seconds: dict[frozenset[tuple[str, tuple[str, str]]], float] = defaultdict(float)
    for name, measurement in zip(names, measurements, strict=True):
        seconds[name] += measurement.duration_sec
    most = max(seconds, key=lambda name: seconds[name], default=None)
    return [m for name, m in zip(names, measurements, strict=True) if name == most]


def _common_readings(measurements: Sequence[EnergyMeasurement]) -> dict[str, Reading]:
    """What the devices of [n] measurements were read from, alike in all; it sees all where it does in each."""
    found: dict[str, Reading] = {}
    for measurement in measurements:
        for device, reading in readings_of(measurement.devices).items():
            sees_all = reading.sees_all and found.get(device, reading).sees_all
            found[device] = replace(reading, sees_all=sees_all)
    return found


def _whole_slice(found: EnergyMeasurement) -> _Slice:
    return _Slice(found.duration_sec, found.total_j or 0.0, found.uncertainty_j, slowest_update_s(found))


def _slices_by_device(measurements: Sequence[EnergyMeasurement]) -> dict[str, list[_Slice]]:
    """[n] slices of each device that is counted and has a figure in all of them."""
    found: dict[str, list[_Slice]] = {}
    for m in measurements:
        for row in counted_devices(m.devices):
            if row.energy_j is not None:
                of_row = _Slice(m.duration_sec, row.energy_j, row.uncertainty_j, row.update_period_s)
                found.setdefault(row.device, []).append(of_row)
    return {device: slices for device, slices in found.items() if len(slices) == len(measurements)}


def _quiet(slices: Sequence[_Slice]) -> set[int]:
    lowest = sorted(slices, key=lambda s: s.power_w)[:_FEWEST]
    level_w = statistics.median(s.power_w for s in lowest)
    # The bounds of the others may be wide because of what is looked for here.
    within_w = STEADY * abs(level_w) + 2 * statistics.median(s.edges_w or 0.0 for s in lowest)
    return {i for i, s in enumerate(slices) if abs(s.power_w - level_w) <= within_w * (1 + _ROUNDING)}


def _level(slices: Sequence[_Slice], quiet: Sequence[int], seen: Sequence[int], *, has_level: bool) -> Level:
    chosen = [slices[i] for i in quiet]
    power_w = _mean_w(chosen)
    # The truth is the quiet level or, if it is this machine that is restless, the mean of everything.
    apart_w = (
        abs(_mean_w([slices[i] for i in seen]) - power_w)
        if has_level
        else max(abs(s.power_w - power_w) for s in chosen)
    )
    noise_w = _open_w(chosen, [s.bound_w for s in chosen])
    edges_w = [s.edges_w for s in chosen]
    bound_w = None if None in edges_w else _open_w(chosen, edges_w)
    return Level(
        power_w=power_w,
        uncertainty_w=None if bound_w is None else bound_w + apart_w,
        noise_w=None if noise_w is None else noise_w + apart_w,
    )


def _mean_w(slices: Sequence[_Slice]) -> float:
    return sum(s.energy_j for s in slices) / sum(s.seconds for s in slices)


def _open_w(slices: Sequence[_Slice], bounds_w: Sequence[float | None]) -> float | None:
    """What scatter leaves open of the mean, and bounds of [n] slices, of which None is none.

    None of so few that they show no scatter, where one of them has no bound.
    """
    found = mean_with_interval([s.power_w for s in slices], [b or 0.0 for b in bounds_w])
    if found.high is not None:
        return found.high - found.value
    sum_w = sum_or_none(bounds_w)
    powers_w = [s.power_w for s in slices]
    return None if sum_w is None else max(powers_w) - min(powers_w) + sum_w / len(slices)


def _in_words(powers_w: Sequence[float], n_quiet: int) -> str:
    return (
        f"power while idling went from {min(powers_w):.3g} to {max(powers_w):.3g} W in means of a slice, and "
        f"{n_quiet} of {len(powers_w)} slices are at one quiet level"
    )
