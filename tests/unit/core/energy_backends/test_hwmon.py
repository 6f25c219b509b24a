"""Energy of Grace CPUs from a directory that looks like /sys/class/hwmon."""

import threading
from pathlib import Path

import pytest

from llenergymeasure.core.energy_backends import HwmonBackend
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.testing import FakeClock
from tests.fakes.hwmon import Meter


class _Readings:
    """A window in which every meter is read a second apart; the sensor's own thread first reads after a real one."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock(100.0)
        self.backend = HwmonBackend(root, clock=self.clock)
        self.window = self.backend.start_tracking()

    def second(self, meter: Meter | None = None, text: str = "") -> None:
        """Let a second pass, at the end of which a meter says this."""
        self.clock.sleep(1)
        if meter is not None:
            meter.say(text)
        self.window.watch.look()

    def end(self) -> EnergyMeasurement:
        return self.backend.stop_tracking(self.window)


def _superchip(root: Path) -> dict[str, Meter]:
    said = {"Module": 700.0, "Grace": 200.0, "CPU": 150.0, "SysIO": 50.0}
    return {
        what: Meter(root, f"hwmon{index}", f"{what} Power Socket 0", watts)
        for index, (what, watts) in enumerate(said.items())
    }


def test_a_socket_is_its_grace_rail_and_the_module_with_the_gpu_in_it_is_no_part_of_the_total(tmp_path: Path) -> None:
    _superchip(tmp_path)
    Meter(tmp_path, "hwmon8", "CPU Power Socket 1", 100.0)
    Meter(tmp_path, "hwmon9", "Fan Tray 0", 999.0)
    readings = _Readings(tmp_path)
    assert readings.backend.problem() is None
    for _ in range(10):
        readings.second()
    measured = readings.end()
    assert (measured.duration_sec, measured.warnings) == (10.0, ())
    assert measured.total_j == pytest.approx(3000.0)
    assert [(row.device, row.kind, row.scope, row.headline, row.source) for row in measured.devices] == [
        ("grace-0", "cpu", "package", None, "integrated"),
        ("cpu-1", "cpu", "package", None, "integrated"),
        ("module-0", "soc", "module", False, "integrated"),
    ]
    assert [row.energy_j for row in measured.devices] == pytest.approx([2000.0, 1000.0, 7000.0])
    # A milliwatt of each of the two sockets for ten seconds.
    assert measured.uncertainty_j == pytest.approx(0.02)
    assert measured.devices[0].update_period_s == 1.0
    assert measured.devices[0].field == f"{tmp_path}/hwmon1/power1_average (Grace Power Socket 0)"
    assert [thread for thread in threading.enumerate() if thread.name == "hwmon"] == []


def test_a_reading_is_of_the_time_before_it_and_a_step_is_inside_the_bound(tmp_path: Path) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 100.0)
    readings = _Readings(tmp_path)
    for _ in range(4):
        readings.second()
    # From the fifth second on 300 W, which the meter shows at its end as the mean of that second.
    for _ in range(6):
        readings.second(grace, "300000000")
    measured = readings.end()
    assert measured.total_j is not None
    assert measured.uncertainty_j is not None
    # 4 s of 100 W and 6 s of 300 W.
    assert measured.total_j == pytest.approx(2200.0, abs=measured.uncertainty_j)
    assert measured.uncertainty_j <= 0.2 * 2200.0


@pytest.mark.parametrize("bad", ["", "garbage", "0", "-3", "9000000000"])
def test_a_reading_that_cannot_be_is_a_gap_that_is_bridged(tmp_path: Path, bad: str) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 200.0)
    readings = _Readings(tmp_path)
    for _ in range(4):
        readings.second()
    readings.second(grace, bad)
    for _ in range(5):
        readings.second(grace, "200000000")
    measured = readings.end()
    assert measured.total_j == pytest.approx(2000.0)
    # The second that no reading is of, at 200 W, and a milliwatt for ten.
    assert measured.uncertainty_j == pytest.approx(200.0 + 0.01)


@pytest.mark.parametrize("refused", [range(1, 3), range(9, 11)])
def test_refused_readings_at_an_edge_are_in_the_bound(tmp_path: Path, refused: range) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 200.0)
    readings = _Readings(tmp_path)
    if 1 in refused:
        # The reading at the start, of the second before it, is refused too.
        grace.say("0")
        readings.window = readings.backend.start_tracking()
    for second in range(1, 11):
        readings.second(grace, "0" if second in refused else "200000000")
    measured = readings.end()
    assert measured.total_j == pytest.approx(2000.0)
    assert measured.uncertainty_j == pytest.approx(2 * 200.0 + 0.01)


def test_more_refused_readings_than_are_bridged_have_no_figure(tmp_path: Path) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 200.0)
    readings = _Readings(tmp_path)
    for second in range(1, 11):
        readings.second(grace, "0" if second in range(4, 8) else "200000000")
    measured = readings.end()
    assert measured.total_j is None
    assert "it says 0 W" in str(measured.warnings[0])


@pytest.mark.parametrize("seconds", [19, 18])
def test_a_meter_that_reads_the_same_twenty_times_may_be_stuck(tmp_path: Path, seconds: int) -> None:
    Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 20.0)
    readings = _Readings(tmp_path)
    for _ in range(seconds):
        readings.second()
    measured = readings.end()
    assert measured.total_j == pytest.approx(20.0 * seconds)
    if seconds == 18:
        assert measured.warnings == ()
        assert measured.uncertainty_j == pytest.approx(0.018)
        return
    (warning,) = measured.warnings
    assert (warning.flag, warning.device) == ("power_may_be_stuck", "grace-0")
    assert "20 W" in warning.text
    # A second of 20 W at either edge.
    assert measured.uncertainty_j == pytest.approx(2 * 20.0 + 0.019)


def test_a_meter_that_sticks_after_it_has_moved_may_be_stuck_and_a_moving_one_is_not(tmp_path: Path) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 100.0)
    readings = _Readings(tmp_path)
    for second in range(60):
        readings.second(grace, str(100_000_000 + second % 2 * 1000))
    assert readings.end().warnings == ()

    readings = _Readings(tmp_path)
    for second in range(60):
        readings.second(grace, str(100_000_000 + min(second, 20) * 1_000_000))
    measured = readings.end()
    assert [warning.flag for warning in measured.warnings] == ["power_may_be_stuck"]
    assert measured.uncertainty_j is not None
    assert measured.uncertainty_j >= 2 * 120.0


def test_a_meter_that_is_lost_has_no_figure_and_a_reason(tmp_path: Path) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 200.0)
    readings = _Readings(tmp_path)
    for _ in range(4):
        readings.second()
    for _ in range(6):
        readings.second(grace, "")
    measured = readings.end()
    assert (measured.total_j, measured.uncertainty_j) == (None, None)
    (warning,) = measured.warnings
    assert warning.flag == "energy_unavailable"
    assert warning.text.startswith("grace-0: it was not read often enough")


def test_one_socket_of_two_is_no_total_and_a_lost_module_costs_itself(tmp_path: Path) -> None:
    _superchip(tmp_path)
    second = Meter(tmp_path, "hwmon7", "Grace Power Socket 1", 80.0)
    readings = _Readings(tmp_path)
    readings.second()
    for _ in range(6):
        readings.second(second, "")
    measured = readings.end()
    assert measured.total_j is None
    assert {row.device: row.energy_j for row in measured.devices if row.energy_j is None} == {"grace-1": None}

    module = tmp_path / "hwmon0" / "power1_average"
    second.show(80.0)
    readings = _Readings(tmp_path)
    module.write_text("no\n")
    for _ in range(6):
        readings.second()
    measured = readings.end()
    assert measured.total_j == pytest.approx(6 * 280.0)
    (warning,) = measured.warnings
    assert (warning.flag, warning.device) == ("not_in_the_total", "module-0")


def test_without_a_grace_cpu_there_is_a_reason_and_what_to_do(tmp_path: Path) -> None:
    Meter(tmp_path, "hwmon0", "Module Power Socket 0", 600.0)
    backend = HwmonBackend(tmp_path)
    assert "no power meters of a Grace CPU" in (backend.problem() or "")
    assert "acpi_power_meter" in backend.remedy
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert measured.warnings[0].flag == "energy_unavailable"


def test_a_meter_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    grace = Meter(tmp_path, "hwmon0", "Grace Power Socket 0", 200.0, interval_ms=None)
    backend = HwmonBackend(tmp_path)
    assert backend.problem() is None
    grace.say("garbage")
    assert f"{grace.path / 'power1_average'} cannot be read" in (backend.problem() or "")


def test_meters_of_an_older_kernel_lie_a_folder_deeper(tmp_path: Path) -> None:
    Meter(tmp_path, "hwmon0/device", "Grace Power Socket 0", 200.0)
    assert HwmonBackend(tmp_path).problem() is None
