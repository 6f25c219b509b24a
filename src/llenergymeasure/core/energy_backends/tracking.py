"""One window of a sensor, whatever the sensor does."""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Self

from llenergymeasure.core.energy_backends.base import SensorBase, can_begin_now, no_energy
from llenergymeasure.core.energy_backends.headline import best_founded
from llenergymeasure.core.foreign import checked, with_defaults
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, counted_devices, headline_energy_j
from llenergymeasure.domain.trace import DeviceTrace
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import contained, first_line
from llenergymeasure.protocols import EnergyBackend

# Of so short a window a sensor's edges are a large part.
_SHORT_S = 1.0
# What a sensor may have rounded in its total.
_ROUNDING, _ROUNDING_J = 1e-3, 0.01
_SEVERAL = 2


class Tracking:
    """A context in which a sensor tracks; afterwards ``measurement`` says what it took.

    The seam forbids ``stop_tracking`` to raise and to give a figure that is none, but a sensor from elsewhere that
    does must not cost the measurement: it gives no joules and a reason. Each row says which sensor gave it, what it
    covers, what time it is of, and whether it is part of the total, which is of the best founded of several readings of
    a device. ``at_once`` starts it without waiting for an edge.
    """

    measurement: EnergyMeasurement

    def __init__(self, energy: EnergyBackend, *, at_once: bool = False) -> None:
        self._energy = with_defaults(energy, SensorBase)
        self._start = self._energy.start_at_once if at_once else self._energy.start_tracking
        self.can_begin_now = can_begin_now(self._energy)
        self._tracker: Any = None
        self._problem: str | None = None

    def __enter__(self) -> Self:
        try:
            with contained():
                self._tracker = self._start()
        except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises costs the joules, not the run
            self._problem = f"could not start: {first_line(error)}"
        return self

    def begin_now(self) -> None:
        """Let the window begin now, with those of other sensors, where the sensor can."""
        self._mark(self._energy.begin_now, "begin")

    def end_now(self) -> None:
        """Let the window end now, with those of other sensors, where the sensor can; leaving the context reads it."""
        self._mark(self._energy.end_now, "end")

    def _mark(self, mark: Callable[[Any], Any], what: str) -> None:
        if self._problem is not None:
            return
        try:
            with contained():
                self._tracker = mark(self._tracker)
        except Exception as error:  # noqa: BLE001 - as above
            self._problem = f"could not {what}: {first_line(error)}"
            # Nothing that it has started is to go on; its figure is of another window.
            with contextlib.suppress(Exception), contained():
                self._energy.stop_tracking(self._tracker)

    def __exit__(self, *_: object) -> None:
        self.measurement = self._stopped()

    def _stopped(self) -> EnergyMeasurement:
        if self._problem is None:
            try:
                with contained():
                    found = self._completed(self._energy.stop_tracking(self._tracker))
                    return best_founded(found, self._energy.name)
            except Exception as error:  # noqa: BLE001 - as above
                self._problem = f"could not stop: {first_line(error)}"
        return no_energy(f"{self._energy.name} {self._problem}", 0.0)

    def _with_readable_trace(self, given: EnergyMeasurement) -> tuple[EnergyMeasurement, list[MeasurementWarning]]:
        """A measurement whose readings can be kept; where they cannot, without them and with the reason."""
        if not isinstance(given, EnergyMeasurement):
            return given, []
        try:
            if not isinstance(given.trace, tuple | list):
                raise ValueError(f"gave {type(given.trace).__name__} where readings belong")
            for trace in given.trace:
                checked(DeviceTrace, trace)
        except ValueError as error:
            why = f"the readings of {self._energy.name} are not kept: it {error}"
            return replace(given, trace=()), [MeasurementWarning("sidecar_not_written", why)]
        return given, []

    def _completed(self, given: EnergyMeasurement) -> EnergyMeasurement:
        given, untold = self._with_readable_trace(given)
        try:
            found = checked(EnergyMeasurement, _without_no_numbers(given))
        except ValueError as error:
            return self._refused(str(error), _readable(given))
        found = self._judged_one_by_one(found)
        counted = counted_devices(found.devices)
        problem = next(_contradictions(found, counted), None)
        if problem is not None:
            return self._refused(f"gave {problem}", found)
        absurd = [row for row in found.devices if row not in counted and not _may_be(row.energy_j, found.duration_sec)]
        rows = [row.unknown if row in absurd else row for row in found.devices]
        told = untold + [
            MeasurementWarning("not_in_the_total", f"{self._energy.name} gave {row.energy_j:g} J for {row.device}")
            for row in absurd
        ]
        of_rows_j = headline_energy_j(counted) if found.total_j is not None else None
        if found.total_j is None and not any(warning.flag == "energy_unavailable" for warning in found.warnings):
            told.append(self._because("gave no energy and no reason"))
        return replace(
            found,
            # The rows have the last word: a sensor may have rounded what it added up.
            total_j=found.total_j if of_rows_j is None else of_rows_j,
            devices=self._labelled(rows, found.duration_sec),
            warnings=(*found.warnings, *told),
        )

    def _judged_one_by_one(self, found: EnergyMeasurement) -> EnergyMeasurement:
        """Of several devices one without a figure, or with one that cannot be, costs the total and not the others."""
        counted = counted_devices(found.devices)
        silent = [r for r in counted if r.energy_j is None or not _may_be(r.energy_j, found.duration_sec)]
        if found.total_j is None or len(counted) < _SEVERAL or not silent:
            return found
        told = [
            replace(
                self._because(f"gave {'nothing' if r.energy_j is None else f'{r.energy_j:g} J'} for {r.device}"),
                device=r.device,
            )
            for r in silent
        ]
        rows = [r.unknown if r in silent else r for r in found.devices]
        return replace(found, total_j=None, devices=tuple(rows), warnings=(*found.warnings, *told))

    def _refused(self, why: str, found: EnergyMeasurement) -> EnergyMeasurement:
        """No joules, of the parts neither: nobody is to add them up again."""
        refused = refused_as_a_whole(found, f"{self._energy.name} {why}")
        return replace(refused, devices=self._labelled(refused.devices, refused.duration_sec))

    def _labelled(self, rows: Sequence[DeviceEnergy], seconds: float) -> tuple[DeviceEnergy, ...]:
        counted = counted_devices(rows)
        return tuple(
            replace(
                row,
                sensor=row.sensor or self._energy.name,
                scope=row.scope or ((self._energy.scope if row in counted else None) or row.covers),
                headline=row in counted,
                duration_sec=seconds if row.duration_sec is None else row.duration_sec,
            )
            for row in rows
        )

    def _because(self, problem: str) -> MeasurementWarning:
        return MeasurementWarning("energy_unavailable", f"{self._energy.name} {problem}")


def _without_no_numbers(given: EnergyMeasurement) -> EnergyMeasurement:
    """A measurement in which a figure of a device that is no number is none; anything else is as it was."""
    rows = getattr(given, "devices", None)
    if not isinstance(rows, tuple | list) or len(rows) < _SEVERAL:
        return given
    known = [
        replace(row, energy_j=None)
        if isinstance(row, DeviceEnergy) and isinstance(row.energy_j, float) and not math.isfinite(row.energy_j)
        else row
        for row in rows
    ]
    return replace(given, devices=tuple(known))


def _may_be(energy_j: float | None, seconds: float) -> bool:
    """Whether a figure can be true: something that runs for a time takes energy."""
    return energy_j is None or energy_j > 0 or (energy_j == 0 and seconds <= 0)


def _contradictions(found: EnergyMeasurement, counted: Sequence[DeviceEnergy]) -> Iterator[str]:
    """What of a measurement cannot be, or does not go together; nothing where it may be true."""
    if found.duration_sec < 0:
        yield f"{found.duration_sec:g} s, which no window takes"
    named = [("", found.total_j), *((f" for {row.device}", row.energy_j) for row in counted)]
    for whose, energy_j in named:
        if not _may_be(energy_j, found.duration_sec):
            yield f"{energy_j:g} J{whose} for {found.duration_sec:.3g} s, which nothing can have used"
    for bound_j in (found.uncertainty_j, *(row.uncertainty_j for row in counted)):
        if bound_j is not None and bound_j < 0:
            yield f"a bound of {bound_j:g} J"
    twice = [name for name, times in Counter(row.device for row in counted).items() if times > 1]
    if twice:
        yield f"more than one row for {', '.join(twice)}, of which only one can count"
    if found.total_j is not None and found.devices:
        of_rows_j = headline_energy_j(counted)
        if of_rows_j is None or not math.isclose(found.total_j, of_rows_j, rel_tol=_ROUNDING, abs_tol=_ROUNDING_J):
            names = ", ".join(row.device for row in counted) or "there are none"
            sum_is = "no sum" if of_rows_j is None else f"{of_rows_j:g} J"
            yield f"a total of {found.total_j:g} J, and the rows that make it ({names}) have {sum_is}"


def _readable(given: object) -> EnergyMeasurement:
    """What can be read of something that is no measurement: names of devices, and what a sensor said of itself."""
    devices, warnings = getattr(given, "devices", None), getattr(given, "warnings", None)
    found = []
    for row in devices if isinstance(devices, tuple | list) else ():
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found.append(checked(DeviceEnergy, row.unknown))
    told: tuple[MeasurementWarning, ...] = ()
    with contextlib.suppress(TypeError):
        told = MeasurementWarning.all_of(warnings)
    return EnergyMeasurement(None, 0.0, 0, devices=tuple(found), warnings=told)


def refused_as_a_whole(found: EnergyMeasurement, why: str) -> EnergyMeasurement:
    """No joules, of the parts neither: nobody is to add them up again."""
    lost = no_energy(why, found.duration_sec, found.samples, tuple(row.unknown for row in found.devices))
    return replace(lost, warnings=(*found.warnings, *lost.warnings), trace=found.trace)


def of_the_window(energy: EnergyMeasurement, window_s: float) -> EnergyMeasurement:
    """A measurement that may be the window's: none that says itself that it is of half the time, or of twice."""
    if energy.total_j is None or window_s / 2 <= energy.duration_sec <= 2 * window_s or window_s < _SHORT_S:
        return energy
    told = f"the sensor gave joules of {energy.duration_sec:.3g} s, and the window was {window_s:.3g} s long"
    return refused_as_a_whole(energy, told)


def with_rows_of(headline: EnergyMeasurement, beside: EnergyMeasurement) -> EnergyMeasurement:
    """A measurement with the devices of another one listed beside its own; the total stays what it is."""
    lost = (
        ()
        if beside.total_j is not None
        else tuple(MeasurementWarning("not_in_the_total", str(reason)) for reason in beside.warnings)
    )
    listed = tuple(replace(row, headline=False) for row in beside.devices)
    return replace(
        headline,
        devices=(*headline.devices, *listed),
        warnings=(*headline.warnings, *lost),
        trace=(*headline.trace, *beside.trace),
    )
