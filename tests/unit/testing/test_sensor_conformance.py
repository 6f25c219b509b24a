"""Sensors of this package pass the suite for sensors, and what is wrong with a sensor fails it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.energy_backends import CodeCarbonBackend, HwmonBackend, RAPLBackend
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.testing import FakeClock, FakeEnergy
from llenergymeasure.testing import sensor_conformance as suite
from llenergymeasure.testing.sensor_conformance import SENSOR_CHECKS, NotApplicable, SensorCase
from tests.fakes.codecarbon import FakeTracker
from tests.fakes.hwmon import Meter
from tests.fakes.rapl import Zone

WATTS = 100.0
Check = Callable[[SensorCase], None]
every_check = pytest.mark.parametrize("check", SENSOR_CHECKS, ids=lambda check: check.__name__)


def case_of(kind: type[FakeEnergy] = FakeEnergy, **fields: Any) -> SensorCase:
    """A sensor of a GPU that takes 100 W until it is lost."""
    clock = FakeClock()
    made: list[FakeEnergy] = []

    def make() -> FakeEnergy:
        made.append(kind(clock, WATTS, **fields))
        return made[-1]

    def lose() -> None:
        for sensor in made:
            sensor.power_w = None

    return SensorCase(
        make=make,
        absent=lambda: kind(clock, None, **fields),
        lose=lose,
        true_j=lambda start_s, end_s: WATTS * (end_s - start_s),
        devices=("GPU-0",),
        clock=clock,
        sleep=clock.sleep,
    )


@every_check
def test_the_fake_conforms(check: Check) -> None:
    check(case_of())


@every_check
def test_hwmon_conforms(check: Check, tmp_path: Path) -> None:
    grace = Meter(tmp_path / "hwmon", "hwmon0", "Grace Power Socket 0", 200.0, interval_ms=500)
    # On the machine's clock: it reads by itself.
    case = SensorCase(
        make=lambda: HwmonBackend(tmp_path / "hwmon"),
        absent=lambda: HwmonBackend(tmp_path / "nowhere"),
        lose=lambda: grace.say("lost"),
        true_j=lambda start_s, end_s: 200.0 * (end_s - start_s),
        window_s=0.5,
    )
    check(case)


@every_check
def test_rapl_conforms(check: Check, tmp_path: Path) -> None:
    tree = tmp_path / "powercap"
    tree.mkdir()
    clock = FakeClock()
    package, memory = Zone(tree, "intel-rapl:0", "package-0"), Zone(tree, "intel-rapl:0:0", "dram")
    watts = 40.0

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if package.path.exists():
            package.use(watts * seconds)
            memory.use(5.0 * seconds)

    def lose() -> None:
        package.path.rename(tmp_path / "gone")

    case = SensorCase(
        make=lambda: RAPLBackend(tree, clock=clock),
        absent=lambda: RAPLBackend(tmp_path / "nowhere", clock=clock),
        lose=lose,
        true_j=lambda start_s, end_s: watts * (end_s - start_s),
        clock=clock,
        sleep=sleep,
    )
    check(case)


@every_check
def test_codecarbon_conforms(check: Check) -> None:
    """What its model gives is not the energy; where it comes from and how it fails is the same for everybody."""
    clock = FakeClock()
    tracker = FakeTracker()

    def lose() -> None:
        tracker.answers = False

    case = SensorCase(
        make=lambda: CodeCarbonBackend(tracker_factory=tracker, clock=clock, sleep=clock.sleep),
        absent=lambda: CodeCarbonBackend(tracker_factory=FakeTracker(fail_at="create"), clock=clock, sleep=clock.sleep),
        lose=lose,
        clock=clock,
        sleep=clock.sleep,
    )
    if check is suite.the_energy_is_that_of_the_window:
        with pytest.raises(NotApplicable):
            check(case)
    else:
        check(case)


class Shy(FakeEnergy):
    """Says that it cannot be read."""

    def problem(self) -> str | None:
        return "perhaps not today"


class Speechless(FakeEnergy):
    """Has no word for why not."""

    def problem(self) -> str | None:
        return None if self.power_w else ""


class Hopeful(FakeEnergy):
    """Is there whether its device is or not."""

    def is_available(self) -> bool:
        return True


@dataclass
class _Row:
    """A change to the row of a window."""

    change: Callable[[DeviceEnergy], DeviceEnergy]

    def of(self, found: EnergyMeasurement) -> EnergyMeasurement:
        return replace(found, devices=tuple(map(self.change, found.devices)))


class Nameless(FakeEnergy):
    """Does not say of which device its joules are."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return replace(super().stop_tracking(tracker), devices=())


class Elsewhere(FakeEnergy):
    """Reads another GPU than the one in use."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return _Row(lambda row: replace(row, device="GPU-9")).of(super().stop_tracking(tracker))


class Modest(FakeEnergy):
    """Models, and does not say so."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return _Row(lambda row: replace(row, source="modelled", basis="a guess")).of(super().stop_tracking(tracker))


class Twofold(FakeEnergy):
    """Adds its rows up twice."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        found = super().stop_tracking(tracker)
        return replace(found, total_j=None if found.total_j is None else 2 * found.total_j)


class SinceItsMaking(FakeEnergy):
    """Counts from when it was made."""

    def start_tracking(self) -> float:
        super().start_tracking()
        return 0.0


class InMilliseconds(FakeEnergy):
    """Tells the length of a window in milliseconds."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        found = super().stop_tracking(tracker)
        return replace(found, duration_sec=1000 * found.duration_sec)


class OneStart(FakeEnergy):
    """Knows one start only, whatever tracker it is given."""

    began_s = 0.0

    def start_tracking(self) -> float:
        self.began_s = super().start_tracking()
        return self.began_s

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return super().stop_tracking(self.began_s)


class Raising(FakeEnergy):
    """Raises when its device is gone."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        if self.power_w is None:
            raise OSError("the device is gone")
        return super().stop_tracking(tracker)


class Zeroing(FakeEnergy):
    """Gives 0 J when its device is gone."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        found = super().stop_tracking(tracker)
        return replace(found, total_j=found.total_j or 0.0, warnings=())


class Wordless(FakeEnergy):
    """Gives nothing and no reason when its device is gone."""

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        return replace(super().stop_tracking(tracker), warnings=())


class Lingering(FakeEnergy):
    """Begins to read with its first window, and goes on for good."""

    thread: threading.Thread | None = None

    def start_tracking(self) -> float:
        if self.thread is None:
            self.thread = threading.Thread(target=lambda: threading.Event().wait(3.0), daemon=True)
            self.thread.start()
        return super().start_tracking()


@pytest.mark.parametrize(
    ("kind", "check", "because"),
    [
        (Shy, suite.one_that_reads_its_device_says_so, "perhaps not today"),
        (Speechless, suite.one_without_its_device_says_why, "does not say why"),
        (Hopeful, suite.one_without_its_device_says_why, "and it says that it is"),
        (Nameless, suite.every_joule_has_its_origin, "joules without a device"),
        (Elsewhere, suite.every_joule_has_its_origin, "GPU-9 is no GPU in use"),
        (Modest, suite.every_joule_has_its_origin, "all its figures are modelled"),
        (Twofold, suite.the_total_is_made_of_its_rows, "100 J, its rows have 50 J"),
        (SinceItsMaking, suite.the_energy_is_that_of_the_window, "100 J, it were 50 J"),
        (InMilliseconds, suite.the_duration_is_that_of_the_window, "500.0 s of a window"),
        (OneStart, suite.a_window_inside_another_leaves_it_alone, "100 J, it were 150 J"),
        (Raising, suite.a_device_that_is_lost_is_no_energy, "the device is gone"),
        (Zeroing, suite.a_device_that_is_lost_is_no_energy, "0 J of a device that is not there"),
        (Wordless, suite.a_device_that_is_lost_is_no_energy, "no warning with the flag energy_unavailable"),
        (Lingering, suite.nothing_stays_behind, "threads stay behind"),
        (Elsewhere, suite.an_experiment_is_measured_with_it, "nothing was read of GPU-0, only of GPU-9"),
        (Nameless, suite.an_experiment_is_measured_with_it, "no row is part of the total"),
    ],
)
def test_a_sensor_that_is_wrong_does_not(kind: type[FakeEnergy], check: Check, because: str) -> None:
    with pytest.raises((AssertionError, OSError)) as caught:
        check(case_of(kind))
    assert because in str(caught.value)


def test_what_a_case_says_nothing_of_is_not_checked() -> None:
    bare = replace(case_of(), absent=None, lose=None, true_j=None)
    for check in (
        suite.one_without_its_device_says_why,
        suite.the_energy_is_that_of_the_window,
        suite.a_device_that_is_lost_is_no_energy,
    ):
        with pytest.raises(NotApplicable):
            check(bare)
