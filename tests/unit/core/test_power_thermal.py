"""The sampler of power and device state."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.protocols import TelemetrySampler
from llenergymeasure.testing import FakeClock
from tests.fakes.effort import PATIENCE_S
from tests.fakes.nvml import FakeGpu, FakeNvml
from tests.unit.core.conftest import NEVER_MS, sampling_threads

POWER = "nvmlDeviceGetFieldValues"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(sampling_threads())
    yield
    for thread in set(sampling_threads()) - before:
        thread.join(PATIENCE_S)


def _until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_a_sample_holds_everything_in_the_units_of_its_names(clock: FakeClock) -> None:
    gpu = FakeGpu("GPU-a", 250.0, temperature_c=61, utilisation_pct=97, throttle_reasons=0x24)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(gpu)), clock=clock)
    sampler.start()
    sampler.stop()
    sample = sampler.get_samples()[0]
    assert (sample.power_w, sample.temperature_c, sample.sm_utilisation) == (250.0, 61.0, 97.0)
    assert (sample.memory_used_mb, sample.memory_total_mb) == (2000.0, 80_000.0)
    assert (sample.throttle_reasons, sample.thermal_throttle, sample.gpu_index) == (0x24, True, 0)
    assert isinstance(sampler, TelemetrySampler)


@pytest.mark.parametrize(("bits", "thermal"), [(0x0, False), (0x4, False), (0x80, False), (0x20, True), (0x40, True)])
def test_only_the_two_thermal_bits_are_thermal_throttling(bits: int, thermal: bool) -> None:
    sampler = PowerThermalSampler(
        sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a", throttle_reasons=bits)))
    )
    sampler.start()
    sampler.stop()
    assert {s.thermal_throttle for s in sampler.get_samples()} == {thermal}


def test_every_gpu_is_read_at_the_start_and_at_the_end(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b"), FakeGpu("GPU-c"))
    sampler = PowerThermalSampler(
        devices=("GPU-c", "GPU-a"), sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock
    )
    sampler.start()
    assert [d.uuid for d in sampler.devices] == ["GPU-c", "GPU-a"]
    clock.sleep(7)
    sampler.stop()
    assert [(s.timestamp, s.gpu_index) for s in sampler.get_samples()] == [(0, 2), (0, 0), (7, 2), (7, 0)]
    assert library.n_open == 0


def test_the_time_stamp_is_the_middle_of_the_power_call(clock: FakeClock) -> None:
    def slow(_: float) -> float:
        clock.time_s += 0.5
        return 100.0

    sampler = PowerThermalSampler(
        sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a", slow))), clock=clock
    )
    sampler.start()  # asks twice: whether the card has the field, and then the first sample
    sampler.stop()
    assert [s.timestamp for s in sampler.get_samples()] == [0.75, 1.25]


def test_a_failed_read_is_a_sample_with_none_in_its_place(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    library.fail("nvmlDeviceGetTemperature")
    library.fail(POWER, from_call=3)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    sampler.start()
    sampler.stop()
    assert [(s.power_w, s.temperature_c, s.sm_utilisation) for s in sampler.get_samples()] == [
        (100.0, None, 50.0),
        (None, None, 50.0),
    ]


def test_it_samples_in_the_background_until_it_is_stopped() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    sampler = PowerThermalSampler(sample_interval_ms=5, driver=NvidiaDriver(library))
    sampler.start()
    assert _until(lambda: len(sampler.get_samples()) >= 4)
    sampler.stop()
    times = [s.timestamp for s in sampler.get_samples()]
    assert times == sorted(set(times))
    assert sampling_threads() == []
    time.sleep(0.03)
    assert len(sampler.get_samples()) == len(times)
    assert library.n_open == 0


@pytest.mark.parametrize(
    ("devices", "driver", "reason"),
    [
        ((), True, "no GPU is in use"),
        (("GPU-zzz",), True, "GPU GPU-zzz does not answer"),
        (("GPU-a", "GPU-zzz"), True, "GPU GPU-zzz does not answer"),
        (None, False, "no NVIDIA driver answered"),
    ],
)
def test_with_nothing_to_watch_there_are_no_samples_and_a_reason(
    devices: tuple[str, ...] | None, driver: bool, reason: str
) -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    if not driver:
        library.fail("nvmlInit")
    sampler = PowerThermalSampler(devices=devices, driver=NvidiaDriver(library))
    sampler.start()
    sampler.stop()
    assert sampler.get_samples() == []
    assert reason in (sampler.problem or "")
    assert sampling_threads() == []
    assert library.n_open == 0


def test_stopping_what_was_never_started_or_has_stopped_changes_nothing(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    sampler.stop()
    assert sampler.get_samples() == []
    sampler.start()
    sampler.stop()
    sampler.stop()
    assert len(sampler.get_samples()) == 2
    assert library.n_open == 0


def test_a_second_start_after_a_stop_begins_anew(clock: FakeClock) -> None:
    sampler = PowerThermalSampler(
        sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a"))), clock=clock
    )
    sampler.start()
    sampler.stop()
    clock.sleep(5)
    sampler.start()
    clock.sleep(5)
    sampler.stop()
    assert [s.timestamp for s in sampler.get_samples()] == [5, 10]


def test_a_failed_second_start_watches_nothing(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    library.fail("nvmlInit", from_call=2)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    sampler.start()
    sampler.stop()
    sampler.start()
    assert list(sampler.devices) == []
    assert sampler.get_samples() == []


def test_starting_twice_leaves_one_thread_and_one_session() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    sampler = PowerThermalSampler(sample_interval_ms=20, driver=NvidiaDriver(library))
    sampler.start()
    sampler.start()
    threads, sessions = len(sampling_threads()), library.n_open
    sampler.stop()
    assert (threads, sessions) == (1, 1)
    assert library.n_open == 0


def test_a_driver_that_hangs_holds_up_the_end_by_a_second_and_keeps_its_library() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    hang = library.hang(POWER, from_call=3)
    sampler = PowerThermalSampler(sample_interval_ms=5, driver=NvidiaDriver(library))
    sampler.start()
    assert hang.entered.wait(PATIENCE_S)
    begin = time.monotonic()
    sampler.stop()
    took_s = time.monotonic() - begin
    open_under_the_call = library.n_open
    hang.release.set()
    assert took_s < 1.3
    assert "did not answer within 1 s" in (sampler.problem or "")
    assert [s.power_w for s in sampler.get_samples()][:1] == [100.0]
    assert open_under_the_call == 1


def test_a_driver_that_hangs_in_the_last_reading_holds_up_the_end_by_a_second_too() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    hang = library.hang(POWER, from_call=3)  # after the question for the field and the first sample
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library))
    sampler.start()
    begin = time.monotonic()
    sampler.stop()
    took_s = time.monotonic() - begin
    hang.release.set()
    assert took_s < 1.3


def test_a_thread_that_hung_does_not_go_on_sampling_for_the_next_start() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    hang = library.hang(POWER, from_call=3)
    sampler = PowerThermalSampler(sample_interval_ms=5, driver=NvidiaDriver(library))
    sampler.start()
    old: threading.Thread = sampling_threads()[-1]
    assert hang.entered.wait(PATIENCE_S)
    sampler.stop()
    sampler.start()
    hang.release.set()
    old.join(0.3)
    still_sampling = old.is_alive()
    sampler.stop()
    assert not still_sampling


def _counter_mj(time_s: float) -> int:
    """300 W, a tick every 20 ms."""
    return 6000 * int(time_s / 0.02)


def test_an_edge_is_watched_until_the_counter_ticked_twice() -> None:
    sampler = PowerThermalSampler(
        sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a", counter_mj=_counter_mj)))
    )
    sampler.start()
    begin = time.monotonic()
    sampler.watch_edge()
    end = time.monotonic()
    reads = sampler.counter_reads("GPU-a")
    sampler.stop()
    # Two ticks take 20 to 40 ms, and a busy machine as long as it likes.
    assert len({r.energy_j for r in reads if r.before_s >= begin}) >= 3
    assert all(begin <= r.before_s <= r.after_s <= end for r in reads[1:])
    assert len(reads) > 5
    assert [r.energy_j for r in reads] == sorted(r.energy_j or 0.0 for r in reads)
    assert sampler.problem is None


def test_edges_of_a_sampler_that_does_not_run_are_not_waited_for() -> None:
    library = FakeNvml(FakeGpu("GPU-a", counter_mj=lambda _: 5))
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library))
    begin = time.monotonic()
    sampler.watch_edge()
    sampler.start()
    sampler.stop()
    sampler.watch_edge()
    assert time.monotonic() - begin < 0.4
    assert len(sampler.counter_reads("GPU-a")) == 2


def test_a_driver_that_hangs_at_an_edge_holds_it_up_by_a_second_and_the_end_no_further() -> None:
    library = FakeNvml(FakeGpu("GPU-a", counter_mj=_counter_mj))
    hang = library.hang("nvmlDeviceGetTotalEnergyConsumption", from_call=2, seconds=5)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library))
    sampler.start()
    begin = time.monotonic()
    sampler.watch_edge()
    edge_s = time.monotonic() - begin
    sampler.stop()
    both_s = time.monotonic() - begin
    reads = sampler.counter_reads("GPU-a")
    hang.release.set()
    assert 0.9 < edge_s < 1.3
    assert both_s - edge_s < 0.3
    assert "did not answer within 1 s" in (sampler.problem or "")
    assert len(reads) == 1


def test_a_driver_that_hangs_at_the_start_holds_it_up_by_a_second() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    hang = library.hang("nvmlInit", seconds=5)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library))
    begin = time.monotonic()
    sampler.start()
    took_s = time.monotonic() - begin
    told = sampler.problem
    hang.release.set()
    sampler.stop()
    assert 0.9 < took_s < 1.3
    assert "did not answer within 1 s" in (told or "")


def test_what_the_readings_of_a_card_are_is_told_for_watched_ones_alone() -> None:
    gpus = FakeGpu("GPU-a", name="NVIDIA H100 80GB HBM3", architecture=9), FakeGpu("GPU-b")
    sampler = PowerThermalSampler(devices=("GPU-a",), sample_interval_ms=NEVER_MS, driver=NvidiaDriver(FakeNvml(*gpus)))
    assert sampler.counter_reads("GPU-a") == []
    sampler.start()
    sampler.stop()
    with pytest.raises(KeyError):
        sampler.card("GPU-b")
    assert sampler.card("GPU-a") == CardFacts(
        power_field="NVML_FI_DEV_POWER_INSTANT",
        power_lag_s=0.1,
        power_limit_w=700.0,
        sensor=PowerSensor(0.1, 0.025),
        driver="nvml",
        counter_field="nvmlDeviceGetTotalEnergyConsumption",
        average_field="NVML_FI_DEV_POWER_AVERAGE",
        average_sensor=PowerSensor(0.1, 1.0),
    )


def test_every_sample_reads_the_counter_as_well(clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a", counter_mj=lambda t: round(300_000 * t)), clock=clock)
    sampler = PowerThermalSampler(sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library), clock=clock)
    sampler.start()
    clock.sleep(7)
    sampler.stop()
    assert sampler.counter_reads("GPU-a") == [CounterRead(0, 0, 0.0), CounterRead(7, 7, 2100.0)]


def test_the_processor_time_of_reading_grows_and_begins_anew_with_a_start() -> None:
    def busy(_: float) -> float:
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
        return 100.0

    sampler = PowerThermalSampler(sample_interval_ms=10, driver=NvidiaDriver(FakeNvml(FakeGpu("GPU-a", busy))))
    assert sampler.cpu_time_s == 0.0
    sampler.start()
    assert _until(lambda: sampler.cpu_time_s > 0.02)
    seen_s = sampler.cpu_time_s
    assert _until(lambda: sampler.cpu_time_s > seen_s + 0.02)
    sampler.stop()
    stopped_s = sampler.cpu_time_s
    # One reading takes 10 ms, and so does the question for the field.
    assert stopped_s >= 0.009 * len(sampler.get_samples())
    time.sleep(0.03)
    assert sampler.cpu_time_s == stopped_s
    sampler.start()
    assert sampler.cpu_time_s < stopped_s
    sampler.stop()


def _pids_at_the_end(library: FakeNvml, *uuids: str) -> frozenset[int] | None:
    sampler = PowerThermalSampler(devices=uuids, sample_interval_ms=NEVER_MS, driver=NvidiaDriver(library))
    sampler.start()
    assert sampler.running_pids(uuids) is None
    sampler.stop()
    assert sampler.running_pids(("GPU-other",)) is None
    return sampler.running_pids(uuids)


def test_compute_and_graphics_processes_of_all_gpus_are_listed_once() -> None:
    library = FakeNvml(
        FakeGpu("GPU-a", compute_pids=(7, 8), graphics_pids=(8, 9)), FakeGpu("GPU-b", compute_pids=(7, 5))
    )
    assert _pids_at_the_end(library, "GPU-a", "GPU-b") == frozenset({5, 7, 8, 9})
    assert _pids_at_the_end(library, "GPU-b") == frozenset({5, 7})


def test_a_driver_that_does_not_say_is_no_empty_gpu() -> None:
    library = FakeNvml(FakeGpu("GPU-a", compute_pids=(7,)), FakeGpu("GPU-b", compute_pids=(5,)))
    library.fail("nvmlDeviceGetComputeRunningProcesses", uuid="GPU-a", value=3)
    assert _pids_at_the_end(library, "GPU-a") is None
    assert _pids_at_the_end(library, "GPU-a", "GPU-b") == frozenset({5})
    assert _pids_at_the_end(library, "GPU-c") is None
