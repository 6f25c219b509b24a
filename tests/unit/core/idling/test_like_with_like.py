"""Idling on a card whose counter sees a part of the time, and whose own average sees all of it."""

from dataclasses import replace

import pytest

from bench.simulated_nvml import SimulatedClock, SimulatedNvml
from llenergymeasure.core.baseline import BaselineCache, BaselineStore, create_energy_breakdown, measure_baseline_power
from llenergymeasure.core.energy_backends import NVMLBackend
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.core.idling.reading import Reading
from llenergymeasure.core.idling.slices import Level
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.energy.calibration import Calibration, ReadingProperties
from llenergymeasure.domain.metrics import UNSEEN, DeviceEnergy, EnergyMeasurement
from nvmlsim import H100, Counter, Gpu, Scenario, Sensor, Trace
from tests.fakes.simulated import SimulatedSampler

UUID = Scenario(gpus=(Gpu(power_w=Trace.constant(60)),)).uuid(0)
COUNTER, AVERAGE = ("counter", "gpu"), ("NVML_FI_DEV_POWER_AVERAGE", "gpu")
# 100 and 20 W for 25 ms each while it idles: 60 W. What looks for 25 of every 100 ms sees 100 W always. Then 300 W.
POWER = Trace(((0.0, 60.0), (2.0, 100.0), (2.025, 20.0), (60.0, 300.0)), (2.0, 0.05))
LOAD_FROM_S = 60.0


def _reading(field: str, window_s: float) -> ReadingProperties:
    return ReadingProperties(field=field, update_s=0.1, window_s=window_s, lag_s=0.0, unexplained=0.01, n_readings=300)


FOUND = Calibration(
    device=UUID, name="H100", driver_version="1", timestamp=0.0, tool_version="2", load="test", duration_s=30.0,
    power=_reading("instant", 0.025), average=_reading("average", 1.0), counter_tick_s=0.1, counter_fed_by="power",
)  # fmt: skip


class Bench:
    """The card with the package's sensor of it, on a clock that begins at 5 s."""

    def __init__(self) -> None:
        sees = Sensor(0.1, 0.025, phase_s=0.025)
        gpu = Gpu(power_w=POWER, sensors=replace(H100, instant=sees), counter=Counter(phase_s=0.025, fed_by=sees))
        self.clock = SimulatedClock(5.0)
        device = NvidiaDriver(SimulatedNvml(Scenario(gpus=(gpu,)), self.clock)).device_by_uuid(UUID)
        recorder = GpuRecorder([device], self.clock, self.clock.sleep, calibrated=lambda _: FOUND)
        self.sampler = SimulatedSampler(recorder, self.clock)
        self.sensor = NVMLBackend(devices=(UUID,), sampler=self.sampler, clock=self.clock)

    def sleep(self, seconds: float) -> None:
        self.sampler.run_until(self.clock() + seconds)

    def baseline(self, seconds: float, store: BaselineStore | None = None) -> BaselineCache:
        found = measure_baseline_power(
            duration_sec=seconds,
            energy=self.sensor,
            devices=(UUID,),
            store=store or BaselineStore(),
            sleep=self.sleep,
            now=self.clock,
        )
        assert found is not None
        return found

    def window(self, seconds: float) -> EnergyMeasurement:
        self.sampler.run_until(LOAD_FROM_S + 2.0)
        with Tracking(self.sensor) as tracking:
            self.sleep(seconds)
        return tracking.measurement


def test_a_baseline_is_read_as_the_window_is() -> None:
    bench = Bench()
    baseline, window = bench.baseline(30.0), bench.window(20.0)
    assert Reading.of(window.devices[0]).name == AVERAGE
    assert baseline.reading_by_device[UUID].name == AVERAGE
    assert baseline.power_w == pytest.approx(60.0, rel=0.01)
    beside = baseline.beside(window.devices)
    assert beside == baseline
    left = create_energy_breakdown(window.total_j, beside, window.duration_sec, uncertainty_j=window.uncertainty_j)
    # 300 less 60 W over 20 s.
    assert left.adjusted_j == pytest.approx(240.0 * 20.0, rel=0.01)


def test_the_bound_of_one_that_is_too_short_for_that_holds_how_far_the_counter_may_be_off() -> None:
    bench = Bench()
    baseline, window = bench.baseline(10.0), bench.window(20.0)
    assert baseline.reading_by_device[UUID].name == COUNTER
    assert baseline.power_w == pytest.approx(100.0, rel=0.01)
    beside = baseline.beside(window.devices)
    assert beside is not None
    assert beside.power_uncertainty_w is not None
    assert baseline.power_uncertainty_w is not None
    # Two thirds of 100 W: what a load that idles half of the time may be off its mean at any moment.
    assert beside.power_uncertainty_w == pytest.approx(baseline.power_uncertainty_w + 200 / 3, rel=0.01)
    assert abs(beside.power_w - 60.0) <= beside.power_uncertainty_w
    left = create_energy_breakdown(window.total_j, beside, window.duration_sec, uncertainty_j=window.uncertainty_j)
    assert left.adjusted_j is not None
    assert left.adjusted_uncertainty_j is not None
    assert abs(left.adjusted_j - 240.0 * 20.0) <= left.adjusted_uncertainty_j
    # Beside what was read as it was it keeps its own.
    assert baseline.beside([replace(window.devices[0], source="counter")]) == baseline


def test_a_look_that_is_read_in_another_way_confirms_nothing() -> None:
    bench, store = Bench(), BaselineStore()
    first = bench.baseline(30.0, store)
    again = bench.baseline(30.0, store)
    assert again.from_cache is False
    assert again.timestamp > first.timestamp


GPU_ROW = DeviceEnergy(device=UUID, kind="gpu", energy_j=1.0, source="counter", uncertainty_parts_j={UNSEEN: 1.0})


def test_what_covers_something_else_is_neither_taken_off_nor_compared() -> None:
    idle = Level(power_w=60.0, uncertainty_w=1.0, readings={UUID: Reading.of(GPU_ROW)})
    module = replace(GPU_ROW, scope="module")
    assert idle.beside([module]) is None
    assert idle.beside([GPU_ROW]) == idle
    assert not idle.differs_from(Level(power_w=200.0, uncertainty_w=1.0, readings={UUID: Reading.of(module)}))
    assert idle.differs_from(Level(power_w=200.0, uncertainty_w=1.0, readings={UUID: Reading.of(GPU_ROW)}))
