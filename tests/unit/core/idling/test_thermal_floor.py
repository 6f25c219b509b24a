"""A thermal floor that may end early, and only then."""

import math
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from llenergymeasure.config.models import WarmupConfig
from llenergymeasure.core.idling.thermal_floor import Floor, FloorWait, has_settled, thermal_floor_warnings, wait_out
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

    def wait(
        self, seconds: float = 300.0, n_gpus: int | None = None, *, early: bool = True, most_s: float | None = None
    ) -> FloorWait:
        n = len(self._gpus) if n_gpus is None else n_gpus
        return wait_out(Floor(seconds, early, most_s), n, self.samples, self.clock, self.clock.sleep)


def steady(value: float) -> Reading:
    return lambda _: value


def until(end_s: float, before: float, after: float) -> Reading:
    return lambda t: before if t < end_s else after


def alternating(low: float, high: float) -> Reading:
    return lambda t: low if round(t * 10) % 2 else high


COLD = (steady(80.0), steady(40.0))


def cooling(tau_s: float, from_c: float = 80.0, to_c: float = 40.0) -> Reading:
    """As after a load, in whole degrees, as sensors give them."""
    return lambda t: float(round(to_c + (from_c - to_c) * math.exp(-t / tau_s)))


def test_what_is_steady_from_the_start_takes_a_minute_to_be_seen() -> None:
    assert Machine(COLD).wait() == FloorWait(60.0, ended_early=True, settled=True)


@pytest.mark.parametrize(
    ("gpu", "waited_s"),
    [
        ((steady(80.0), until(12.0, 60.0, 50.0)), 72.0),  # a minute after the last change
        ((until(50.5, 200.0, 80.0), steady(40.0)), 66.0),  # of power 15 s, in whole seconds
        ((steady(80.0), until(12.0, 51.0, 50.0)), 60.0),  # a degree is steady
        ((alternating(100.0, 105.0), steady(40.0)), 60.0),  # 5 of 102.5 W: 4.9 %
        ((lambda t: 80.0 if round(t * 10) % 5 else None, steady(40.0)), 60.0),  # some reads failed
    ],
)
def test_the_floor_ends_when_temperature_and_power_have_stood_still(
    gpu: tuple[Reading, Reading], waited_s: float
) -> None:
    assert Machine(gpu).wait() == FloorWait(waited_s, ended_early=True, settled=True)


@pytest.mark.parametrize("tau_s", [30.0, 60.0, 100.0, 180.0])
def test_temperature_has_arrived_when_the_floor_ends_however_steady_power_has_been(tau_s: float) -> None:
    # Power is at its idle level from the start, as it is when clocks have fallen.
    machine = Machine((steady(80.0), cooling(tau_s)))
    found = machine.wait(60.0, early=False, most_s=3600.0)
    assert found.settled
    left_c = 40.0 * math.exp(-found.waited_s / tau_s)
    # 1 / (exp(60 / tau) - 1) for each degree that moved in the minute, of which rounding hides up to one more.
    assert left_c <= 2 / math.expm1(60.0 / tau_s)
    assert left_c < 5.1


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        # A degree in ten seconds for 100 s: of the minute that ends at 150 s the last degree of it is left.
        (
            Machine((steady(80.0), lambda t: max(50.0, 60.0 - t / 10))),
            FloorWait(150.0, ended_early=False, settled=True),
        ),
        # A degree in five seconds, without end.
        (Machine((steady(80.0), lambda t: 200.0 - t / 5)), FloorWait(240.0, ended_early=False, settled=False)),
        (Machine((steady(80.0), lambda _: None)), FloorWait(240.0, ended_early=False, settled=False)),
        (Machine(COLD), FloorWait(90.0, ended_early=False, settled=True)),
        (Machine(), FloorWait(90.0, ended_early=False, settled=False)),
    ],
    ids=["late", "never", "no temperature", "at once", "no GPU"],
)
def test_the_floor_goes_on_until_everything_has_settled_but_not_for_ever(machine: Machine, found: FloorWait) -> None:
    assert machine.wait(90.0, early=False, most_s=240.0) == found


def test_both_ends_may_move() -> None:
    assert Machine(COLD).wait(90.0, most_s=240.0) == FloorWait(60.0, ended_early=True, settled=True)


def test_a_plain_floor_is_waited_for_and_nobody_looks() -> None:
    def unseen() -> list[PowerThermalSample]:
        raise AssertionError

    clock = FakeClock()
    assert wait_out(Floor(60.0), 1, unseen, clock, clock.sleep) == FloorWait(60.0, ended_early=False, settled=None)


@pytest.mark.parametrize(
    "machine",
    [
        Machine((steady(80.0), lambda t: 80.0 - t / 25)),  # more than two degrees in a minute
        Machine((alternating(100.0, 106.0), steady(40.0))),  # 5.8 %
        Machine(COLD, (steady(80.0), lambda t: 80.0 - t / 5)),
        Machine((lambda _: None, steady(40.0))),
        Machine((steady(80.0), lambda _: None)),
        Machine(COLD, dies_s=6.0),
        Machine(COLD, dies_s=55.0),
        Machine(COLD, interval_s=2.0),  # seven readings of power in fifteen seconds
        Machine(),
    ],
    ids=["cooling", "restless", "one of two", "no power", "no temperature", "died", "died late", "seldom", "no GPU"],
)
def test_what_has_not_settled_or_cannot_be_seen_waits_in_full(machine: Machine) -> None:
    assert machine.wait(75.5) == FloorWait(75.5, ended_early=False, settled=False)


def test_a_gpu_without_samples_has_not_settled() -> None:
    assert not Machine(COLD).wait(n_gpus=2).ended_early


def test_samples_from_before_the_floor_do_not_count() -> None:
    machine = Machine(COLD)
    machine.clock.time_s += 90.0
    now_s = machine.clock()
    assert has_settled(machine.samples(), 1, now_s - 60.0, now_s)
    assert not has_settled(machine.samples(), 1, now_s - 59.9, now_s)


def test_a_floor_of_another_length_says_so() -> None:
    asked = WarmupConfig(thermal_floor_seconds=90)
    assert thermal_floor_warnings(FloorWait(90.0, ended_early=False), asked) == []
    (early,) = thermal_floor_warnings(FloorWait(72.0, ended_early=True, settled=True), asked)
    assert str(early).startswith("thermal_floor_ended_early: it ended after 72 of 90 s, ")
    # Who allowed only an early end asked for no more than 90 s.
    unsettled = FloorWait(90.0, ended_early=False, settled=False)
    assert thermal_floor_warnings(unsettled, asked) == []
    (late,) = thermal_floor_warnings(unsettled, WarmupConfig(thermal_floor_seconds=90, thermal_settle_max_s=90))
    assert str(late).startswith("thermal_not_settled: after 90 s of idling with the model loaded ")


def test_a_last_end_before_the_floors_own_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"thermal_settle_max_s: 59 is over before thermal_floor_seconds: 60"):
        WarmupConfig(thermal_settle_max_s=59)
    assert WarmupConfig(thermal_settle_max_s=60).thermal_settle_max_s == 60


def test_what_was_slept_counts_where_the_clock_is_another_one() -> None:
    slept: list[float] = []
    wait = wait_out(Floor(60.0), 0, list, lambda: 5.0, slept.append)
    assert (wait.waited_s, sum(slept)) == (60.0, 60.0)
