"""The wait between warm-up and measurement, in which temperatures settle."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llenergymeasure.domain.telemetry import PowerThermalSample

# Settled means steady over this long. Heatsinks follow with a time constant of about half a minute: what
# has moved by a degree in 15 s has about a degree and a half left to go, A * (exp(15/30) - 1) = 1 C, far
# under the drift of 10 C in the window that is warned about.
SETTLED_OVER_S = 15.0
SETTLED_C = 1.0
# Largest less smallest reading over their mean: idle readings of one state differ by a few percent, clocks that
# still fall by more.
SETTLED_POWER = 0.05
# A minute is the habit; a third of it is the least for whatever the samples cannot show, such as memory.
LEAST_WAIT_S = 20.0
# Fewer readings of a GPU than this say nothing about steadiness.
_FEWEST_READINGS = 10
_SLICE_S = 1.0
# A newest sample that is older than this comes from a sampler that has stopped.
_STALE_S = 3.0


@dataclass(frozen=True)
class FloorWait:
    """How long the floor lasted, and whether it ended before its time."""

    waited_s: float
    ended_early: bool


def wait_until_settled(
    seconds: float,
    n_gpus: int,
    samples: Callable[[], Sequence[PowerThermalSample]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> FloorWait:
    """Wait, but no longer than until every GPU has settled.

    Args:
        seconds: the most to wait.
        n_gpus: GPUs in use; without any there is nothing to see, and the wait is full.
        samples: the samples so far, stamped by ``clock``.
        clock: seconds.
        sleep: waits the given seconds.
    """
    start_s = clock()
    while (waited_s := clock() - start_s) < seconds:
        if waited_s >= LEAST_WAIT_S and has_settled(samples(), n_gpus, start_s, clock()):
            return FloorWait(waited_s, ended_early=True)
        sleep(min(_SLICE_S, seconds - waited_s))
    return FloorWait(waited_s, ended_early=False)


def has_settled(samples: Sequence[PowerThermalSample], n_gpus: int, start_s: float, now_s: float) -> bool:
    """Whether temperature and power of every GPU have stood still for the last ``SETTLED_OVER_S``.

    Only samples since ``start_s`` count. A GPU that was read too seldom, or not lately, has not settled.

    Args:
        samples: [n] samples of one or more GPUs.
        n_gpus: how many GPUs there must be.
        start_s: start of the wait.
        now_s: the time, on the samples' clock.
    """
    since_s = now_s - SETTLED_OVER_S
    if n_gpus == 0 or since_s < start_s:
        return False
    recent: dict[int | None, list[PowerThermalSample]] = {}
    for sample in samples:
        if since_s <= sample.timestamp <= now_s:
            recent.setdefault(sample.gpu_index, []).append(sample)
    return len(recent) >= n_gpus and all(_steady(own, since_s, now_s) for own in recent.values())


def _steady(samples: Sequence[PowerThermalSample], since_s: float, now_s: float) -> bool:
    temperatures_c = [s.temperature_c for s in samples if s.temperature_c is not None]
    powers_w = [s.power_w for s in samples if s.power_w is not None]
    if min(len(temperatures_c), len(powers_w)) < _FEWEST_READINGS:
        return False
    covered = samples[0].timestamp <= since_s + _STALE_S and samples[-1].timestamp >= now_s - _STALE_S
    steady_c = max(temperatures_c) - min(temperatures_c) <= SETTLED_C
    return covered and steady_c and max(powers_w) - min(powers_w) <= SETTLED_POWER * statistics.fmean(powers_w)
