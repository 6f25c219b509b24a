"""CodeCarbon's figures, from a tracker that stands in for its own."""

import pytest

from llenergymeasure.core.energy_backends import CodeCarbonBackend
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
        _tdp = 65

    tracker = FakeTracker()
    tracker._hardware = [CPU()]  # type: ignore[attr-defined]
    backend = _backend(tracker, clock)
    cpu = backend.stop_tracking(backend.start_tracking()).devices[0]
    assert (cpu.source, cpu.basis) == (source, basis)
    assert f"mode {mode}" in (cpu.field or "")
    assert ("rated power guessed at 65 W" in (cpu.field or "")) == (source == "modelled")
