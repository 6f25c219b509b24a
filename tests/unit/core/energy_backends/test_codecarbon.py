"""CodeCarbon's figures, from a tracker that stands in for its own."""

from types import SimpleNamespace

import pytest

from llenergymeasure.core.energy_backends import CodeCarbonBackend
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.testing import FakeClock
from tests.fakes.codecarbon import FakeTracker


def _backend(tracker: FakeTracker, clock: FakeClock) -> CodeCarbonBackend:
    return CodeCarbonBackend(tracker_factory=tracker, clock=clock, sleep=clock.sleep)


def test_the_cpu_is_the_total_and_guessed_memory_is_only_listed(clock: FakeClock) -> None:
    backend = _backend(FakeTracker(), clock)
    tracker = backend.start_tracking()
    clock.sleep(3)
    measured = backend.stop_tracking(tracker)
    assert measured.total_j == pytest.approx(7.2)  # 2e-6 kWh x 3.6e6 J/kWh
    assert measured.duration_sec == 3.0
    cpu, ram = measured.devices
    assert (cpu.kind, cpu.energy_j, cpu.source) == ("cpu", measured.total_j, "modelled")
    assert (ram.kind, ram.source) == ("dram", "modelled")
    assert ram.energy_j == pytest.approx(3.6)


def test_the_slow_start_is_paid_once_by_the_probe(clock: FakeClock) -> None:
    tracker = FakeTracker()
    backend = _backend(tracker, clock)
    assert backend.is_available()
    assert clock.log == ["sleep 0.1"]
    for _ in range(2):
        backend.stop_tracking(backend.start_tracking())
    assert tracker.n_created == 1
    assert len(set(tracker.tasks)) == 3


def test_zero_is_no_measurement(clock: FakeClock) -> None:
    backend = _backend(FakeTracker(cpu_kwh=0.0), clock)
    assert backend.problem() == "CodeCarbon found no CPU power"
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [None, pytest.approx(3.6)]
    assert str(measured.warnings[0]).startswith("energy_unavailable: ")


@pytest.mark.parametrize("fail_at", ["create", "start", "stop"])
def test_a_library_that_raises_is_a_reason_and_never_an_error(clock: FakeClock, fail_at: str) -> None:
    backend = _backend(FakeTracker(fail_at=fail_at), clock)
    assert "lscpu was not found" in (backend.problem() or "")
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert "lscpu was not found" in str(measured.warnings[0])


def test_a_task_that_codecarbon_does_not_know_is_a_reason_too(clock: FakeClock) -> None:
    # Its stop_task answers None where start_task gave up without raising.
    tracker = FakeTracker()
    backend = _backend(tracker, clock)
    window = backend.start_tracking()
    tracker.answers = False
    assert backend.stop_tracking(window).total_j is None
    assert not backend.is_available()


class _Timed(FakeTracker):
    """A tracker that counts from half a second before a window of ours to a quarter after it, at ``power_w``."""

    def __init__(self, clock: FakeClock, power_w: float, mode: str = "cpu_load") -> None:
        super().__init__()
        cpu = type("CPU", (), {"_mode": mode, "_tdp": 8})
        self._hardware = [cpu()]
        self._clock, self._power_w = clock, power_w
        self._last_measured_time = 0.0

    def start_task(self, name: str) -> None:
        super().start_task(name)
        self._last_measured_time = self._clock()
        self._clock.sleep(0.5)

    def stop_task(self, name: str) -> SimpleNamespace | None:
        self._clock.sleep(0.25)
        seconds, self._last_measured_time = self._clock() - self._last_measured_time, self._clock()
        self.cpu_kwh = self._power_w * seconds / 3.6e6
        self.ram_kwh = 20 * seconds / 3.6e6
        return super().stop_task(name)


def _timed(clock: FakeClock, power_w: float, seconds: float, mode: str = "cpu_load") -> EnergyMeasurement:
    backend = _backend(_Timed(clock, power_w, mode), clock)
    window = backend.start_tracking()
    clock.sleep(seconds)
    return backend.stop_tracking(window)


@pytest.mark.parametrize("seconds", [0.15, 1.0, 60.0])
def test_a_short_window_takes_no_more_than_the_model_says_of_its_own_time(clock: FakeClock, seconds: float) -> None:
    measured = _timed(clock, 8.0, seconds)
    assert measured.duration_sec == pytest.approx(seconds)
    cpu, ram = measured.devices
    # Without it 8 W over a window of 0.15 s would be 48 W of it.
    assert measured.total_j == cpu.energy_j == pytest.approx(8 * seconds)
    assert ram.energy_j == pytest.approx(20 * seconds)


def test_a_figure_above_the_models_own_rated_power_is_refused(clock: FakeClock) -> None:
    measured = _timed(clock, 9.1, 10.0)
    assert measured.total_j is None
    assert [row.energy_j for row in measured.devices] == [None, pytest.approx(200.0)]
    assert "more than 86 J at the 8 W" in str(measured.warnings[0])


def test_what_codecarbon_reads_of_a_sensor_is_not_spread_over_another_time(clock: FakeClock) -> None:
    assert _timed(clock, 9.1, 10.0, "intel_rapl").total_j == pytest.approx(9.1 * 10.75)


def test_a_model_that_knows_no_time_of_its_own_is_held_against_the_time_of_both_calls(clock: FakeClock) -> None:
    tracker = FakeTracker(cpu_kwh=81 / 3.6e6)  # 80.8 J are what 8 W rounded up come to in 10 s
    tracker._hardware = [type("CPU", (), {"_mode": "cpu_load", "_tdp": 8})()]
    backend = _backend(tracker, clock)
    for seconds, total_j in ((10.5, 81.0), (10.0, None)):
        window = backend.start_tracking()
        clock.sleep(seconds)
        assert backend.stop_tracking(window).total_j == total_j


def test_settings_that_nothing_overrules_are_said(clock: FakeClock) -> None:
    tracker = FakeTracker()
    tracker._external_conf = {"pue": "1.5", "quantum_power": "3"}
    backend = _backend(tracker, clock)
    (warning,) = backend.stop_tracking(backend.start_tracking()).warnings
    assert warning.flag == "codecarbon_settings"
    assert warning.text.endswith(": quantum_power")


@pytest.mark.parametrize(
    ("mode", "source", "basis"),
    [
        ("cpu_load", "modelled", "CPU load"),
        ("constant", "modelled", "the CPU's rated power"),
        ("something new", "modelled", "a model of CodeCarbon's"),
        ("intel_rapl", "integrated", None),
    ],
)
def test_how_codecarbon_came_by_its_figure_goes_with_it(
    clock: FakeClock, mode: str, source: str, basis: str | None
) -> None:
    class CPU:
        _mode = mode
        _tdp = 6500

    tracker = FakeTracker()
    tracker._hardware = [CPU()]
    backend = _backend(tracker, clock)
    cpu = backend.stop_tracking(backend.start_tracking()).devices[0]
    assert (cpu.source, cpu.basis) == (source, basis)
    assert f"mode {mode}" in (cpu.field or "")
    assert ("rated power guessed at 6500 W" in (cpu.field or "")) == (source == "modelled")
