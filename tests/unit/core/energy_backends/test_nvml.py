"""Joules from sampled power."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.energy_backends import NVMLBackend
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.power_thermal import PowerThermalSample, PowerThermalSampler
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.protocols import EnergyBackend
from llenergymeasure.testing import FakeClock
from tests.fakes.effort import examples
from tests.fakes.nvml import FakeGpu, FakeNvml
from tests.unit.core.conftest import NEVER_MS, ReplayedSampler, sampling_threads

POWER = "nvmlDeviceGetFieldValues"


def _replay(
    trace: list[tuple[float, float | None]], start_s: float, end_s: float, library: FakeNvml | None = None
) -> EnergyMeasurement:
    """What the backend makes of one GPU's samples in the window."""
    clock = FakeClock(start_s)
    samples = [PowerThermalSample(t, p, gpu_index=0) for t, p in trace]
    library = library or FakeNvml(FakeGpu("GPU-a"))
    backend = NVMLBackend(sampler=ReplayedSampler(library, samples), driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.time_s = end_s
    return backend.stop_tracking(tracker)


def test_three_samples_of_100_w_over_two_tenths_of_a_second_are_20_j() -> None:
    measured = _replay([(0.0, 100.0), (0.1, 100.0), (0.2, 100.0)], 0.0, 0.2)
    assert measured.total_j == pytest.approx(20.0, rel=1e-12)
    assert (measured.duration_sec, measured.samples, measured.warnings) == (0.2, 3, ())
    assert measured.per_gpu_j == pytest.approx({"GPU-a": 20.0})
    (row,) = measured.devices
    # The driver's whole milliwatts over 0.2 s, and at both edges an eighth of 0.1 s of a hidden swing, 4/3 of 100 W.
    assert row.uncertainty_j == pytest.approx(0.0002 + 2 * 400 / 3 * 0.1 / 8)
    assert row == DeviceEnergy(
        device="GPU-a",
        kind="gpu",
        energy_j=row.energy_j,
        source="integrated",
        uncertainty_j=row.uncertainty_j,
        uncertainty_parts_j=row.uncertainty_parts_j,
        update_period_s=0.1,
        field="NVML_FI_DEV_POWER_INSTANT",
        scope="gpu",
    )


@settings(max_examples=examples(100))
@given(phase_s=st.floats(0, 0.1), start_s=st.floats(1, 1.2), length_s=st.floats(0.3, 20))
def test_constant_power_gives_power_times_time_to_a_thousandth_whatever_the_phase(
    phase_s: float, start_s: float, length_s: float
) -> None:
    end_s = start_s + length_s
    times = [phase_s + 0.1 * i for i in range(10, 300) if phase_s + 0.1 * i <= end_s]
    measured = _replay([(t, 300.0) for t in times], start_s, end_s)
    assert measured.total_j == pytest.approx(300.0 * length_s, rel=1e-3)


def test_a_ramp_is_cut_at_the_true_edges_of_the_window() -> None:
    # 100 W + 50 W/s: 100 x 1.8 + 25 x (2.15^2 - 0.35^2) = 292.5 J. Nobody knows what the readings of this card are
    # means of: of 0.075 s earlier on the whole, in which power rises by 3.75 W: 6.75 J more.
    trace: list[tuple[float, float | None]] = [(i / 10, 100 + 50 * i / 10) for i in range(40)]
    assert _replay(trace, 0.35, 2.15).total_j == pytest.approx(299.25, rel=1e-9)


def test_a_failed_read_is_bridged_and_a_long_gap_gives_no_total() -> None:
    def trace(n_failed: int) -> list[tuple[float, float | None]]:
        return [(i / 10, None if 5 <= i < 5 + n_failed else 100.0) for i in range(21)]

    assert _replay(trace(2), 0.0, 2.0).total_j == pytest.approx(200.0)
    lost = _replay(trace(3), 0.0, 2.0)
    assert lost.total_j is None
    assert lost.devices[0].energy_j is None
    assert str(lost.warnings[0]).startswith("energy_unavailable: ")
    assert "GPU-a" in str(lost.warnings[0])


def test_two_gpus_are_summed_and_listed(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a", 100.0), FakeGpu("GPU-b", 250.0), FakeGpu("GPU-c", 9999.0), clock=clock)
    backend = NVMLBackend(devices=("GPU-a", "GPU-b"), interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(4)
    measured = backend.stop_tracking(tracker)
    assert measured.total_j == pytest.approx(1400.0)
    assert measured.per_gpu_j == pytest.approx({"GPU-a": 400.0, "GPU-b": 1000.0})
    assert [d.device for d in measured.devices] == ["GPU-a", "GPU-b"]
    assert library.n_open == 0
    assert sampling_threads() == []


def test_one_lost_gpu_of_two_leaves_no_total_and_is_named(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b"), clock=clock)
    library.fail(POWER, from_call=3, uuid="GPU-b")
    backend = NVMLBackend(devices=("GPU-a", "GPU-b"), interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(4)
    measured = backend.stop_tracking(tracker)
    assert measured.total_j is None
    assert [d.energy_j for d in measured.devices] == [pytest.approx(400.0), None]
    assert "GPU-b" in str(measured.warnings[0])
    assert "GPU-a" not in str(measured.warnings[0])


def test_the_index_is_the_drivers(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a", 100.0), FakeGpu("GPU-b", 250.0), clock=clock)
    backend = NVMLBackend(1, interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(2)
    assert backend.stop_tracking(tracker).per_gpu_j == pytest.approx({"GPU-b": 500.0})


def test_a_window_of_no_length_is_no_energy_and_no_error(clock: FakeClock) -> None:
    backend = NVMLBackend(interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a"))), clock=clock)
    measured = backend.stop_tracking(backend.start_tracking())
    assert measured.total_j is None
    assert str(measured.warnings[0]).startswith("energy_unavailable: ")


def test_without_a_driver_the_window_ends_with_a_reason(clock: FakeClock) -> None:
    library = FakeNvml()
    library.fail("nvmlInit")
    backend = NVMLBackend(driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(3)
    measured = backend.stop_tracking(tracker)
    assert (measured.total_j, measured.duration_sec) == (None, 3.0)
    assert "no NVIDIA driver answered" in str(measured.warnings[0])


def test_a_running_sampler_is_shared_and_goes_on(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"), clock=clock)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    backend = NVMLBackend(sampler=sampler, driver=NvidiaDriver(library), clock=clock)
    sampler.start()
    tracker = backend.start_tracking()
    assert library.calls["nvmlInit", None] == 1
    assert len(sampling_threads()) == 1
    backend.stop_tracking(tracker)
    assert len(sampling_threads()) == 1
    sampler.stop()


@pytest.mark.parametrize("was_running", [False, True])
def test_a_sampler_that_does_not_run_is_not_relied_on(clock: FakeClock, was_running: bool) -> None:
    library = FakeNvml(FakeGpu("GPU-a"), clock=clock)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    if was_running:
        sampler.start()
        sampler.stop()
    clock.sleep(1)
    backend = NVMLBackend(interval_ms=NEVER_MS, sampler=sampler, driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(4)
    assert backend.stop_tracking(tracker).total_j == pytest.approx(400.0)


def test_polling_every_100_ms_gives_power_times_time_in_real_time() -> None:
    backend = NVMLBackend(driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a", 300.0))))
    tracker = backend.start_tracking()
    time.sleep(0.25)
    measured = backend.stop_tracking(tracker)
    assert measured.duration_sec >= 0.25
    assert measured.total_j == pytest.approx(300.0 * measured.duration_sec, rel=1e-3)


@pytest.mark.parametrize(
    ("devices", "function", "reason"),
    [
        (None, "nvmlInit", "no NVIDIA driver answered"),
        (None, "nvmlDeviceGetUUID", "no GPU with NVML index 0 answers"),
        ((), None, "the experiment runs on the CPU"),
        (("GPU-zzz",), None, "GPU GPU-zzz does not answer"),
        (("GPU-a", "GPU-b"), POWER, "GPU-b reports no power"),
    ],
)
def test_it_is_available_only_if_every_gpu_gave_a_power(
    devices: tuple[str, ...] | None, function: str | None, reason: str
) -> None:
    library = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b", has_instant_power=function != POWER))
    if function == POWER:
        library.fail("nvmlDeviceGetPowerUsage", uuid="GPU-b")
    elif function is not None:
        library.fail(function)
    backend = NVMLBackend(devices=devices, driver=NvidiaDriver(library))
    assert not backend.is_available()
    assert reason in (backend.problem() or "")


def test_it_is_available_where_power_was_read() -> None:
    backend: EnergyBackend = NVMLBackend(devices=("GPU-a",), driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a"))))
    assert backend.is_available()
    assert isinstance(backend, EnergyBackend)


def _over_four_seconds(gpu: FakeGpu) -> EnergyMeasurement:
    clock = FakeClock(100.0)
    library = FakeNvml(gpu, clock=clock)
    backend = NVMLBackend(devices=(gpu.uuid,), interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    tracker = backend.start_tracking()
    clock.sleep(4)
    return backend.stop_tracking(tracker)


def test_the_counter_of_a_module_is_no_figure_of_its_gpu_and_no_power_of_the_gpu_its_witness() -> None:
    # 300 W of the GPU are 1200 J in four seconds; the counter of the module, 420 W, shows 1680.
    gpu = FakeGpu("GPU-a", 300.0, module_w=420.0, counter_mj=lambda t: round(420_000 * t))
    measured = _over_four_seconds(gpu)
    assert measured.total_j == pytest.approx(1200.0)
    (row,) = measured.devices
    assert (row.scope, row.source, row.field, row.witness_j) == (
        "gpu", "integrated", "NVML_FI_DEV_POWER_INSTANT", None,
    )  # fmt: skip
    said = [str(w) for w in measured.warnings if w.flag == "energy_counter_refused"]
    assert len(said) == 1
    assert "it covers the module, and what is read of power the gpu" in said[0]


def test_a_module_that_takes_more_than_its_gpu_may_is_believed() -> None:
    # 900 W are over half as much again as the 400 W that the GPU may take: 3600 J in four seconds.
    gpu = FakeGpu("GPU-a", 900.0, power_limit_w=400.0, is_module=True, counter_mj=lambda t: round(900_000 * t))
    measured = _over_four_seconds(gpu)
    assert measured.total_j == pytest.approx(3600.0)
    (row,) = measured.devices
    assert (row.scope, row.source) == ("module", "counter")
    assert [w.flag for w in measured.warnings] == []
