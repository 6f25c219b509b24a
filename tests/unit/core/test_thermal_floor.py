"""A thermal floor that may end early, and only then."""

from collections.abc import Callable

import pytest

from llenergymeasure.core.thermal_floor import FloorWait, has_settled, wait_until_settled
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.testing import FakeClock

Reading = Callable[[float], float | None]


class Machine:
    """GPUs read every 100 ms on a fake clock, from ``START_S`` until ``dies_s`` later."""

    START_S = 1000.0

    def __init__(self, *gpus: tuple[Reading, Reading], dies_s: float = 1e9, interval_s: float = 0.1) -> None:
        self.clock = FakeClock(self.START_S)
        self._gpus = gpus
        self._dies_s = dies_s
        self._interval_s = interval_s

    def samples(self) -> list[PowerThermalSample]:
        elapsed_s = min(self.clock() - self.START_S, self._dies_s)
        times = [i * self._interval_s for i in range(round(elapsed_s / self._interval_s) + 1)]
        return [
            PowerThermalSample(self.START_S + t, power_w(t), temperature_c(t), gpu_index=gpu)
            for t in times
            for gpu, (power_w, temperature_c) in enumerate(self._gpus)
        ]

    def wait(self, seconds: float = 60.0, n_gpus: int | None = None) -> FloorWait:
        n = len(self._gpus) if n_gpus is None else n_gpus
        return wait_until_settled(seconds, n, self.samples, self.clock, self.clock.sleep)


def steady(value: float) -> Reading:
    return lambda _: value


def until(end_s: float, before: float, after: float) -> Reading:
    return lambda t: before if t < end_s else after


def alternating(low: float, high: float) -> Reading:
    return lambda t: low if round(t * 10) % 2 else high


COLD = (steady(80.0), steady(40.0))


def test_what_is_steady_from_the_start_still_waits_the_least_time() -> None:
    assert Machine(COLD).wait() == FloorWait(20.0, ended_early=True)


@pytest.mark.parametrize(
    ("gpu", "waited_s"),
    [
        ((steady(80.0), until(12.0, 60.0, 50.0)), 27.0),  # fifteen seconds after the last change
        ((until(7.5, 200.0, 80.0), steady(40.0)), 23.0),  # in whole seconds
        ((steady(80.0), until(12.0, 51.0, 50.0)), 20.0),  # a degree is steady
        ((alternating(100.0, 105.0), steady(40.0)), 20.0),  # 5 of 102.5 W: 4.9 %
        ((lambda t: 80.0 if round(t * 10) % 5 else None, steady(40.0)), 20.0),  # some reads failed
    ],
)
def test_the_floor_ends_when_temperature_and_power_have_stood_still(
    gpu: tuple[Reading, Reading], waited_s: float
) -> None:
    assert Machine(gpu).wait() == FloorWait(waited_s, ended_early=True)


@pytest.mark.parametrize(
    "machine",
    [
        Machine((steady(80.0), lambda t: 80.0 - t / 5)),  # three degrees in fifteen seconds
        Machine((alternating(100.0, 106.0), steady(40.0))),  # 5.8 %
        Machine(COLD, (steady(80.0), lambda t: 80.0 - t / 5)),
        Machine((lambda _: None, steady(40.0))),
        Machine((steady(80.0), lambda _: None)),
        Machine(COLD, dies_s=6.0),
        Machine(COLD, dies_s=15.0),
        Machine(COLD, interval_s=2.0),  # seven readings in fifteen seconds
        Machine(),
    ],
    ids=["cooling", "restless", "one of two", "no power", "no temperature", "died", "died late", "seldom", "no GPU"],
)
def test_what_has_not_settled_or_cannot_be_seen_waits_in_full(machine: Machine) -> None:
    assert machine.wait(45.5) == FloorWait(45.5, ended_early=False)


def test_a_gpu_without_samples_has_not_settled() -> None:
    assert not Machine(COLD).wait(n_gpus=2).ended_early


def test_samples_from_before_the_floor_do_not_count() -> None:
    machine = Machine(COLD)
    machine.clock.time_s += 30.0
    now_s = machine.clock()
    assert has_settled(machine.samples(), 1, now_s - 15.0, now_s)
    assert not has_settled(machine.samples(), 1, now_s - 14.9, now_s)
