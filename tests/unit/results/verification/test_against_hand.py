"""What is derived from readings, tokens and pairs, against figures worked out by hand."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from llenergymeasure.results.verification.counter import PowerRange, RefusedError, counter_joules
from llenergymeasure.results.verification.energy import _verify_row
from llenergymeasure.results.verification.figures import _mean, _phase
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.power import average_joules, power_joules, trapezoid_j
from llenergymeasure.results.verification.readings import DeviceReadings, Series
from llenergymeasure.results.verification.requests import distribution

FACTS = {
    "power_lag_s": 0.0, "power_lag_spread_s": 0.05, "power_averaged_s": 0.1, "power_update_s": 0.1,
    "power_window_s": 0.1, "power_polled_s": 0.1, "power_limit_w": 700.0,
}  # fmt: skip


def series(times: npt.ArrayLike, values: npt.ArrayLike, took_s: float = 0.0) -> Series:
    time_s, value = np.array(times, dtype=float), np.array(values, dtype=float)
    return Series(time_s, value, time_s - took_s / 2, time_s + took_s / 2)


NOTHING = series([], [])


def readings(
    power: Series = NOTHING,
    average: Series = NOTHING,
    counter: Series = NOTHING,
    facts: dict[str, float] = FACTS,
) -> DeviceReadings:
    """Of a window from 10 to 20 s."""
    return DeviceReadings(0, "GPU-0", "nvml", 10.0, 20.0, facts, power, average, counter, NOTHING)


@pytest.mark.parametrize("phase_s", [0.0, 0.013, 0.05, 0.099])
def test_a_constant_power_is_power_times_time_whatever_the_phase(phase_s: float) -> None:
    times = np.arange(9.0, 21.0, 0.1) + phase_s
    assert trapezoid_j(times, np.full(times.size, 300.0), 10.0, 20.0, 0.1) == pytest.approx(3000.0)


def test_a_window_is_cut_out_of_the_straight_lines_between_readings() -> None:
    # From 0 to 100 W in 2 s; of the second from 0.5 to 1.5 the mean is 50 W.
    assert trapezoid_j(np.array([0.0, 2.0]), np.array([0.0, 100.0]), 0.5, 1.5, 2.0) == pytest.approx(50.0)
    # A gap of four periods is bridged by nobody.
    assert trapezoid_j(np.array([0.0, 4.0]), np.array([5.0, 5.0]), 0.0, 4.0, 1.0) is None


def test_power_is_of_the_middle_of_what_a_reading_averages() -> None:
    # 100 W until 15 s and 300 W from there on, read 0.1 s late: 5 x 100 + 5 x 300 J, to half a period of the step.
    times = np.arange(5.0, 22.0, 0.1)
    watts = np.where(times - 0.1 < 15.0, 100.0, 300.0)
    found = power_joules(readings(power=series(times, watts), facts={**FACTS, "power_lag_s": 0.1}))
    assert found is not None
    assert found.energy_j == pytest.approx(2000.0, abs=10.0)
    assert found.parts_j["integration"] == pytest.approx(2 * 200 * 0.1 / 2)
    assert found.parts_j["resolution"] == pytest.approx(0.01)


def ticking(power_w: float, tick_s: float, offset_s: float, every_s: float = 0.0005) -> Series:
    """A counter that shows its last tick, read closely around 10 and 20 s and ten times a second in between."""
    close = [np.arange(at_s - 0.3, at_s + 0.3, every_s) for at_s in (10.0, 20.0)]
    times = np.unique(np.concatenate([*close, np.arange(9.0, 21.0, 0.1)]))
    shown_j = power_w * tick_s * np.floor((times - offset_s) / tick_s)
    return series(times, shown_j, took_s=0.0001)


@pytest.mark.parametrize("offset_s", [0.0, 0.011, 0.05, 0.09])
def test_a_counter_that_ticks_comes_to_power_times_time(offset_s: float) -> None:
    found, tick_s = counter_joules(readings(counter=ticking(250.0, 0.1, offset_s)))
    # A plain difference would be off by up to 25 J.
    assert found.energy_j == pytest.approx(2500.0, abs=1.0)
    assert tick_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda v, t: np.where(t > 15.0, v - 1e4, v), "went back"),
        (lambda v, t: np.where(t > 15.0, v + 1e5, v), "jumped"),
        (lambda v, t: np.where((t > 12.0) & (t < 14.0), v[t <= 12.0][-1], v), "stood still"),
        (lambda v, t: np.where(t > 19.0, np.nan, v), "not read"),
        (lambda v, _: np.full(v.size, 5.0), "ticks were not seen"),
    ],
)
def test_a_counter_that_cannot_be_believed_is_refused(change: object, why: str) -> None:
    good = ticking(250.0, 0.1, 0.0)
    changed = Series(good.time_s, change(good.value, good.time_s), good.began_s, good.ended_s)  # type: ignore[operator]
    with pytest.raises(RefusedError, match=why):
        counter_joules(readings(counter=changed))


@pytest.mark.parametrize(("from_s", "to_s"), [(19.75, 20.3), (19.95, 20.25), (19.75, 20.02), (19.65, 20.05)])
def test_several_ticks_that_were_read_as_one_are_no_tick_after_the_last(from_s: float, to_s: float) -> None:
    # 250 W for 10 s, and nothing was read at the end for so long: up to five ticks of 25 J at once.
    counter = ticking(250.0, 0.1, 0.0)
    seen = counter.where((counter.time_s < from_s) | (counter.time_s > to_s))
    found, _ = counter_joules(readings(counter=seen))
    assert found.energy_j == pytest.approx(2500.0, abs=1.0)


def ended_at(last_tick_s: float) -> DeviceReadings:
    """250 W in ticks of 0.1 s, one of them at 10 s, which stop before the end of the window; 50 W were read once."""
    counter = ticking(250.0, 0.1, 0.0)
    held_j = np.minimum(counter.value, 250.0 * last_tick_s)
    # For half a second no tick is no fault.
    counter = Series(counter.time_s, held_j, counter.began_s, counter.ended_s).where(counter.time_s < 20.15)
    facts = {**FACTS, "counter_window_s": 0.1, "counter_update_s": 0.1}
    return readings(power=series([20.1], [50.0]), counter=counter, facts=facts)


@pytest.mark.parametrize(
    ("last_tick_s", "energy_j", "edges_j", "kind"),
    [
        # At 20 s there is what 0.1 s at 50 to 250 W added to 19.9 s at 250 W: 15 J +-10 J. A tick is 25 J.
        (19.9, 4975 + 15 - 2500, 10.0, "differs"),
        # What 0.3 s added, 45 J +-30 J, is more than a tick, though the last tick was seen to half a millisecond.
        (19.7, 4925 + 45 - 2500, 30.0, "not verifiable"),
    ],
)
def test_an_edge_that_leaves_open_more_than_a_tick_was_not_timed(
    last_tick_s: float, energy_j: float, edges_j: float, kind: str
) -> None:
    read = ended_at(last_tick_s)
    found, tick_s = counter_joules(read)
    assert found.sharp
    assert tick_s == pytest.approx(0.1, rel=0.01)
    assert found.energy_j == pytest.approx(energy_j, abs=0.5)
    # A look at the clock of 0.25 ms around either edge, at 1.5 x 700 W.
    assert found.parts_j["edges"] == pytest.approx(edges_j, abs=1.5)
    row = {
        "device": "GPU-0", "sensor": "nvml", "source": "counter", "duration_sec": 10.0, "energy_j": energy_j,
        "uncertainty_j": 1.0, "uncertainty_parts_j": {"edges": 1.0}, "update_period_s": 0.1, "witness_j": None,
    }  # fmt: skip
    report = Report(Path())
    _verify_row("row", row, [read], report)
    assert [(f.kind, f.name) for f in report.findings] == [(kind, "row.uncertainty_parts_j.edges")]


def test_the_average_of_a_second_tiles_the_window() -> None:
    # Whatever the load does within a second, each reading is 200 W.
    facts = {**FACTS, "average_update_s": 0.1, "average_window_s": 1.0, "average_lag_s": 0.0}
    times = np.arange(8.0, 22.0, 0.1)
    found = average_joules(readings(average=series(times, np.full(times.size, 200.0)), facts=facts))
    assert found is not None
    assert found.energy_j == pytest.approx(2000.0)


def test_percentiles_lie_between_two_values_in_proportion() -> None:
    # Of 1 to 5: p90 is at place 3.6 counted from 0, so 4.6.
    assert distribution([5.0, 3.0, 1.0, 2.0, 4.0], 2) == pytest.approx(
        {"n": 5, "mean": 3.0, "p50": 3.0, "p90": 4.6, "p95": 4.8, "p99": 4.96, "n_independent": 2}
    )


def test_an_interval_of_three_pairs() -> None:
    # Mean 10, standard deviation 1, t(2; 0.975) = 4.30265: half 2.48414; a bound of 0.5 is added in full.
    found = _mean([9.0, 10.0, 11.0], [0.5, 0.5, 0.5])
    assert (found["value"], found["high"] - 10.0) == (10.0, pytest.approx(2.98414, abs=1e-5))
    # Two values have none.
    assert _mean([1.0, 2.0], [])["low"] is None


def test_a_phase_that_may_be_nothing_is_unresolved() -> None:
    pairs = [(1.0, 5.0, None), (1.0, 0.5, None), (1.0, -2.0, None)]
    assert _phase(4, pairs, None)["status"] == "unresolved"
    assert _phase(4, [(1.0, 5.0, 0.1)] * 3, None)["energy_per_token_j"]["value"] == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("seconds", "least_j", "most_j"),
    [
        # Of 0.1 s at 100 to 300 W, 50 ms at 600 W would be all 30 J, and of 10 J nothing may be left.
        (0.05, 0.0, 30.0),
        (0.02, 0.0, 12.0),
        # In 90 ms at least what 10 ms at 600 W cannot hold of 10 J.
        (0.09, 4.0, 30.0),
        (0.25, 20.0, 90.0),
        (-0.05, -30.0, 0.0),
    ],
)
def test_what_power_leaves_open_between_two_looks(seconds: float, least_j: float, most_j: float) -> None:
    found = PowerRange(100.0, 300.0, 600.0, 0.1).between(seconds)
    assert found == pytest.approx((least_j, most_j), abs=1e-9)
