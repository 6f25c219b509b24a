"""What the simulated card draws and what its instruments show at a time: pure functions, for an injected clock.

All times are scenario time in seconds. The twin of the second half of csrc/physics.c.
"""

import math

from nvmlsim._scenario import Counter, Gpu, Sensor
from nvmlsim._trace import S_PER_NS, Trace, to_ns
from nvmlsim._windows import Windows


def true_power_w(gpu: Gpu, t_s: float) -> float:
    """Watts drawn at a time."""
    return gpu.power_w.value(t_s)


def true_energy_j(gpu: Gpu, t0_s: float, t1_s: float) -> float:
    """Joules drawn between two times; negative if t1 is before t0."""
    return gpu.power_w.integral(t0_s, t1_s)


def sensor_power_w(gpu: Gpu, sensor: Sensor, t_s: float) -> float:
    """What a power sensor on this card shows, in watts rounded to the driver's milliwatts."""
    update_ns, window_ns, phase_ns = to_ns(sensor.update_s), to_ns(sensor.window_s), to_ns(sensor.phase_s)
    refresh_ns = phase_ns + (to_ns(t_s) - phase_ns) // update_ns * update_ns
    energy_j = gpu.power_w.integral_ns(refresh_ns - window_ns, refresh_ns)
    mean_w = sensor.gain * (energy_j / (window_ns * S_PER_NS))
    return max(0, math.floor(mean_w * 1000 + 0.5)) / 1000


def counter_mj(gpu: Gpu, t_s: float) -> int:
    """What the energy counter shows, in millijoules.

    Raises:
        ValueError: the card has no counter.
    """
    counter = gpu.counter
    if counter is None:
        raise ValueError(f"{gpu.name} has no energy counter")
    tick_ns = max(0, _last_tick_ns(counter, to_ns(t_s)))
    resets_ns = [at_ns for at_ns in map(to_ns, counter.resets_s) if 0 <= at_ns <= tick_ns]
    since_ns = max(resets_ns, default=0)
    energy_j = _counted_j(gpu.power_w, counter, since_ns, tick_ns)
    for time_s, jump_j in counter.jumps:
        if to_ns(time_s) <= tick_ns and (not resets_ns or to_ns(time_s) > since_ns):
            energy_j += jump_j
    return max(0, (0 if resets_ns else counter.offset_mj) + math.floor(energy_j * 1000 + 0.5))


def _last_tick_ns(counter: Counter, t_ns: int) -> int:
    """The tick that set what the counter shows: ticks while it is stuck do not happen."""
    period_ns, phase_ns = to_ns(counter.tick_s), to_ns(counter.phase_s)
    stuck_ns = [(to_ns(from_s), to_ns(until_s)) for from_s, until_s in counter.stuck_s]
    tick_ns = phase_ns + (t_ns - phase_ns) // period_ns * period_ns
    while True:
        held_ns = [from_ns for from_ns, until_ns in stuck_ns if from_ns <= tick_ns < until_ns]
        if not held_ns:
            return tick_ns
        tick_ns = phase_ns + (-((phase_ns - held_ns[0]) // period_ns) - 1) * period_ns


def _counted_j(power_w: Trace, counter: Counter, since_ns: int, until_ns: int) -> float:
    sensor = counter.fed_by
    if sensor is None:
        return counter.gain * power_w.integral_ns(since_ns, until_ns)
    update_ns, window_ns, phase_ns = to_ns(sensor.update_s), to_ns(sensor.window_s), to_ns(sensor.phase_s)
    before = (since_ns - phase_ns) // update_ns + 1
    n_windows = (until_ns - phase_ns) // update_ns + 1 - before
    if n_windows <= 0:
        return 0.0
    windows = Windows(phase_ns + before * update_ns, update_ns, window_ns, n_windows)
    return counter.gain * (sensor.gain * power_w.seen(windows) * (update_ns / window_ns))
