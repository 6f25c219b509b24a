"""What every sensor of energy must do, as checks that anybody's sensor can be put through.

Make a ``SensorCase`` for your sensor, anew for every check, and run each of ``SENSOR_CHECKS`` on it, for example with
pytest::

    @pytest.mark.parametrize("check", SENSOR_CHECKS, ids=lambda check: check.__name__)
    def test_my_sensor_conforms(check):
        try:
            check(case())
        except NotApplicable as reason:
            pytest.skip(str(reason))

A check raises ``AssertionError`` where the sensor does not conform, and ``NotApplicable`` where the case has nothing to
check it by.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.background import at_once, in_a_thread
from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.metrics import EnergyMeasurement, counted_devices, headline_energy_j
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.protocols import EnergyBackend
from llenergymeasure.testing.conformance import NotApplicable
from llenergymeasure.testing.fakes import (
    FakeClock,
    FakeEngine,
    FakeModel,
    FakeSampler,
    fake_environment,
    words_as_tokens,
)

__all__ = ["SENSOR_CHECKS", "NotApplicable", "SensorCase"]

# For a thread that was told to end.
_GRACE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SensorCase:
    """A sensor, a clock to try it on, and what is known of the energy.

    ``make`` gives a sensor whose device can be read, ``absent`` one whose device is not there. ``sleep`` lets so many
    seconds pass on ``clock``, on which ``true_j`` gives the joules between two times. A figure may be off by its own
    bound and ``tolerance_pct`` of the truth. ``window_s`` is the length of the shorter windows: long enough that the
    sensor has something to see. ``lose`` takes the device away for good, ``devices`` are the UUIDs of the GPUs that are
    measured, ``library_threads`` the names of threads that a library keeps and that do nothing between windows. None,
    or empty, where there is no such thing.
    """

    make: Callable[[], EnergyBackend]
    absent: Callable[[], EnergyBackend] | None = None
    lose: Callable[[], None] | None = None
    true_j: Callable[[float, float], float] | None = None
    tolerance_pct: float = 1.0
    window_s: float = 0.5
    devices: Sequence[str] = ()
    library_threads: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def ready(self) -> SensorBase:
        """A new sensor with the defaults for what it does not write, asked once as a session asks it."""
        sensor = with_defaults(self.make(), SensorBase)
        assert sensor.is_available(), f"the sensor of the case cannot be read: {sensor.problem()}"
        return sensor

    def measured(self, sensor: SensorBase, seconds: float) -> tuple[EnergyMeasurement, float | None]:
        """What a window of so many seconds showed, and the joules that it really took where that is known."""
        tracker = sensor.start_tracking()
        start_s = self.clock()
        self.sleep(seconds)
        end_s = self.clock()
        found = sensor.stop_tracking(tracker)
        return found, None if self.true_j is None else self.true_j(start_s, end_s)


def one_that_reads_its_device_says_so(case: SensorCase) -> None:
    """And has no problem to tell."""
    sensor = with_defaults(case.make(), SensorBase)
    assert sensor.is_available(), f"its device is there, and it says that it is not: {sensor.problem()}"
    assert sensor.problem() is None, f"its device is there, and it has a problem: {sensor.problem()}"
    assert sensor.name, "it has no name"


def one_without_its_device_says_why(case: SensorCase) -> None:
    """In one line; it raises nothing, and started all the same it gives no joules."""
    if case.absent is None:
        raise NotApplicable("the case has no sensor without its device")
    sensor = with_defaults(case.absent(), SensorBase)
    assert not sensor.is_available(), "its device is not there, and it says that it is"
    problem = sensor.problem()
    assert problem is not None, "its device is not there, and it has no problem"
    assert problem.strip(), "it does not say why it cannot be read"
    assert "\n" not in problem, f"why it cannot be read is more than one line: {problem}"
    _is_null_with_a_reason(sensor.stop_tracking(sensor.start_tracking()))


def every_joule_has_its_origin(case: SensorCase) -> None:
    """Device, kind, how it came about; what is modelled says from what, and by ``modelled`` that it is."""
    sensor = case.ready()
    found, _ = case.measured(sensor, case.window_s)
    assert found.total_j is not None, found.warnings
    assert found.devices, "joules without a device are of nobody knows what"
    for row in found.devices:
        assert row.device.strip()
        # Beside its own a sensor may give what another one read of the same device; it is no part of the total.
        assert row.sensor in (None, sensor.name) or row.headline is False, row
        assert row.energy_j is None or (math.isfinite(row.energy_j) and row.energy_j > 0), row
        assert row.uncertainty_j is None or (math.isfinite(row.uncertainty_j) and row.uncertainty_j >= 0), row
        assert row.source != "modelled" or row.basis, f"{row.device} is modelled and does not say from what"
        assert row.kind != "gpu" or not case.devices or row.device in case.devices, f"{row.device} is no GPU in use"
    if all(row.source == "modelled" for row in found.devices):
        assert sensor.modelled, "all its figures are modelled, and the sensor does not say so"


def the_total_is_made_of_its_rows(case: SensorCase) -> None:
    """GPUs if there are any, else packages, else what there is; nothing twice, and nothing that no row has."""
    found, _ = case.measured(case.ready(), case.window_s)
    expected_j = headline_energy_j(found.devices)
    assert found.total_j is not None, found.warnings
    assert expected_j is not None, "its rows make no total"
    assert math.isclose(found.total_j, expected_j, rel_tol=1e-9), f"{found.total_j:g} J, its rows have {expected_j:g} J"
    if found.per_gpu_j is not None:
        counted = [row for row in counted_devices(found.devices) if row.kind == "gpu" and row.energy_j is not None]
        assert found.per_gpu_j == {row.device: row.energy_j for row in counted}


def the_energy_is_that_of_the_window(case: SensorCase) -> None:
    """Not of the time before, between or after windows, whatever their lengths."""
    if case.true_j is None:
        raise NotApplicable("nobody knows the energy of this case")
    sensor = case.ready()
    for seconds in (case.window_s, 3 * case.window_s):
        case.sleep(case.window_s)
        found, true_j = case.measured(sensor, seconds)
        _is_right(case, found, true_j)


def the_duration_is_that_of_the_window(case: SensorCase) -> None:
    """In seconds of the clock, as long as it was tracked."""
    sensor = case.ready()
    began_s = case.clock()
    found, _ = case.measured(sensor, case.window_s)
    ended_s = case.clock()
    least_s, most_s = case.window_s * 0.999, ended_s - began_s
    assert least_s <= found.duration_sec <= most_s, f"{found.duration_sec} s of a window of {least_s} to {most_s} s"


def a_window_inside_another_leaves_it_alone(case: SensorCase) -> None:
    """Each has its own joules; a sensor that can have one window only says so of the inner one."""
    sensor = case.ready()
    tracker = sensor.start_tracking()
    start_s = case.clock()
    case.sleep(case.window_s)
    inner, inner_true_j = case.measured(sensor, case.window_s)
    case.sleep(case.window_s)
    end_s = case.clock()
    outer = sensor.stop_tracking(tracker)
    _is_right(case, outer, None if case.true_j is None else case.true_j(start_s, end_s))
    if inner.total_j is None:
        _is_null_with_a_reason(inner)
        return
    _is_right(case, inner, inner_true_j)
    assert outer.total_j is not None
    assert inner.total_j < outer.total_j
    assert inner.duration_sec < outer.duration_sec


def a_device_that_is_lost_is_no_energy(case: SensorCase) -> None:
    """Null with the reason, whether it was lost in a window or before; never zero, the last figure, or an error."""
    if case.lose is None:
        raise NotApplicable("the device of the case cannot be taken away")
    sensor = case.ready()
    tracker = sensor.start_tracking()
    case.sleep(case.window_s)
    case.lose()
    case.sleep(case.window_s)
    _is_null_with_a_reason(sensor.stop_tracking(tracker))
    _is_null_with_a_reason(case.measured(sensor, case.window_s)[0])


def nothing_stays_behind(case: SensorCase) -> None:
    """A window that has ended leaves no thread that goes on reading: that would be load in somebody else's window."""
    before = set(threading.enumerate())
    sensor = case.ready()
    for _ in range(2):
        case.measured(sensor, case.window_s)
    for thread in set(threading.enumerate()) - before:
        thread.join(_GRACE_S)
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name not in case.library_threads]
    assert left == [], f"threads stay behind: {left}"


def an_experiment_is_measured_with_it(case: SensorCase) -> None:
    """A whole session: its joules are in the result, with its name and what they cover beside them."""
    sensor = case.ready()
    n_batches, batch_size = 2, 2
    config = ExperimentConfig.model_validate(
        {"model": "fake", "n": n_batches * batch_size, "warmup": {"n_warmup": 1}, "baseline": {"enabled": False}}
    )
    plan = ExperimentPlan.of(config, devices=case.devices)
    raw = run_session(plan, FakeEngine(_model(case, batch_size)), _instruments(case, sensor))
    energy = raw.energy
    assert energy is not None, [str(warning) for warning in raw.measurement_warnings]
    assert energy.total_j is not None, [str(warning) for warning in energy.warnings]
    counted = [row for row in energy.devices if row.headline]
    assert counted, "no row is part of the total"
    assert all(row.sensor is not None and row.scope is not None for row in counted), counted
    # The total is of the best founded reading of a device, which may be the one that stands beside the sensor's own.
    assert any(row.sensor == sensor.name for row in energy.devices), "no row has the sensor's name"
    assert energy.duration_sec >= n_batches * case.window_s * 0.999
    if case.true_j is not None:
        _is_right(case, energy, case.true_j(raw.window_start_s, raw.window_end_s))


def _model(case: SensorCase, batch_size: int) -> FakeModel:
    class Waiting(FakeModel):
        """Takes a window's length for a batch, on the clock of the case."""

        def seed(self, random_seed: int) -> None:
            """The window is about to begin: a simulated device is brought up to its time."""
            super().seed(random_seed)
            case.sleep(0.0)

        def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
            case.sleep(case.window_s)
            self.clock.time_s = case.clock() - self.batch_s
            return super().generate(requests)

    return Waiting(clock=FakeClock(), batch_size=batch_size, batch_s=1e-6, devices=tuple(case.devices))


def _instruments(case: SensorCase, sensor: SensorBase) -> Instruments:
    return Instruments(
        energy=sensor,
        modelled=sensor.modelled,
        sampler=FakeSampler(),
        snapshot=fake_environment,
        clock=case.clock,
        sleep=lambda _: None,
        tokenise=words_as_tokens,
        aside=in_a_thread if case.clock is time.monotonic else at_once,
    )


def _is_right(case: SensorCase, found: EnergyMeasurement, true_j: float | None) -> None:
    assert found.total_j is not None, [str(warning) for warning in found.warnings]
    assert found.total_j > 0, f"{found.total_j:g} J of a device that is at work"
    bound_j = found.uncertainty_j or 0.0
    assert bound_j <= found.total_j, f"a bound of {bound_j:g} J says nothing of {found.total_j:g} J"
    if true_j is not None:
        allowed_j = (found.uncertainty_j or 0.0) + case.tolerance_pct / 100 * true_j
        off_j = found.total_j - true_j
        assert abs(off_j) <= allowed_j, f"{found.total_j:g} J, it were {true_j:g} J; off by more than {allowed_j:g} J"


def _is_null_with_a_reason(found: EnergyMeasurement) -> None:
    assert found.total_j is None, f"{found.total_j:g} J of a device that is not there"
    reasons = [warning.text for warning in found.warnings if warning.flag == "energy_unavailable"]
    assert reasons, "no warning with the flag energy_unavailable says why"
    assert all(reason.strip() for reason in reasons)


SENSOR_CHECKS: tuple[Callable[[SensorCase], None], ...] = (
    one_that_reads_its_device_says_so,
    one_without_its_device_says_why,
    every_joule_has_its_origin,
    the_total_is_made_of_its_rows,
    the_energy_is_that_of_the_window,
    the_duration_is_that_of_the_window,
    a_window_inside_another_leaves_it_alone,
    a_device_that_is_lost_is_no_energy,
    nothing_stays_behind,
    an_experiment_is_measured_with_it,
)
