"""What is believed of what Zeus returns, with a monitor that stands in for Zeus's."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from llenergymeasure.core.energy_backends import ZeusBackend
from llenergymeasure.core.energy_backends.base import SensorContext
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.energy_backends.zeus import judge
from llenergymeasure.core.gpu.energy import GpuEnergy
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.testing import FakeClock
from tests.fakes.nvml import FakeGpu, FakeNvml

A, B, C = "GPU-a", "GPU-b", "GPU-c"


class FakeMonitor:
    """Behaves as ``ZeusMonitor`` about windows; raises at the call whose log line is ``fail_at``."""

    def __init__(self, energies: dict[int, float], fail_at: str = "") -> None:
        self.energies = energies
        self.fail_at = fail_at
        self.log: list[str] = []
        self.indices: list[list[int]] = []
        self._open: set[str] = set()

    def __call__(self, indices: list[int]) -> "FakeMonitor":
        self.indices.append(indices)
        self._tell("create")
        return self

    def begin_window(self, key: str, sync_execution: bool = True) -> None:
        self._tell(f"begin sync={sync_execution}")
        if key in self._open:
            raise ValueError(f"Measurement window '{key}' already exists")
        self._open.add(key)

    def end_window(self, key: str, sync_execution: bool = True) -> SimpleNamespace:
        self._open.remove(key)
        self._tell(f"end sync={sync_execution}")
        return SimpleNamespace(gpu_energy=dict(self.energies))

    def _tell(self, line: str) -> None:
        self.log.append(line)
        if self.fail_at and line.startswith(self.fail_at):
            raise RuntimeError("the vendor library is gone")


def _backend(
    monitor: FakeMonitor, clock: FakeClock, devices: tuple[str, ...] | None = (A,), indices: list[int] | None = None
) -> ZeusBackend:
    return ZeusBackend(
        indices,
        devices=devices,
        monitor_factory=monitor,
        visible=lambda: (A, B, C),
        has_counter=lambda uuid: uuid != A,
        clock=clock,
    )


def test_gpus_given_by_uuid_are_watched_by_cudas_index_and_summed(clock: FakeClock) -> None:
    monitor = FakeMonitor({2: 300.0, 0: 45.5})
    backend = _backend(monitor, clock, devices=(C, A))
    tracker = backend.start_tracking()
    clock.sleep(5)
    measured = backend.stop_tracking(tracker)
    assert monitor.indices == [[2, 0]]
    assert (measured.total_j, measured.duration_sec, measured.warnings) == (345.5, 5.0, ())
    assert measured.per_gpu_j == {C: 300.0, A: 45.5}
    assert measured.devices == (
        DeviceEnergy(
            device=C,
            kind="gpu",
            energy_j=300.0,
            source="counter",
            field="ZeusMonitor gpu_energy",
            sensor="zeus",
            duration_sec=5.0,
        ),
        DeviceEnergy(
            device=A,
            kind="gpu",
            energy_j=45.5,
            source="integrated",
            field="ZeusMonitor gpu_energy",
            sensor="zeus",
            duration_sec=5.0,
        ),
    )


def test_by_default_all_visible_gpus_are_watched(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 1.0, 1: 2.0, 2: 3.0})
    assert _backend(monitor, clock, devices=None).is_available()
    assert _backend(monitor, clock, devices=None, indices=[1]).is_available()
    assert monitor.indices == [[0, 1, 2], [1]]


def test_zeus_never_synchronises_the_device_for_that_would_make_a_cuda_context(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 10.0})
    backend = _backend(monitor, clock)
    assert backend.is_available()
    backend.stop_tracking(backend.start_tracking())
    assert monitor.log == ["create", *["begin sync=False", "end sync=False"] * 2]


@pytest.mark.parametrize("energy_j", [0.0, -250.0, math.nan])
def test_an_energy_that_no_gpu_can_have_used_is_refused(clock: FakeClock, energy_j: float) -> None:
    backend = _backend(FakeMonitor({0: 120.0, 1: energy_j}), clock, devices=(A, B))
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [120.0, None]
    assert str(measured.warnings[0]).startswith("energy_unavailable: ")
    assert repr(energy_j) in str(measured.warnings[0])


def test_a_gpu_that_zeus_does_not_see_makes_it_unusable_and_leaves_no_total(clock: FakeClock) -> None:
    backend = _backend(FakeMonitor({0: 120.0}), clock, devices=(A, B))
    assert backend.problem() == "Zeus does not see GPU-b"
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [120.0, None]


@pytest.mark.parametrize("fail_at", ["create", "begin", "end"])
def test_a_library_that_raises_is_a_reason_and_never_an_error(clock: FakeClock, fail_at: str) -> None:
    backend = _backend(FakeMonitor({0: 120.0}, fail_at), clock)
    assert not backend.is_available()
    tracker = backend.start_tracking()
    clock.sleep(2)
    measured = backend.stop_tracking(tracker)
    assert (measured.total_j, measured.duration_sec) == (None, 2.0)
    assert "the vendor library is gone" in str(measured.warnings[0])


@pytest.mark.parametrize("fail_at", ["begin", "end"])
def test_a_gpu_lost_after_the_probe_is_a_reason_too(clock: FakeClock, fail_at: str) -> None:
    monitor = FakeMonitor({0: 120.0})
    backend = _backend(monitor, clock)
    assert backend.is_available()
    monitor.fail_at = fail_at
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert "the vendor library is gone" in str(measured.warnings[0])


@pytest.mark.parametrize(
    ("devices", "indices", "reason"),
    [
        ((), None, "the experiment runs on the CPU"),
        (("GPU-z",), None, "GPU-z is not visible to CUDA"),
        (None, [3], "3 are visible"),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    clock: FakeClock, devices: tuple[str, ...] | None, indices: list[int] | None, reason: str
) -> None:
    backend = _backend(FakeMonitor({0: 1.0}), clock, devices, indices)
    assert reason in (backend.problem() or "")


def test_without_a_visible_gpu_zeus_is_not_even_asked(clock: FakeClock) -> None:
    monitor = FakeMonitor({0: 0.0})
    backend = ZeusBackend(monitor_factory=monitor, visible=tuple, clock=clock)
    assert backend.problem() == "no NVIDIA GPU answered"
    assert monitor.log == []


ZEUS = DeviceEnergy(
    device=A, kind="gpu", energy_j=310.0, source="counter", field="ZeusMonitor gpu_energy", sensor="zeus"
)
SCOPED = replace(ZEUS, scope="gpu")
NVML = DeviceEnergy(
    device=A,
    kind="gpu",
    energy_j=300.0,
    source="counter",
    uncertainty_j=4.0,
    update_period_s=0.1,
    witness_j=298.0,
    sensor="nvml",
    scope="gpu",
)
SAID = MeasurementWarning("absurd_power", "what the witness said", device=A)
NVML_SAID = GpuEnergy(row=NVML, warnings=(SAID,))


BESIDE = replace(NVML, headline=False)


def test_without_a_witness_zeus_stands_as_it_is() -> None:
    assert judge(ZEUS, None, "", 10.0) == ((ZEUS,), ())
    lost = replace(ZEUS, energy_j=None)
    assert judge(lost, None, "", 10.0) == ((lost,), ())


def test_a_figure_that_the_witness_allows_is_bounded_by_how_far_apart_they_are_and_its_own_bound() -> None:
    (row, beside), warnings = judge(ZEUS, NVML_SAID, "", 10.0)
    assert row == replace(SCOPED, uncertainty_j=14.0, update_period_s=0.1, witness_j=300.0)
    assert beside == BESIDE
    assert warnings == (SAID,)


@pytest.mark.parametrize(("energy_j", "warned"), [(285.0, False), (284.9, True), (315.0, False), (315.1, True)])
def test_five_percent_of_the_witness_is_no_disagreement_and_more_is(energy_j: float, warned: bool) -> None:
    (row, _), warnings = judge(replace(ZEUS, energy_j=energy_j), NVML_SAID, "", 10.0)
    assert row.energy_j == energy_j
    assert row.uncertainty_j == pytest.approx(abs(energy_j - 300) + 4)
    assert [w.flag for w in warnings[1:]] == (["counter_disagreement"] if warned else [])


@pytest.mark.parametrize(("energy_j", "warned"), [(236.1, False), (235.9, True), (364.1, True)])
def test_in_a_short_window_a_tick_at_either_end_is_no_disagreement(energy_j: float, warned: bool) -> None:
    # Of a second at 300 W two ticks of 0.1 s are 60 J, and the witness's own bound is 4 J.
    _, warnings = judge(replace(ZEUS, energy_j=energy_j), NVML_SAID, "", 1.0)
    assert [w.flag for w in warnings[1:]] == (["counter_disagreement"] if warned else [])


def test_how_far_apart_they_are_is_told() -> None:
    _, (_, told) = judge(replace(ZEUS, energy_j=330.0), NVML_SAID, "", 10.0)
    for part in ("330 J", A, "300 J", "10.0% apart"):
        assert part in str(told)


def test_what_zeus_did_not_measure_the_witness_did_and_both_say_so() -> None:
    rows, warnings = judge(replace(ZEUS, energy_j=None), NVML_SAID, "Zeus returned -5.0 J", 10.0)
    assert rows == (replace(SCOPED, energy_j=None, headline=False), BESIDE)
    assert warnings[0] == SAID
    assert str(warnings[1]).startswith("zeus_refused: Zeus returned -5.0 J for GPU-a")
    assert "NVML's joules (counter)" in str(warnings[1])
    assert len(warnings) == 2


def test_a_counter_that_the_witness_refused_is_refused_from_zeus_too_and_what_zeus_read_is_kept() -> None:
    integrated = replace(NVML_SAID, row=replace(NVML, source="integrated", witness_j=None), counter_refused=True)
    rows, warnings = judge(ZEUS, integrated, "Zeus returned 310.0 J", 10.0)
    assert rows == (replace(SCOPED, headline=False), replace(integrated.row, headline=False))
    assert "not to be believed" in str(warnings[1])
    assert "NVML's joules (integrated)" in str(warnings[1])


def test_beside_a_card_that_averages_itself_zeus_is_neither_refused_nor_a_disagreement() -> None:
    averaged = replace(NVML_SAID, row=replace(NVML, source="integrated", energy_j=600.0, witness_j=310.0))
    (row, beside), warnings = judge(ZEUS, averaged, "Zeus returned 310.0 J", 10.0)
    assert (row.energy_j, row.uncertainty_j, beside.energy_j) == (310.0, 294.0, 600.0)
    assert warnings == (SAID,)


def test_zeus_without_a_counter_polls_power_as_the_witness_does_and_is_not_refused() -> None:
    integrated = replace(NVML_SAID, row=replace(NVML, source="integrated", witness_j=None))
    (row, _), warnings = judge(replace(ZEUS, source="integrated"), integrated, "", 10.0)
    assert (row.energy_j, row.source, row.uncertainty_j) == (310.0, "integrated", 14.0)
    assert warnings == (SAID,)


def test_a_witness_without_a_bound_leaves_how_far_apart_they_are() -> None:
    (row, _), _ = judge(ZEUS, replace(NVML_SAID, row=replace(NVML, uncertainty_j=None)), "", 10.0)
    assert row.uncertainty_j == 10.0


def test_zeus_alone_is_said_to_be_alone() -> None:
    blind = GpuEnergy(row=replace(NVML, energy_j=None), warnings=(SAID,), problem="the power was not read")
    (row,), warnings = judge(ZEUS, blind, "", 10.0)
    assert row == SCOPED
    assert list(map(str, warnings)) == [
        "absurd_power: what the witness said",
        "energy_witness_unavailable: Zeus alone measured GPU-a: the power was not read",
    ]


def test_where_neither_knows_there_is_no_energy() -> None:
    blind = GpuEnergy(row=replace(NVML, energy_j=None), problem="the power was not read")
    lost = replace(ZEUS, energy_j=None)
    assert judge(lost, blind, "", 10.0) == ((replace(SCOPED, energy_j=None),), ())


class Stamping:
    """The machine's clock, which keeps the first time that it tells after it was cleared."""

    first_s: float | None = None

    def __call__(self) -> float:
        now_s = time.monotonic()
        self.first_s = now_s if self.first_s is None else self.first_s
        return now_s


class TimedMonitor(FakeMonitor):
    """Gives watts times the length of the window, whenever a busy machine lets its threads begin and end."""

    def __init__(self, power_w: float, fail_at: str = "") -> None:
        super().__init__({}, fail_at)
        self.power_w = power_w
        self.begun_s = 0.0
        self.clock = Stamping()

    def end_window(self, key: str, sync_execution: bool = True) -> SimpleNamespace:
        self.energies = {0: self.power_w * ((self.clock.first_s or 0.0) - self.begun_s)}
        return super().end_window(key, sync_execution)


def _no_driver() -> SensorContext:
    """A context whose own samplers find nothing."""
    library = FakeNvml()
    library.fail("nvmlInit")
    return SensorContext(devices=(A,), driver=NvidiaDriver(library))


def _ticking_mj(time_s: float) -> int:
    """300 W, a tick every 20 ms."""
    return 6000 * int(time_s / 0.02)


@pytest.fixture
def watched() -> Iterator[Callable[[FakeGpu], SensorContext]]:
    """A context whose sampler already watches a card."""
    running: list[PowerThermalSampler] = []

    def watch(gpu: FakeGpu) -> SensorContext:
        running.append(PowerThermalSampler(devices=(gpu.uuid,), driver=NvidiaDriver(FakeNvml(gpu))))
        running[-1].start()
        return SensorContext(devices=(gpu.uuid,), sampler=running[-1])

    yield watch
    for sampler in running:
        sampler.stop()


def _beside(monitor: TimedMonitor, context: SensorContext) -> EnergyMeasurement:
    """What is measured over a quarter of a second."""
    backend = ZeusBackend(
        devices=(A,),
        monitor_factory=monitor,
        visible=lambda: (A,),
        has_counter=lambda _: True,
        context=context,
        clock=monitor.clock,
    )
    monitor.clock()
    monitor.fail_at, fail_at = "", monitor.fail_at
    assert backend.problem() is None
    monitor.fail_at = fail_at
    tracker = backend.start_tracking()
    time.sleep(0.25)
    monitor.begun_s, monitor.clock.first_s = tracker.start_s, None
    return backend.stop_tracking(tracker)


def test_beside_zeus_timed_ticks_bound_its_error(watched: Callable[[FakeGpu], SensorContext]) -> None:
    context = watched(FakeGpu(A, 300.0, counter_mj=_ticking_mj))
    monitor = TimedMonitor(309.0)
    measured = _beside(monitor, context)
    row, beside = measured.devices
    assert (row.source, row.field) == ("counter", "ZeusMonitor gpu_energy")
    assert (beside.sensor, beside.headline, beside.energy_j) == ("nvml", False, row.witness_j)
    assert row.witness_j == pytest.approx(300 * measured.duration_sec, rel=0.02)
    assert row.energy_j == measured.total_j == monitor.energies[0]
    # 3 % of 75 J, and the witness's own.
    assert row.uncertainty_j is not None
    assert row.uncertainty_j > abs((row.energy_j or 0) - (row.witness_j or 0))
    assert measured.uncertainty_j == row.uncertainty_j
    assert measured.warnings == ()
    assert isinstance(context.sampler, PowerThermalSampler)
    assert context.sampler.running


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        (TimedMonitor(-100.0), "Zeus returned -"),
        (TimedMonitor(0.0), "Zeus returned 0.0 J"),
        (TimedMonitor(300.0, "begin"), "Zeus could not begin"),
        (TimedMonitor(300.0, "end"), "Zeus could not read the GPU at the end"),
    ],
)
def test_where_zeus_has_no_figure_it_has_no_total_and_the_timed_ticks_stand_beside_it(
    watched: Callable[[FakeGpu], SensorContext], monitor: TimedMonitor, said: str
) -> None:
    measured = _beside(monitor, watched(FakeGpu(A, 300.0, counter_mj=_ticking_mj)))
    own, row = measured.devices
    assert (row.source, row.field, row.sensor) == ("counter", "nvmlDeviceGetTotalEnergyConsumption", "nvml")
    assert (own.device, own.energy_j, own.sensor, own.headline, row.headline) == (A, None, "zeus", False, False)
    assert row.uncertainty_j is not None
    assert row.energy_j == pytest.approx(300 * measured.duration_sec, abs=row.uncertainty_j)
    assert (measured.total_j, measured.per_gpu_j) == (None, None)
    lost, told = measured.warnings
    assert lost.flag == "energy_unavailable"
    assert str(told).startswith("zeus_refused: ")
    assert said in str(told)


def test_a_counter_that_stands_still_costs_zeus_its_figure(watched: Callable[[FakeGpu], SensorContext]) -> None:
    monitor = TimedMonitor(123.0)
    measured = _beside(monitor, watched(FakeGpu(A, 300.0, counter_mj=lambda _: 5)))
    own, row = measured.devices
    assert (row.source, own.source, own.headline) == ("integrated", "counter", False)
    assert own.energy_j == monitor.energies[0]
    assert measured.total_j is None
    assert row.energy_j == pytest.approx(300 * measured.duration_sec, rel=1e-3)
    assert [w.flag for w in measured.warnings] == ["energy_unavailable", "energy_counter_refused", "zeus_refused"]


def test_without_a_witness_zeus_alone_is_believed_and_that_is_said() -> None:
    monitor = TimedMonitor(300.0)
    measured = _beside(monitor, _no_driver())
    assert measured.total_j == monitor.energies[0]
    assert measured.uncertainty_j is None
    (told,) = measured.warnings
    assert str(told).startswith("energy_witness_unavailable: nothing ran beside Zeus: no NVIDIA driver answered")


def test_with_neither_zeus_nor_a_witness_there_is_no_energy() -> None:
    measured = _beside(TimedMonitor(300.0, "end"), _no_driver())
    assert measured.total_j is None
    assert str(measured.warnings[0]).startswith("energy_unavailable: Zeus could not read the GPU at the end")


def test_zeus_reads_the_counter_of_the_module_which_is_no_figure_of_the_gpu() -> None:
    # 300 W of the GPU over 4 s are 1200 J, of the module 420 W, 1680.
    clock = FakeClock(100.0)
    library = FakeNvml(FakeGpu(B, 300.0, module_w=420.0, counter_mj=lambda t: round(420_000 * t)), clock=clock)
    context = SensorContext(devices=(B,), interval_ms=3_600_000, driver=NvidiaDriver(library), clock=clock)
    sensor = ZeusBackend(
        devices=(B,),
        monitor_factory=FakeMonitor({0: 1680.0}),
        visible=lambda: (B,),
        has_counter=lambda _: True,
        context=context,
        clock=clock,
    )
    with Tracking(sensor) as tracking:
        clock.sleep(4)
    measured = tracking.measurement
    assert measured.total_j == pytest.approx(1200.0)
    rows = [(d.sensor, d.scope, d.source, d.headline) for d in measured.devices]
    assert rows == [("nvml", "gpu", "integrated", True), ("zeus", "module", "counter", False)]
    assert [d.energy_j for d in measured.devices] == pytest.approx([1200.0, 1680.0])
    assert "from a counter of the module, where power is the gpu's" in " ".join(map(str, measured.warnings))
