"""The wait between warm-up and measurement, in which temperatures settle."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llenergymeasure.config.models import WarmupConfig
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning

# Temperature follows power with a time constant of half a minute to three: power is steady long before. What has moved
# by no more than a degree in a minute has 1 / (exp(60/180) - 1) = 2.5 C left to go at most, and half a degree where the
# constant is a minute; over 15 s it would be 11.5. Sensors give whole degrees.
SETTLED_OVER_S = 60.0
SETTLED_C = 1.0
# Largest less smallest reading over their mean, of the last of that time: idle readings of one state differ by a few
# percent, clocks that still fall by more.
POWER_OVER_S = 15.0
SETTLED_POWER = 0.05
# Fewer readings of a GPU than this say nothing about steadiness.
_FEWEST_READINGS = 10
_LOOK_S = 1.0
# A newest sample that is older than this comes from a sampler that has stopped.
_STALE_S = 3.0


@dataclass(frozen=True)
class Floor:
    """How long to wait.

    ``floor_s``; less where everything settles earlier and that is allowed; longer, up to ``most_s``, where that is
    given and something has not settled by then.
    """

    floor_s: float
    may_end_early: bool = False
    most_s: float | None = None


@dataclass(frozen=True)
class FloorWait:
    """How long the floor lasted, and whether it ended before its time.

    ``settled`` says whether every GPU had settled when it ended; None where nobody looked.
    """

    waited_s: float
    ended_early: bool
    settled: bool | None = None


def wait_out(
    floor: Floor,
    n_gpus: int,
    samples: Callable[[], Sequence[PowerThermalSample]],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> FloorWait:
    """Wait for as long as the floor says.

    Args:
        floor: how long.
        n_gpus: GPUs in use; without any there is nothing to see, and the wait is ``floor.floor_s``.
        samples: the samples so far, stamped by ``clock``.
        clock: seconds.
        sleep: waits the given seconds.
    """
    looks = floor.may_end_early or floor.most_s is not None
    most_s = floor.floor_s if floor.most_s is None or n_gpus == 0 else floor.most_s
    start_s, slept_s = clock(), 0.0
    while True:
        # What was slept counts in any case: a sleep of somebody else's need not move this clock.
        waited_s = max(clock() - start_s, slept_s)
        settled = looks and has_settled(samples(), n_gpus, start_s, clock())
        if settled and (floor.may_end_early or waited_s >= floor.floor_s):
            return FloorWait(waited_s, ended_early=waited_s < floor.floor_s, settled=True)
        if waited_s >= most_s:
            return FloorWait(waited_s, ended_early=False, settled=False if looks else None)
        step_s = min(_LOOK_S, most_s - waited_s)
        sleep(step_s)
        slept_s += step_s


def has_settled(samples: Sequence[PowerThermalSample], n_gpus: int, start_s: float, now_s: float) -> bool:
    """Whether temperature and power of every GPU have stood still, the one for a minute, the other for 15 s.

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
    lately_s = now_s - POWER_OVER_S
    powers_w = [s.power_w for s in samples if s.power_w is not None and s.timestamp >= lately_s]
    if min(len(temperatures_c), len(powers_w)) < _FEWEST_READINGS:
        return False
    covered = samples[0].timestamp <= since_s + _STALE_S and samples[-1].timestamp >= now_s - _STALE_S
    steady_c = max(temperatures_c) - min(temperatures_c) <= SETTLED_C
    return covered and steady_c and max(powers_w) - min(powers_w) <= SETTLED_POWER * statistics.fmean(powers_w)


def thermal_floor_warnings(wait: FloorWait, asked: WarmupConfig) -> list[MeasurementWarning]:
    """Whether the wait before the measurement was cut short, or ended although temperatures had not settled."""
    if wait.ended_early:
        return [
            MeasurementWarning(
                "thermal_floor_ended_early",
                f"it ended after {wait.waited_s:.0f} of {asked.thermal_floor_seconds:g} s, when temperature and power "
                "had settled",
                "compare with results that waited as long, or leave warmup.thermal_floor_early_end out",
            )
        ]
    if wait.settled is False and asked.thermal_settle_max_s is not None:
        return [
            MeasurementWarning(
                "thermal_not_settled",
                f"after {wait.waited_s:.0f} s of idling with the model loaded the temperature of a GPU still moved (by "
                f"over {SETTLED_C:g} C in {SETTLED_OVER_S:g} s), or its power did, or neither could be read",
                "raise warmup.thermal_settle_max_s, or look after the cooling",
            )
        ]
    return []
