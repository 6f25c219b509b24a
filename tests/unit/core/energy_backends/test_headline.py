"""Which of several readings of one device is the result's, and that it is the one that is right."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

import nvmlsim
from bench.simulated_nvml import SimulatedClock, SimulatedNvml
from llenergymeasure.core.energy_backends import ZeusBackend
from llenergymeasure.core.energy_backends.base import SensorContext
from llenergymeasure.core.energy_backends.headline import best_founded
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.simulated import SimulatedSampler

A, B = "GPU-a", "GPU-b"
OWN = DeviceEnergy(
    device=A,
    kind="gpu",
    energy_j=286.0,
    source="counter",
    uncertainty_j=18.0,
    sensor="zeus",
    scope="gpu",
    headline=True,
)
TIMED = replace(OWN, energy_j=300.0, uncertainty_j=4.0, sensor="nvml", headline=False)
DRAM = DeviceEnergy(
    device="dram-0", kind="dram", energy_j=9.0, source="counter", sensor="zeus", scope="dram", headline=False
)
LOST = MeasurementWarning("energy_unavailable", "Zeus returned nothing")


def of(
    *rows: DeviceEnergy, total_j: float | None = 286.0, warnings: Sequence[MeasurementWarning] = ()
) -> EnergyMeasurement:
    return EnergyMeasurement(total_j, 1.0, 2, devices=rows, uncertainty_j=18.0, warnings=tuple(warnings))


def test_the_reading_with_the_smaller_bound_is_the_headline_and_both_stay() -> None:
    found = best_founded(of(OWN, TIMED, DRAM), "zeus")
    assert (found.total_j, found.uncertainty_j, found.per_gpu_j) == (300.0, 4.0, {A: 300.0})
    assert found.devices == (replace(TIMED, headline=True), replace(OWN, headline=False), DRAM)


@pytest.mark.parametrize(
    "beside",
    [
        replace(TIMED, uncertainty_j=19.0),
        replace(TIMED, uncertainty_j=None),
        replace(TIMED, energy_j=None),
        replace(TIMED, source="modelled"),
        replace(TIMED, scope="module"),
        replace(TIMED, device=B),
        replace(TIMED, sensor="zeus"),
    ],
    ids=["wider", "without a bound", "without a figure", "modelled", "of more", "of another", "its own"],
)
def test_no_other_takes_the_place(beside: DeviceEnergy) -> None:
    given = of(OWN, beside, DRAM)
    assert best_founded(given, "zeus") is given


def test_a_reading_without_a_bound_comes_after_one_that_has_one() -> None:
    assert best_founded(of(replace(OWN, uncertainty_j=None), TIMED), "zeus").total_j == 300.0


def test_what_its_own_sensor_refused_is_passed_over_however_small_its_bound() -> None:
    refused = replace(OWN, uncertainty_j=0.1, headline=False)
    found = best_founded(of(refused, TIMED, total_j=None, warnings=[LOST]), "zeus")
    assert (found.total_j, found.devices) == (300.0, (replace(TIMED, headline=True), refused))
    assert found.warnings == ()


def test_each_gpu_has_its_own_best_reading_and_the_total_is_of_all() -> None:
    second = replace(OWN, device=B, energy_j=100.0, uncertainty_j=1.0)
    found = best_founded(of(OWN, TIMED, second, replace(TIMED, device=B, energy_j=99.0)), "zeus")
    assert (found.total_j, found.uncertainty_j) == (400.0, 5.0)
    assert [(d.device, d.sensor) for d in found.devices if d.headline] == [(A, "nvml"), (B, "zeus")]


def test_a_gpu_of_which_nobody_knows_leaves_no_total_and_the_reason() -> None:
    blind = replace(OWN, device=B, energy_j=None, uncertainty_j=None)
    found = best_founded(of(OWN, TIMED, blind, total_j=None, warnings=[LOST]), "zeus")
    assert (found.total_j, found.uncertainty_j) == (None, None)
    assert found.warnings == (LOST,)
    assert [(d.device, d.energy_j) for d in found.devices if d.headline] == [(A, 300.0), (B, None)]


@dataclass
class PlainDifferences:
    """``ZeusMonitor``: what the counter shows at the end of a window, less what it showed at the beginning."""

    gpu: Gpu
    clock: SimulatedClock
    read_at_s: float | None = None
    begun_mj: dict[str, int] = field(default_factory=dict)

    def begin_window(self, key: str, sync_execution: bool) -> None:
        self.begun_mj[key] = nvmlsim.counter_mj(self.gpu, self.clock())

    def end_window(self, key: str, sync_execution: bool) -> SimpleNamespace:
        at_s = self.clock() if self.read_at_s is None else self.read_at_s
        energy_mj = nvmlsim.counter_mj(self.gpu, at_s) - self.begun_mj[key]
        # The probe's window has no length.
        return SimpleNamespace(gpu_energy={0: max(energy_mj, 1) / 1000})


def measured(phase_s: float, seconds: float) -> EnergyMeasurement:
    """A window of constant 300 W through Zeus, NVML beside it, whose counter ticks every 0.1 s from ``phase_s``."""
    gpu = Gpu(power_w=Trace.constant(300.0), counter=Counter(tick_s=0.1, phase_s=phase_s))
    scenario, clock = Scenario(gpus=(gpu,)), SimulatedClock(5.0)
    uuid = scenario.uuid(0)
    device = NvidiaDriver(SimulatedNvml(scenario, clock)).device_by_uuid(uuid)
    sampler = SimulatedSampler(GpuRecorder([device], clock, clock.sleep, driver="nvml"), clock)
    monitor = PlainDifferences(gpu, clock)
    sensor = ZeusBackend(
        devices=(uuid,),
        monitor_factory=lambda _: monitor,
        visible=lambda: (uuid,),
        has_counter=lambda _: True,
        context=SensorContext(devices=(uuid,), sampler=sampler, clock=clock),
        clock=clock,
    )
    assert sensor.problem() is None
    sampler.recorder.sample()
    with Tracking(sensor) as tracking:
        end_s = clock() + seconds
        sampler.run_until(end_s)
        monitor.read_at_s = end_s
    return tracking.measurement


def test_zeus_is_selected_and_the_joules_are_right_to_a_thousandth() -> None:
    """A window that starts right after a tick costs a plain difference half a tick on average, 4.8 % of 1.05 s."""
    found = [measured(phase_s=i * 0.0042, seconds=1.05) for i in range(24)]
    for each in found:
        assert each.total_j == pytest.approx(300.0 * each.duration_sec, rel=1e-3)
        assert each.uncertainty_j is not None
        own = next(d for d in each.devices if d.sensor == "zeus")
        assert (own.headline, own.source) == (False, "counter")
        assert own.energy_j == pytest.approx(300.0, rel=1e-6)
        assert each.warnings == ()
