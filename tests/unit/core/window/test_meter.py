"""Rows of a window: all of the same time, however long each sensor takes to start and to stop."""

from pathlib import Path

import pytest

from llenergymeasure.core.energy_backends import RAPLBackend
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.window.meter import Window, WindowMeter
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import EnergyBackend
from llenergymeasure.testing import FakeClock, FakeEnergy, FakeSampler, fake_environment
from tests.fakes.rapl import Zone
from tests.fakes.searching import GPU_W, SEARCH_S, Searching

CPU_W = 50.0


class Unaware(FakeEnergy):
    """One from elsewhere with the four names only, as slow at both ends; its own window is between."""

    def start_tracking(self) -> float:
        self.clock.time_s += SEARCH_S
        return super().start_tracking()

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        found = super().stop_tracking(tracker)
        self.clock.time_s += SEARCH_S
        return found


class Machine(FakeClock):
    """A clock whose machine has a processor of 50 W, with a counter that stands in a file whenever time passes."""

    def __init__(self, root: Path) -> None:
        self.zone = Zone(root, "intel-rapl:0", "package-0")
        self._time_s = 0.0
        super().__init__()

    @property
    def time_s(self) -> float:
        return self._time_s

    @time_s.setter
    def time_s(self, time_s: float) -> None:
        self.zone.use(CPU_W * (time_s - self._time_s))
        self._time_s = time_s


def windowed(root: Path, sensor: type[Searching] | type[Unaware], seconds: float, *, at_once: bool = False) -> Window:
    """A window with RAPL beside a sensor of a GPU."""
    clock = Machine(root)
    energy: EnergyBackend = sensor(clock)
    meter = WindowMeter(
        Instruments(
            energy=energy,
            beside=RAPLBackend(root, clock=clock),
            sampler=FakeSampler(),
            snapshot=fake_environment,
            clock=clock,
            now=clock.now,
        )
    )
    meter.open(at_once=at_once)
    clock.time_s += seconds
    meter.close()
    return meter.window


@pytest.mark.parametrize("seconds", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("sensor", [Searching, Unaware])
def test_a_row_beside_a_gpu_is_of_the_window_and_of_no_search_for_its_edges(
    tmp_path: Path, sensor: type[Searching] | type[Unaware], seconds: float
) -> None:
    window = windowed(tmp_path, sensor, seconds)
    assert window.energy is not None
    gpu, package = window.energy.devices
    assert package.sensor == "rapl"
    # 50 W; two searches of 0.2 s would be 20 J more.
    assert package.energy_j == pytest.approx(CPU_W * seconds, abs=1e-5)
    assert package.duration_sec == pytest.approx(seconds)
    assert gpu.duration_sec == pytest.approx(seconds)
    assert window.duration_sec == pytest.approx(seconds)


def test_the_gpus_row_is_of_the_window_too(tmp_path: Path) -> None:
    window = windowed(tmp_path, Searching, 1.0)
    assert window.energy is not None
    assert window.energy.total_j == pytest.approx(GPU_W * 1.0)
    assert window.energy.duration_sec == pytest.approx(1.0)


def test_at_once_nothing_is_waited_for(tmp_path: Path) -> None:
    window = windowed(tmp_path, Searching, 1.0, at_once=True)
    assert window.start_s == 0.0
