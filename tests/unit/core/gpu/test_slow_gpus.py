"""Eight GPUs whose driver takes milliseconds for a call: wide stamps and wide bounds, and nothing refused."""

import pytest

from bench.simulated_nvml import SimulatedClock, SimulatedNvml
from llenergymeasure.core.gpu.energy import GpuEnergy, GpuRecord, gpu_energy
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from nvmlsim import RTX40, Counter, Gpu, Scenario, Trace

N_GPUS, LENGTH_S, INTERVAL_S = 8, 2.037, 0.1
STEADY, WAVES = Trace.constant(300), Trace.square(200, 400, period_s=0.37)


def eight(power_w: Trace, shift_s: float) -> tuple[Gpu, ...]:
    """Cards that see everything, whose counters tick one after the other."""
    ticks = [Counter(phase_s=(shift_s + n / 80) % 0.1) for n in range(N_GPUS)]
    return tuple(
        Gpu(power_w=power_w, counter=tick, sensors=RTX40, name="NVIDIA GeForce RTX 4090", architecture="ada")
        for tick in ticks
    )


def measured(power_w: Trace, call_s: float, shift_s: float) -> tuple[list[GpuEnergy], float]:
    """What is found of each in a window that begins when its edge has been watched, and the true joules."""
    clock = SimulatedClock(10.0)
    library = SimulatedNvml(Scenario(gpus=eight(power_w, shift_s), epoch_s=0), clock, call_s=call_s)
    recorder = GpuRecorder(NvidiaDriver(library).devices(), clock, clock.sleep, together=clock.at_once)
    recorder.sample()
    recorder.watch_edge()
    start_s = clock()
    end_s, due_s = start_s + LENGTH_S, start_s + INTERVAL_S / 2
    while clock() < end_s:
        recorder.sample(in_full=False, is_awaited=lambda: clock() >= end_s)
        due_s = max(due_s + INTERVAL_S, clock())
        clock.sleep_until(min(due_s, end_s))
    edge_began_s = clock()
    recorder.watch_edge()
    # A sample that is under way, and the edge: together less than a second, or nobody waits for it.
    assert edge_began_s - end_s <= 8 * call_s
    assert clock() - end_s < 1.0
    found = [
        gpu_energy(
            GpuRecord(
                uuid=device.uuid,
                card=recorder.cards[device.uuid],
                samples=[s for s in recorder.samples() if s.gpu_index == device.index],
                counter_reads=recorder.counter_reads(device.uuid),
                interval_s=INTERVAL_S,
            ),
            start_s,
            end_s,
        )
        for device in recorder.devices
    ]
    return found, power_w.integral(start_s, end_s)


@pytest.mark.parametrize("call_s", [0.003, 0.005, 0.008])
@pytest.mark.parametrize("power_w", [STEADY, WAVES])
def test_eight_slow_gpus_are_all_measured_by_their_counters(power_w: Trace, call_s: float) -> None:
    for shift_s in (0.0, 0.031, 0.067):
        found, true_j = measured(power_w, call_s, shift_s)
        assert [gpu.row.source for gpu in found] == ["counter"] * N_GPUS, [str(w) for g in found for w in g.warnings]
        for gpu in found:
            assert gpu.row.energy_j is not None
            assert gpu.row.uncertainty_j is not None
            assert abs(gpu.row.energy_j - true_j) <= gpu.row.uncertainty_j
            # Two calls lie around a tick, which is off by one of them at most, twice at either edge; and a step of
            # power within the tick at an edge, the one before or the one after, is worth a quarter of it each.
            steps_j = 0 if power_w is STEADY else 2 * 3 * 0.1 * 200 / 4
            assert gpu.row.energy_j == pytest.approx(true_j, abs=4 * call_s * 400 + steps_j)
