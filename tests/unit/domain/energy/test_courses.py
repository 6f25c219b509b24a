"""Joules between any two moments, from readings whose true energy is known."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.domain.energy.courses import EnergyCourse, course_of
from llenergymeasure.domain.metrics import DeviceEnergy, EnergySource
from llenergymeasure.domain.trace import DeviceTrace, Reading, ReadingKind, Readings
from tests.fakes.effort import examples

# A card that is new and read every tenth of a second.
GPU = {
    "power_lag_s": 0.0, "power_update_s": 0.1, "power_polled_s": 0.1, "power_averaged_s": 0.1, "power_limit_w": 700.0,
    "counter_update_s": 0.1,
}  # fmt: skip


def trace(kind: ReadingKind, reads: Sequence[Reading], facts: dict[str, float] = GPU, **more: str) -> DeviceTrace:
    named = {"device": "GPU-0", "sensor": "nvml", **more}
    readings = (Readings(kind=kind, reads=tuple(reads)),)
    return DeviceTrace(**named, start_s=10.0, end_s=20.0, facts=facts, readings=readings)


def row(source: EnergySource, **more: object) -> DeviceEnergy:
    given = {"device": "GPU-0", "kind": "gpu", "energy_j": 1.0, "source": source, "sensor": "nvml"} | more
    return DeviceEnergy(**given)  # type: ignore[arg-type]


def course(source: EnergySource, *traces: DeviceTrace, **more: object) -> EnergyCourse:
    found = course_of(row(source, **more), traces)
    assert found is not None
    return found


def ticking(watts: float, phase_s: float) -> list[Reading]:
    """A counter that shows its last tenth of a second, read each tenth of a second from 9 to 21 s."""
    times = np.arange(9.0, 21.0, 0.1)
    shown_j = watts * 0.1 * np.floor((times - phase_s) / 0.1 + 1e-6)
    return [Reading.between(float(t), float(t) + 0.0001, float(j)) for t, j in zip(times, shown_j, strict=True)]


@pytest.mark.parametrize("phase_s", [0.0, 0.03, 0.05, 0.09])
def test_a_counter_rises_in_a_straight_line_between_its_ticks(phase_s: float) -> None:
    found = course("counter", trace("counter", ticking(300.0, phase_s)))
    # Where a tick lies between two reads nobody knows, which is the same at both ends.
    for start_s, end_s in ((10.0, 12.0), (12.0, 15.37), (10.0, 20.0)):
        assert found.between_j(start_s, end_s) == pytest.approx(300 * (end_s - start_s), rel=1e-3)
    assert found.resolution_s == 0.1


def test_parts_of_a_window_add_up_to_it() -> None:
    # 100 W until 15 s and 300 W after that, by ticks of a tenth of a second that lie on tenths.
    times = np.arange(9.0, 21.0, 0.1)
    shown_j = np.where(times < 15.0, 100 * times, 1500 + 300 * (times - 15))
    reads = [Reading.between(float(t), float(t), float(j)) for t, j in zip(times, shown_j, strict=True)]
    found = course("counter", trace("counter", reads))
    parts = [found.between_j(10.0 + 2 * i, 12.0 + 2 * i) for i in range(5)]
    # A read shows what a tick of up to a tenth of a second before it did: that is dated half of it back.
    assert parts == pytest.approx([200, 200, 300 + 100 + 0.05 * 200 - 0.0, 600, 600], abs=0.5)
    assert sum(j for j in parts if j is not None) == pytest.approx(found.between_j(10.0, 20.0))


def test_a_counter_that_is_read_seldom_shows_what_it_was_just_before() -> None:
    # New each millisecond, and looked at once a second, twice at a time: no tick is dated between two looks.
    facts = {"counter_update_s": 0.001, "range_j": 1000.0, "ceiling_w": 500.0}
    reads = []
    for second in range(10, 21):
        for at_s in (second + 0.0, second + 0.002):
            # 200 W from 900 J on, which goes round after 1,000 J.
            reads.append(Reading.between(at_s, at_s, (900 + 200 * (at_s - 10)) % 1000.0))
    found = course("counter", trace("counter", reads, facts))
    assert found.between_j(11.0, 15.5) == pytest.approx(900, abs=0.2)
    # It was not read before the window began.
    assert found.between_j(10.0, 20.0) == pytest.approx(2000, abs=0.5)
    assert found.between_j(9.0, 20.0) is None


def test_a_read_that_cannot_be_is_passed_over() -> None:
    facts = {"counter_update_s": 0.001, "ceiling_w": 500.0}
    values = [0.0, 100.0, 200.0, 150.0, 400.0, 9000.0, 600.0]
    reads = [Reading.between(float(t), float(t), value) for t, value in enumerate(values)]
    reads.insert(2, Reading.between(1.5, 1.5, None))
    found = course("counter", trace("counter", reads, facts))
    assert found.between_j(1.0, 6.0) == pytest.approx(500, abs=0.2)


def powers(lag_s: float = 0.0, until_s: float = 21.0) -> list[Reading]:
    """100 W until 15 s and 300 W from there on, told ``lag_s`` later."""
    times = np.arange(9.0, until_s, 0.1)
    return [Reading(float(t), 100.0 if t - lag_s < 15.0 - 1e-9 else 300.0) for t in times]


def test_power_is_a_trapezoid_between_interpolated_edges() -> None:
    found = course("integrated", trace("power", powers()))
    assert found.between_j(10.03, 12.07) == pytest.approx(204.0)
    # A step between two readings is a slope: half of 0.1 s at 200 W more.
    assert found.between_j(14.0, 16.0) == pytest.approx(400 + 200 * 0.05)


def test_power_is_of_the_moments_that_it_is_of() -> None:
    facts = {**GPU, "power_lag_s": 0.5}
    found = course("integrated", trace("power", powers(lag_s=0.5), facts))
    assert found.between_j(14.0, 16.0) == pytest.approx(410.0)
    # The last reading stands for what comes after it, up to its lag.
    short = course("integrated", trace("power", powers(lag_s=0.5, until_s=20.05), facts))
    assert short.between_j(18.0, 20.0) == pytest.approx(600.0)


def test_a_gap_has_no_joules_and_what_no_card_draws_is_no_reading() -> None:
    reads = [r._replace(value=None) if 12.0 < r.time_s < 13.0 else r for r in powers()]
    found = course("integrated", trace("power", reads))
    assert found.between_j(11.0, 14.0) is None
    assert found.between_j(16.0, 18.0) == pytest.approx(600.0)
    odd = [r._replace(value=5000.0) if abs(r.time_s - 17.0) < 0.01 else r for r in powers()]
    assert course("integrated", trace("power", odd)).between_j(16.0, 18.0) == pytest.approx(600.0)


def test_the_cards_own_average_is_of_the_middle_of_what_it_is_of() -> None:
    facts = {**GPU, "average_window_s": 1.0, "average_update_s": 0.1, "average_lag_s": 0.0}
    reads = [Reading(float(t), 100.0 * float(t)) for t in np.arange(9.0, 22.0, 0.1)]
    found = course("integrated", trace("average", reads, facts), uncertainty_parts_j={"averaging": 1.0})
    # Read at t it is of t - 0.55 s, so power at t is 100 (t + 0.55) W: from 11 to 13 s 2 s of 1,255 W.
    assert found.between_j(11.0, 13.0) == pytest.approx(2510.0)
    assert found.resolution_s == 1.0


def test_what_another_sensor_read_of_the_device_does_and_a_model_has_nothing() -> None:
    counter = trace("counter", ticking(300.0, 0.0))
    assert course("counter", counter, sensor="zeus").between_j(12.0, 14.0) == pytest.approx(600.0, rel=1e-3)
    assert course_of(row("modelled"), [counter]) is None
    assert course_of(row("counter", device="GPU-1"), [counter]) is None
    assert course_of(row("counter", energy_j=None), [counter]) is None
    assert course_of(row("integrated"), [counter]) is None
    assert course_of(row("counter"), [trace("counter", ticking(300.0, 0.0)[:1])]) is None


@given(
    steps=st.lists(st.floats(0.0, 500.0), min_size=30, max_size=60),
    cuts=st.lists(st.floats(9.2, 11.8), min_size=1, max_size=6, unique=True),
)
@settings(max_examples=examples(50), deadline=None)
def test_whatever_was_read_parts_add_up_and_nothing_is_less_than_nothing(steps: list[float], cuts: list[float]) -> None:
    """A counter that rises by any steps, and power that is anything, between cuts anywhere."""
    times = [9.0 + 0.1 * i for i in range(len(steps))]
    counter = [Reading.between(t, t + 0.001, float(j)) for t, j in zip(times, np.cumsum(steps), strict=True)]
    power = [Reading(t, w) for t, w in zip(times, steps, strict=True)]
    facts = {"counter_update_s": 0.1, "power_polled_s": 0.1}
    edges = [9.15, *sorted(cuts), 11.85]
    for source, kind, reads in (("counter", "counter", counter), ("integrated", "power", power)):
        found = course_of(row(source), [trace(kind, reads, facts)])  # type: ignore[arg-type]
        if found is None or (whole := found.between_j(edges[0], edges[-1])) is None:
            continue
        parts = [found.between_j(*pair) for pair in pairwise(edges)]
        known = [j for j in parts if j is not None]
        assert len(known) == len(parts)
        assert min(known) >= 0
        assert sum(known) == pytest.approx(whole, abs=1e-6)
