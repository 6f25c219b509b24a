"""What is read of GPUs, by a clock that moves only when somebody sleeps or calls the driver."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest

from bench.simulated_nvml import SimulatedClock
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.testing import FakeClock
from tests.fakes.effort import PATIENCE_S
from tests.fakes.nvml import FakeGpu, FakeNvml

COUNTER = "nvmlDeviceGetTotalEnergyConsumption"


def ticking(tick_s: float = 0.1, phase_s: float = 0.03, call_s: float = 0.0, clock: FakeClock | None = None) -> FakeGpu:
    """A card of 300 W whose counter ticks; a call of it takes ``call_s`` of the clock."""

    def shown_mj(t: float) -> int:
        if clock is not None:
            clock.time_s += call_s
        return 1_000_000 + round(300_000 * tick_s) * int((t - phase_s) // tick_s + 1)

    return FakeGpu("GPU-a", 300.0, counter_mj=shown_mj)


@pytest.fixture
def session() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def recorder(session: ExitStack, library: FakeNvml, clock: FakeClock) -> GpuRecorder:
    return GpuRecorder(session.enter_context(NvidiaDriver(library).opened()).devices(), clock, clock.sleep, "nvml")


def joules(reads: list[CounterRead]) -> list[float | None]:
    return [read.energy_j for read in reads]


def test_an_edge_is_watched_twice_a_millisecond_until_two_ticks_were_seen(session: ExitStack, clock: FakeClock) -> None:
    # Ticks are at 0.03 and 0.13 s.
    watched = recorder(session, FakeNvml(ticking(), clock=clock), clock)
    watched.watch_edge()
    assert clock() == pytest.approx(0.13, abs=0.001)
    assert set(clock.log) == {"sleep 0.0005"}
    assert len(clock.log) in (260, 261)
    reads = watched.counter_reads("GPU-a")
    assert sorted({j for j in joules(reads) if j is not None}) == [1000, 1030, 1060]
    assert [r.before_s for r in reads] == sorted(r.before_s for r in reads)


def test_power_is_sampled_at_the_beginning_of_an_edge_and_at_its_end(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(ticking(), clock=clock), clock)
    watched.watch_edge()
    assert [s.timestamp for s in watched.samples()] == pytest.approx([0.0, 0.13], abs=0.001)
    assert [s.power_w for s in watched.samples()] == [300.0, 300.0]


def test_a_counter_that_does_not_tick_is_watched_for_half_a_second(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(FakeGpu("GPU-a", counter_mj=lambda _: 5), clock=clock), clock)
    watched.watch_edge()
    assert clock() == pytest.approx(0.5, abs=0.002)
    # Power meanwhile too: a gap of more than three refreshes would be none that is bridged.
    assert [s.timestamp for s in watched.samples()] == pytest.approx([0, 0.2, 0.4, 0.5], abs=0.002)


@pytest.mark.parametrize(("has_instant_power", "until_s"), [(True, 0.15), (False, 0.6)])
def test_after_a_window_power_is_sampled_until_readings_are_of_its_end(
    session: ExitStack, clock: FakeClock, has_instant_power: bool, until_s: float
) -> None:
    # Of an L40S nobody knows over what the instant field is a mean: 0.1 s at most, and up to a refresh old, 0.05 + 0.1.
    # nvmlDeviceGetPowerUsage is the mean of a second: 0.5 s and a refresh.
    gpu = FakeGpu("GPU-a", name="NVIDIA L40S", has_instant_power=has_instant_power)
    watched = recorder(session, FakeNvml(gpu, clock=clock), clock)
    watched.watch_edge(ended=True)
    times = [s.timestamp for s in watched.samples()]
    assert times[-1] == pytest.approx(until_s)
    assert max(b - a for a, b in pairwise(times)) <= 0.1 + 1e-9


def test_a_clock_that_stands_still_does_not_hold_up_the_end_of_a_window(session: ExitStack) -> None:
    watched = recorder(session, FakeNvml(FakeGpu("GPU-a"), clock=lambda: 5.0), FakeClock(5.0))
    watched = GpuRecorder(watched.devices, lambda: 5.0, lambda _: None)
    watched.watch_edge(ended=True)
    assert len(watched.samples()) == 3


def test_one_tick_is_not_enough(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(ticking(tick_s=0.4, phase_s=0.3), clock=clock), clock)
    watched.watch_edge()
    assert clock() == pytest.approx(0.5, abs=0.002)


def test_a_slow_driver_is_not_watched_for_longer_than_half_a_second(session: ExitStack, clock: FakeClock) -> None:
    # 20 ms a call: 1000 polls would take 20 s.
    gpu = ticking(tick_s=5.0, call_s=0.02, clock=clock)
    watched = recorder(session, FakeNvml(gpu, clock=clock), clock)
    watched.watch_edge()
    assert 0.5 <= clock() <= 0.5 + 3 * 0.021
    assert all(r.after_s - r.before_s == pytest.approx(0.02) for r in watched.counter_reads("GPU-a"))


def test_a_counter_that_fails_three_times_running_is_not_waited_for(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(FakeGpu("GPU-a"), clock=clock), clock)
    watched.watch_edge()
    assert clock.log == ["sleep 0.0005"] * 2
    # Two of five are those of the samples at both ends.
    assert joules(watched.counter_reads("GPU-a")) == [None] * 5
    assert len(watched.samples()) == 2


def test_two_failures_and_an_answer_are_waited_for(session: ExitStack, clock: FakeClock) -> None:
    shown = ticking().counter_mj
    assert shown is not None
    library = FakeNvml(FakeGpu("GPU-a"), clock=clock)
    n_calls = 0

    def two_of_three_fail(t: float) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls % 3:
            raise library.NVMLError(999)
        return shown(t)

    library.gpus[0].counter_mj = two_of_three_fail
    watched = recorder(session, library, clock)
    watched.watch_edge()
    assert clock() == pytest.approx(0.13, abs=0.004)


def side_by_side(session: ExitStack, clock: SimulatedClock, *gpus: FakeGpu) -> GpuRecorder:
    """Several GPUs whose edges are watched as if by threads."""
    devices = session.enter_context(NvidiaDriver(FakeNvml(*gpus, clock=clock)).opened()).devices()
    return GpuRecorder(devices, clock, clock.sleep, "nvml", clock.at_once)


def test_several_gpus_are_watched_until_each_ticked_twice_or_failed_three_times(session: ExitStack) -> None:
    clock = SimulatedClock()
    early, late, none = ticking(), ticking(phase_s=0.08), FakeGpu("GPU-c")
    late.uuid = "GPU-b"
    watched = side_by_side(session, clock, early, late, none)
    watched.watch_edge()
    # Ticks of the second are at 0.08 and 0.18 s; that of the first at 0.13 is not its last.
    assert clock() == pytest.approx(0.18, abs=0.001)
    assert sorted({j or 0 for j in joules(watched.counter_reads("GPU-b"))}) == [1000, 1030, 1060]
    assert watched.counter_reads("GPU-a")[-1].after_s == pytest.approx(clock(), abs=0.001)
    assert set(joules(watched.counter_reads("GPU-c"))) == {None}
    assert sorted(s.gpu_index or 0 for s in watched.samples()) == [0, 0, 1, 1, 2, 2]
    times = [s.timestamp for s in watched.samples()]
    assert times == sorted(times)


def test_the_edges_of_several_gpus_are_read_by_threads_that_end_with_it(session: ExitStack) -> None:
    # With a driver that waits until all three are in their calls at once, or for long.
    met = threading.Barrier(3, timeout=PATIENCE_S)
    n_calls: Counter[str] = Counter()

    def shown_mj(uuid: str) -> Callable[[float], int]:
        def shown(_: float) -> int:
            n_calls[uuid] += 1
            if n_calls[uuid] == 1:
                met.wait()
            return 1000 * n_calls[uuid]

        return shown

    gpus = [FakeGpu(f"GPU-{n}", counter_mj=shown_mj(f"GPU-{n}")) for n in range(3)]
    devices = session.enter_context(NvidiaDriver(FakeNvml(*gpus)).opened()).devices()
    watched = GpuRecorder(devices)
    n_threads = threading.active_count()
    watched.watch_edge()
    assert threading.active_count() == n_threads
    assert all(len(watched.counter_reads(gpu.uuid)) >= 3 for gpu in gpus)
    assert watched.cpu_aside_s > 0


def test_what_one_of_several_threads_raises_ends_the_edge(session: ExitStack) -> None:
    def broken(_: float) -> int:
        raise ValueError("no number")

    gpus = [FakeGpu("GPU-a", counter_mj=lambda _: 5), FakeGpu("GPU-b", counter_mj=broken)]
    devices = session.enter_context(NvidiaDriver(FakeNvml(*gpus)).opened()).devices()
    with pytest.raises(ValueError, match="no number"):
        GpuRecorder(devices).watch_edge()


def test_who_waits_for_something_else_waits_for_one_gpu_alone(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(ticking(), FakeGpu("GPU-b"), FakeGpu("GPU-c"), clock=clock), clock)
    watched.sample(is_awaited=lambda: len(watched.samples()) == 2)
    assert [s.gpu_index for s in watched.samples()] == [0, 1]


def test_the_power_limit_is_read_with_what_changes_slowly(session: ExitStack, clock: FakeClock) -> None:
    gpu = ticking()
    watched = recorder(session, FakeNvml(gpu, clock=clock), clock)
    watched.sample()
    gpu.power_limit_w = 450.0
    watched.sample(in_full=False)
    clock.sleep(0.6)
    watched.sample(in_full=False)
    assert [s.power_limit_w for s in watched.samples()] == [700.0, None, 450.0]
    gpu.power_limit_w = 0.0
    watched.watch_edge()
    assert watched.samples()[-1].power_limit_w is None


def test_a_sample_reads_the_counter_too_between_two_looks_at_the_clock(session: ExitStack, clock: FakeClock) -> None:
    gpu = ticking(call_s=0.01, clock=clock)
    watched = recorder(session, FakeNvml(gpu, clock=clock), clock)
    clock.time_s = 2.0
    watched.sample()
    # 20 ticks since 0.03 s.
    assert watched.counter_reads("GPU-a") == [CounterRead(2.0, 2.01, 1600.0)]


def test_what_is_handed_out_are_copies(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(ticking(), clock=clock), clock)
    watched.sample()
    watched.samples().clear()
    watched.counter_reads("GPU-a").clear()
    assert (len(watched.samples()), len(watched.counter_reads("GPU-a"))) == (1, 1)
    before = watched.samples()
    watched.sample()
    assert (len(before), len(watched.samples())) == (1, 2)


def test_after_closing_nothing_that_is_read_is_kept(session: ExitStack, clock: FakeClock) -> None:
    watched = recorder(session, FakeNvml(ticking(), clock=clock), clock)
    watched.sample()
    watched.close()
    watched.sample()
    watched.watch_edge()
    assert (len(watched.samples()), len(watched.counter_reads("GPU-a"))) == (1, 1)


def test_a_gpu_that_is_not_recorded_has_no_reads(session: ExitStack, clock: FakeClock) -> None:
    with pytest.raises(KeyError):
        recorder(session, FakeNvml(ticking(), clock=clock), clock).counter_reads("GPU-z")


A100 = PowerSensor(0.1, 0.025)


@pytest.mark.parametrize(
    ("gpu", "facts"),
    [
        (
            FakeGpu("GPU-a", name="NVIDIA H100 80GB HBM3", architecture=9, power_limit_w=650.0),
            CardFacts(
                power_field="NVML_FI_DEV_POWER_INSTANT",
                power_lag_s=0.1,
                power_limit_w=650.0,
                sensor=A100,
                driver="nvml",
                counter_field=COUNTER,
                average_field="NVML_FI_DEV_POWER_AVERAGE",
                average_sensor=PowerSensor(0.1, 1.0),
            ),
        ),
        (
            FakeGpu("GPU-a", name="NVIDIA A100-SXM4-80GB", architecture=7, has_instant_power=False),
            CardFacts(
                power_field="nvmlDeviceGetPowerUsage",
                power_lag_s=0.1,
                power_limit_w=700.0,
                sensor=A100,
                driver="nvml",
                counter_field=COUNTER,
                average_field="NVML_FI_DEV_POWER_AVERAGE",
            ),
        ),
        (
            FakeGpu("GPU-a", name="NVIDIA L40S", architecture=8, has_instant_power=False),
            CardFacts(
                power_field="nvmlDeviceGetPowerUsage",
                power_lag_s=1.0,
                power_averaged_s=1.0,
                power_limit_w=700.0,
                sensor=None,
                driver="nvml",
                counter_field=COUNTER,
                average_field="NVML_FI_DEV_POWER_AVERAGE",
            ),
        ),
    ],
)
def test_the_facts_of_a_card_are_read_at_once(
    session: ExitStack, clock: FakeClock, gpu: FakeGpu, facts: CardFacts
) -> None:
    library = FakeNvml(gpu, clock=clock)
    watched = recorder(session, library, clock)
    assert watched.cards == {"GPU-a": facts}
    assert watched.counter_reads("GPU-a") == []


def test_facts_that_the_driver_does_not_tell_are_not_known(session: ExitStack, clock: FakeClock) -> None:
    library = FakeNvml(FakeGpu("GPU-a", has_instant_power=False), clock=clock)
    for function in ("nvmlDeviceGetName", "nvmlDeviceGetArchitecture", "nvmlDeviceGetEnforcedPowerLimit"):
        library.fail(function)
    facts = recorder(session, library, clock).cards["GPU-a"]
    assert (facts.power_limit_w, facts.sensor, facts.power_lag_s) == (None, None, 1.0)
    # It may be the mean of a second, or not.
    assert facts.power_averaged_s is None


def test_processes_are_those_of_the_last_look(session: ExitStack, clock: FakeClock) -> None:
    gpu = FakeGpu("GPU-a", compute_pids=(7,), graphics_pids=(9,))
    library = FakeNvml(gpu, clock=clock)
    watched = recorder(session, library, clock)
    assert watched.pids == {}
    watched.read_pids()
    assert watched.pids == {"GPU-a": frozenset({7, 9})}
    library.fail("nvmlDeviceGetComputeRunningProcesses", from_call=2)
    watched.read_pids()
    assert watched.pids == {}
