"""Energy of a window from the ticks of a counter, against true power that is integrated in closed form."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llenergymeasure.core.gpu.counter import CounterEnergy, CounterRead, CounterRefusedError, PowerSeen, counter_energy
from llenergymeasure.core.gpu.recorder import CLOSE_S
from nvmlsim import Counter, Gpu, Trace
from tests.fakes.counter import CALL_S, card, reads_around, reads_at
from tests.fakes.effort import examples

START_S, LIMIT_W = 3.0, 400.0
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def energy_of(reads: Sequence[CounterRead], start_s: float, end_s: float, **seen: Any) -> CounterEnergy:
    """What the reads of a window give where this is known of power: no limit and nothing unless said."""
    return counter_energy(reads, start_s, end_s, PowerSeen(**seen))


def measured(
    gpu: Gpu,
    end_s: float,
    *,
    start_s: float = START_S,
    power_w: Sequence[float] = (),
    limit_w: float = LIMIT_W,
    unseen_s: float = 0.025,
    **polling: float,
) -> CounterEnergy:
    """What is found from the reads around a window."""
    reads = reads_around(gpu, start_s, end_s, **polling)
    return energy_of(reads, start_s, end_s, power_w=power_w, limit_w=limit_w, unseen_s=unseen_s)


def refusal(reads: Sequence[CounterRead], end_s: float = START_S + 1) -> str:
    """Why the reads of a card that draws 400 W at most are refused."""
    with pytest.raises(CounterRefusedError) as caught:
        energy_of(reads, START_S, end_s, limit_w=LIMIT_W)
    return str(caught.value)


def true_j(gpu: Gpu, end_s: float, start_s: float = START_S) -> float:
    return gpu.power_w.integral(start_s, end_s)


# Constant power


@calm
@given(
    tick_s=st.floats(0.02, 0.12),
    phase=st.floats(0, 1),
    length_s=st.floats(1, 4),
    slow_s=st.sampled_from([0.07, 0.1, 0.2]),
)
@example(tick_s=0.1, phase=0.0, length_s=1.037, slow_s=0.1)
@example(tick_s=0.1, phase=0.9999, length_s=3.047, slow_s=0.1)
@example(tick_s=0.02, phase=0.625, length_s=1.0, slow_s=0.07)  # two ticks between the last close read and the next
@example(tick_s=0.02481513240294147, phase=0.0, length_s=1.0, slow_s=0.07)
@example(tick_s=0.06896, phase=0.0, length_s=1.0, slow_s=0.07)  # steady reads all but locked to the ticks
def test_constant_power_is_exact_to_two_thousandths_at_every_phase(
    tick_s: float, phase: float, length_s: float, slow_s: float
) -> None:
    # A tick is timed by the recorder's reads half a millisecond apart, to a quarter of one; one beside an edge that no
    # close read saw is dated by two others, and power comes from two as well, to twice that each. At two edges 2 ms.
    end_s = START_S + length_s
    steady = card(Trace.constant(300), tick_s, phase * tick_s)
    found = measured(steady, end_s, power_w=[300], slow_s=slow_s, close_s=CLOSE_S)
    assert found.energy_j == pytest.approx(300 * length_s, rel=2e-3)
    assert abs(found.energy_j - 300 * length_s) <= found.uncertainty_j
    assert found.tick_s == pytest.approx(tick_s, abs=0.001)


@calm
@given(
    tick_s=st.floats(0.02, 0.12),
    phase=st.floats(0, 1),
    length_s=st.floats(1, 4),
    slow_s=st.floats(0.01, 0.05),
)
@example(tick_s=0.02, phase=0.5, length_s=2.0, slow_s=0.03)
@example(tick_s=0.1, phase=0.5, length_s=2.0, slow_s=0.03)
def test_steady_reads_that_time_ticks_badly_do_not_spoil_what_close_reads_time_well(
    tick_s: float, phase: float, length_s: float, slow_s: float
) -> None:
    # Polled at the pace of the ticks, the ticks beside an edge may be dated by several others, or by the steady reads
    # alone: some milliseconds of 1000. With the period of the ticks taken wrong, 5 % were seen.
    end_s = START_S + length_s
    found = measured(card(Trace.constant(300), tick_s, phase * tick_s), end_s, power_w=[300], slow_s=slow_s)
    assert found.energy_j == pytest.approx(300 * length_s, rel=1e-2)
    assert abs(found.energy_j - 300 * length_s) <= found.uncertainty_j
    assert found.tick_s == pytest.approx(tick_s, abs=0.001)


def test_the_counters_own_difference_would_be_off_by_a_tick() -> None:
    # The premise of it all: the last ticks are 95 ms before the start and 32 ms before the end.
    reads = reads_around(card(Trace.constant(300), 0.1, 0.005), START_S, START_S + 1.037)
    shown_j = {edge: [r.energy_j or 0.0 for r in reads if r.after_s <= edge + CALL_S][-1] for edge in (3.0, 4.037)}
    assert shown_j[4.037] - shown_j[3.0] == pytest.approx(330.0, abs=0.01)
    found = energy_of(reads, START_S, START_S + 1.037, power_w=[300], limit_w=LIMIT_W)
    assert found.energy_j == pytest.approx(311.1, rel=2e-3)


@calm
@given(phase=st.floats(0, 0.1), length_s=st.floats(0.005, 0.09))
@example(phase=0.05643818939524936, length_s=0.05643818939524936)
@example(phase=0.055066931260702556, length_s=0.055066931260702556)
def test_a_window_shorter_than_one_tick_has_its_share_of_it(phase: float, length_s: float) -> None:
    steady = card(Trace.constant(300), 0.1, phase)
    found = measured(steady, START_S + length_s, power_w=[300], close_s=CLOSE_S)
    # Both stamps to a quarter of a millisecond, 0.15 J; power from two of them 0.1 s apart, half a percent of a tick's
    # 30 J, another 0.15 J; and rounding. A tick as near to an edge as one close read to the next may have been seen by
    # none, and is dated by two others, to twice that: at two edges 2 ms, 0.6 J, as for longer windows.
    near = any(abs(edge_s - phase - k * 0.1) <= CLOSE_S for edge_s in (0, length_s) for k in (-1, 0, 1))
    assert found.energy_j == pytest.approx(300 * length_s, abs=0.6 if near else 0.35)
    assert abs(found.energy_j - 300 * length_s) <= found.uncertainty_j


@pytest.mark.parametrize("off_s", [-0.0005, -0.0001, 0.0, 0.0001, 0.0005])
@pytest.mark.parametrize("limit_w", [LIMIT_W, math.inf])
def test_a_tick_right_at_an_edge_counts_on_its_own_side(off_s: float, limit_w: float) -> None:
    # Ten ticks of 0.1 s from START_S on: both edges are at ticks, but for what they are shifted by.
    gpu = card(Trace.constant(300), 0.1, off_s % 0.1)
    found = measured(gpu, START_S + 1, power_w=[300], limit_w=limit_w)
    assert found.energy_j == pytest.approx(300, rel=2e-3)
    assert abs(found.energy_j - 300) <= found.uncertainty_j < 30


def test_reads_at_the_very_moments_of_the_ticks_give_the_very_joules() -> None:
    # A clock that stands still during a call, and a tick at each read: 30 J every 0.1 s.
    reads = [CounterRead(i / 10, i / 10, 30.0 * i) for i in range(-5, 26)]
    close = [CounterRead(t, t, 30.0 * math.floor(10 * t + 1e-9)) for t in (-0.01, 0.09, 0.19, 0.99, 1.09, 1.19)]
    both = sorted([*reads, *close])
    found = energy_of(both, 0.0, 1.0, power_w=[300])
    assert found.energy_j == pytest.approx(300, abs=5)  # stamps lie half of 10 ms before the ticks at either edge
    assert math.isfinite(found.uncertainty_j)


# Work that starts and ends at the edges


@calm
@given(
    tick_s=st.floats(0.02, 0.12),
    phase=st.floats(0, 1),
    length_s=st.floats(0.5, 2),
    idle_w=st.floats(10, 80),
    load_w=st.floats(150, 400),
    close_s=st.sampled_from([0.0005, 0.001]),
)
@example(tick_s=0.02, phase=0.0, length_s=0.984375, idle_w=10.0, load_w=150.0, close_s=0.0005)
def test_load_inside_the_window_alone_is_right_to_the_error_of_the_stamps(
    tick_s: float, phase: float, length_s: float, idle_w: float, load_w: float, close_s: float
) -> None:
    # Taking power for constant within the tick would be off by up to tick / 4 x step, 10 J here. A stamp is off by
    # half a read at most; the power on either side of the edge is that of a whole tick between two such stamps.
    end_s = START_S + length_s
    gpu = card(Trace(((0, idle_w), (START_S, load_w), (end_s, idle_w))), tick_s, phase * tick_s)
    found = measured(gpu, end_s, power_w=[idle_w, load_w], close_s=close_s)
    assert found.energy_j == pytest.approx(load_w * length_s, abs=3 * close_s * load_w)
    assert abs(found.energy_j - load_w * length_s) <= found.uncertainty_j


def test_load_inside_the_window_is_right_to_millijoules_where_the_stamps_are() -> None:
    # Reads every 20 us: 350 W of step x 10 us at either edge.
    gpu = card(Trace(((0, 50), (START_S, 400), (START_S + 0.5, 50))), 0.1, 0.043)
    found = measured(gpu, START_S + 0.5, power_w=[50, 400], close_s=2.1e-5)
    assert found.energy_j == pytest.approx(200, abs=0.015)


# The bound


@st.composite
def power_traces(draw: st.DrawFn, end_s: float, limit_w: float) -> Trace:
    """Steady, stepping at the edges, wandering, faster than any tick, or in bursts at an edge; idle is 5 W."""
    watts = st.floats(5, limit_w)
    kind = draw(st.sampled_from(["job", "steps", "square", "bursts"]))
    if kind == "job":
        return Trace(((0, draw(watts)), (START_S, draw(watts)), (end_s, draw(watts))))
    if kind == "square":
        period_s, duty = draw(st.floats(0.004, 0.3)), draw(st.floats(0.1, 0.9))
        return Trace.square(5, draw(watts), period_s=period_s, duty=duty, start_s=draw(st.floats(1.2, 1.5)))
    if kind == "steps":
        shortest_s = draw(st.sampled_from([0.003, 0.02, 0.2]))
        gaps = draw(st.lists(st.floats(shortest_s, 3 * shortest_s), min_size=1, max_size=30))
        begin_s = draw(st.sampled_from([START_S - 0.15, end_s - 0.15]))
        times = [begin_s + sum(gaps[:i]) for i in range(len(gaps))]
        return Trace(((0, draw(watts)), *((t, draw(watts)) for t in times)))
    idle_w, long_s = draw(st.floats(5, 60)), st.floats(0, 0.06)
    edges = [(edge - draw(long_s), edge + draw(long_s)) for edge in (START_S, end_s)]
    steps = [step for since_s, until_s in edges for step in ((since_s, limit_w), (until_s, idle_w))]
    return Trace(((0, idle_w), *steps))


def readings_w(power_w: Trace, end_s: float, unseen_s: float) -> list[float]:
    """The lowest and the highest mean power over ``unseen_s`` from a second before the window until one after it.

    A mean over a span moves on steadily but where either end of the span meets a step.
    """
    first_s, last_s = START_S - 1, end_s + 1
    steps = [t for t, _ in power_w.steps]
    if power_w.repeat is not None:
        since_s, period_s = power_w.repeat
        steps = [t + n * period_s for t in steps[1:] for n in range(int((last_s - since_s) / period_s) + 1)]
    ends = [t for step in steps for t in (step - unseen_s, step) if first_s <= t <= last_s]
    means = [power_w.integral(t, t + unseen_s) / unseen_s for t in (first_s, *ends, last_s)]
    return [min(means), max(means)]


@settings(calm, max_examples=examples(250))
@given(
    data=st.data(),
    length_s=st.floats(0.15, 1.2),
    limit_w=st.floats(100, 700),
    tick_s=st.floats(0.02, 0.12),
    phase=st.floats(0, 1),
    unseen_s=st.sampled_from([0.01, 0.025, 0.1]),
    polling=st.fixed_dictionaries(
        {"slow_s": st.sampled_from([0.03, 0.05, 0.08, 0.1, 0.2]), "close_s": st.sampled_from([0.001, 0.004])}
    ),
)
def test_true_energy_is_within_the_bound_for_all_power_that_is_seen_or_faster_than_can_be(
    data: st.DataObject,
    length_s: float,
    limit_w: float,
    tick_s: float,
    phase: float,
    unseen_s: float,
    polling: dict[str, float],
) -> None:
    end_s = START_S + length_s
    gpu = card(data.draw(power_traces(end_s, limit_w)), tick_s, phase * tick_s)
    seen_w = readings_w(gpu.power_w, end_s, unseen_s)
    found = measured(gpu, end_s, power_w=seen_w, limit_w=limit_w, unseen_s=unseen_s, around_s=0.35, **polling)
    assert abs(found.energy_j - true_j(gpu, end_s)) <= found.uncertainty_j


def test_bursts_outside_both_edges_that_no_tick_shows_are_within_the_bound() -> None:
    # From a tick to 1 ms after the start, and from 1 ms before the end to a tick, 12 ms at 400 W: the window has 2 ms
    # of them, and the ticks that they are in look like 83 W all the time.
    end_s = START_S + 0.976
    bursts = ((START_S - 0.011, 400.0), (START_S + 0.001, 40.0), (end_s - 0.001, 400.0), (end_s + 0.011, 40.0))
    gpu = card(Trace(((0.0, 40.0), *bursts)), 0.1, (START_S - 0.012) % 0.1)
    seen_w = readings_w(gpu.power_w, end_s, 0.025)
    assert seen_w == pytest.approx([40, (12 * 400 + 13 * 40) / 25])
    found = measured(gpu, end_s, power_w=seen_w)
    assert abs(found.energy_j - (0.002 * 400 + 0.974 * 40)) <= found.uncertainty_j


def test_the_bound_of_constant_power_is_what_could_be_unseen_and_the_stamps() -> None:
    # 300 of 400 W, and for a moment half as much again: half of 25 ms could be idle and half at 600 W,
    # 300 x 1/2 x 0.025 = 3.75 J at either edge; a stamp is half of 1 ms and 20 us wide, 0.51 ms x 300 W = 0.153 J;
    # a millijoule for rounding. The powers of single ticks that are timed so are up to 2 % off, a range of 6 W: 0.4 J
    # in the longer part of a tick. A tick that is dated by its neighbour may be 2 % of 0.1 s off: 0.6 J.
    least_j = 2 * (3.75 + 0.153) + 0.001
    found = measured(card(Trace.constant(300), 0.1, 0.03), START_S + 1, power_w=[300])
    assert least_j <= found.uncertainty_j <= least_j + 2 * (0.42 + 0.6)


@pytest.mark.parametrize(("load_phase_s", "tick_phase_s"), [(0.11 / 0.6, 0.0625), (0.1 / 0.6, 0.0875)])
def test_the_bound_holds_of_a_load_whose_peaks_are_above_the_limit(load_phase_s: float, tick_phase_s: float) -> None:
    # 100 and 480 W, a tenth of a second each, on a card with a limit of 400 W, of which means of 0.1 s show 290 W.
    gpu = card(Trace.square(100, 480, period_s=0.2, duty=0.5, start_s=load_phase_s), 0.1, tick_phase_s)
    found = measured(gpu, START_S + 1.037, power_w=[290])
    assert abs(found.energy_j - gpu.power_w.integral(START_S, START_S + 1.037)) <= found.uncertainty_j


def test_the_bound_grows_with_the_width_of_the_stamps() -> None:
    gpu = card(Trace.constant(300), 0.1, 0.0371)
    bounds = [
        measured(gpu, START_S + 1, power_w=[300], close_s=close_s).uncertainty_j
        for close_s in (0.0005, 0.001, 0.003, 0.007, 0.02)
    ]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == len(bounds)
    # From reads 0.5 ms apart to reads 20 ms apart a stamp is half of 19.5 ms wider, 2.9 J at 300 W, and a tick that is
    # dated by the distance of two others up to three times that.
    assert 2.9 < bounds[-1] - bounds[0] <= 2 * 3 * 2.93


def test_the_bound_grows_with_what_power_is_known_to_vary() -> None:
    gpu = card(Trace.constant(300), 0.1, 0.05)
    bounds = [measured(gpu, START_S + 1, power_w=seen_w).uncertainty_j for seen_w in ([300], [200, 300], [50, 400])]
    assert bounds == sorted(set(bounds))


def test_the_bound_grows_with_what_could_be_unseen() -> None:
    gpu = card(Trace.constant(300), 0.1, 0.05)
    bounds = [measured(gpu, START_S + 1, power_w=[300], unseen_s=s).uncertainty_j for s in (0.001, 0.025, 0.1)]
    assert bounds == sorted(set(bounds))


# Reads that fail or are few


@calm
@given(failed=st.sets(st.integers(0, 510), max_size=40), phase=st.floats(0, 0.1))
def test_reads_that_fail_in_between_are_harmless(failed: set[int], phase: float) -> None:
    reads = reads_around(card(Trace.constant(300), 0.1, phase), START_S, START_S + 1)
    lost = [replace_energy(read, None) if i in failed else read for i, read in enumerate(reads)]
    found = energy_of(lost, START_S, START_S + 1, power_w=[300], limit_w=LIMIT_W)
    # Where the read next to a tick failed its stamp is wider: to the next read that did not.
    assert abs(found.energy_j - 300) <= found.uncertainty_j
    # Half of 0.1 s could be idle and half at 600 W, 15 J at either edge.
    assert found.uncertainty_j < 2 * 15 + 5


def replace_energy(read: CounterRead, energy_j: float | None) -> CounterRead:
    return CounterRead(read.before_s, read.after_s, energy_j)


def test_failed_reads_in_the_middle_of_the_window_change_nothing() -> None:
    reads = reads_around(card(Trace.constant(300), 0.1, 0.03), START_S, START_S + 1)
    inside = [i for i, r in enumerate(reads) if START_S + 0.3 < r.before_s < START_S + 0.6]
    lost = [replace_energy(read, None) if i in inside[:2] else read for i, read in enumerate(reads)]
    whole, cut = (energy_of(r, START_S, START_S + 1, power_w=[300], limit_w=LIMIT_W) for r in (reads, lost))
    assert len(inside) >= 2
    assert cut == whole


def test_steady_reads_locked_to_the_tick_time_none_and_the_difference_stands_with_a_tick_as_its_bound() -> None:
    # Polled every 100 ms, a tick of 100 ms is always seen at the same place of its 100 ms, wherever it is: what shows
    # at an edge lies between what two reads showed, 30 J, half of which is on either side of the middle.
    gpu, end_s = card(Trace.constant(300), 0.1, 0.03), START_S + 3
    steady = [n / 10 for n in range(20, 71)]
    before, after = ([edge_s + i / 1000 for i in range(n, n + 251)] for edge_s, n in ((START_S, -250), (end_s, 0)))
    untimed = energy_of(reads_at(gpu, steady), START_S, end_s, power_w=[300], limit_w=LIMIT_W, unseen_s=0.025)
    assert abs(untimed.energy_j - 900) <= untimed.uncertainty_j
    assert untimed.uncertainty_j == pytest.approx(2 * 15 + 0.001, abs=0.02)
    assert untimed.tick_s == pytest.approx(0.1)
    for close in (before, after):
        found = energy_of(reads_at(gpu, {*steady, *close}), START_S, end_s, power_w=[300], limit_w=LIMIT_W)
        assert abs(found.energy_j - 900) <= found.uncertainty_j
    found = energy_of(reads_at(gpu, {*steady, *before, *after}), START_S, end_s, limit_w=LIMIT_W)
    assert found.energy_j == pytest.approx(900, rel=1e-3)


@pytest.mark.parametrize("tick_s", [0.0001, 0.0005, 0.001, 0.0013])
@pytest.mark.parametrize("step_w", [0.0, 240.0])
def test_a_counter_that_moves_at_every_read_is_right_to_the_distance_of_the_reads(tick_s: float, step_w: float) -> None:
    # Reads are 1 ms apart: at either edge 1 ms of 300 W, and a tick, are open at most.
    inside = 0
    for n in range(10):
        start_s = START_S + 0.0107 * n
        end_s = start_s + 1.037
        gpu = card(Trace(((0, 300 - step_w), (start_s, 300), (end_s, 300 - step_w))), tick_s)
        reads = reads_around(gpu, start_s, end_s)
        found = energy_of(reads, start_s, end_s, power_w=[300 - step_w, 300], limit_w=LIMIT_W, unseen_s=0.025)
        assert found.energy_j == pytest.approx(300 * 1.037, abs=2 * 300 * (0.001 + tick_s))
        inside += abs(found.energy_j - 300 * 1.037) <= found.uncertainty_j
    assert inside == 10


@calm
@given(tick_s=st.floats(0.02, 1.1), phase=st.floats(0, 1), slow_s=st.floats(0.05, 0.3), loaded=st.booleans())
def test_without_close_reads_the_truth_is_within_the_bound(
    tick_s: float, phase: float, slow_s: float, loaded: bool
) -> None:
    idle_w = 60 if loaded else 300
    gpu = card(Trace(((0, idle_w), (START_S, 300), (START_S + 5, idle_w))), tick_s, phase * tick_s)
    reads = reads_at(gpu, [START_S - 1 + slow_s * n for n in range(int(7 / slow_s) + 1)])
    found = energy_of(reads, START_S, START_S + 5, power_w=[idle_w, 300], limit_w=LIMIT_W, unseen_s=0.025)
    assert abs(found.energy_j - 1500) <= found.uncertainty_j
    # Ten watts' worth of unseen swings, and at either edge a tick or the distance of two reads.
    assert found.uncertainty_j <= 2 * 300 * (max(tick_s, slow_s) + slow_s) + 10


def test_close_reads_on_one_side_of_an_edge_date_the_ticks_that_steady_reads_saw_on_the_other() -> None:
    # The tick rate of 300 W inside the window is known from steady reads alone, and so is that of 50 W further out:
    # taken for 50 or for 300 W the 70 ms at either edge would be 17 J off.
    gpu = card(Trace(((0, 50), (START_S, 300), (START_S + 1, 50))), 0.1, 0.03)
    assert measured(gpu, START_S + 1, power_w=[50, 300]).energy_j == pytest.approx(300, abs=1.0)


# Refusals


def with_counter(**faults: Any) -> Gpu:
    """300 W, ticks of 0.1 s at 30 ms, and a counter with faults."""
    gpu = card(Trace.constant(300), 0.1, 0.03)
    assert gpu.counter is not None
    return replace(gpu, counter=replace(gpu.counter, **faults))


def test_the_simulated_faults_are_the_only_trouble() -> None:
    assert with_counter().counter == Counter(tick_s=0.1, phase_s=0.03)
    assert measured(with_counter(), START_S + 1, power_w=[300]).energy_j == pytest.approx(300, rel=2e-3)


@pytest.mark.parametrize("at_s", [START_S - 0.1, START_S + 0.01, START_S + 0.5, START_S + 1.02])
def test_a_counter_that_went_back_is_refused(at_s: float) -> None:
    assert "went back" in refusal(reads_around(with_counter(resets_s=(at_s,)), START_S, START_S + 1))


@pytest.mark.parametrize("slow_s", [0.03, 0.1])
@pytest.mark.parametrize("at_s", [START_S - 0.2, START_S - 0.1, START_S + 0.01, START_S + 0.5, START_S + 1.02])
def test_a_counter_that_jumped_is_refused_wherever_it_did(at_s: float, slow_s: float) -> None:
    gpu = with_counter(jumps=((at_s, 5000.0),))
    assert "jumped by 50" in refusal(reads_around(gpu, START_S, START_S + 1, slow_s=slow_s))


def test_a_jump_backwards_is_one_too() -> None:
    gpu = with_counter(jumps=((START_S + 0.5, -5000.0),))
    assert "went back by" in refusal(reads_around(gpu, START_S, START_S + 1))


def test_half_as_much_again_as_the_limit_is_no_jump_and_more_is() -> None:
    # 300 W with a limit of 201 W, which cards exceed for moments, and with one of 199 W.
    reads = reads_around(with_counter(), START_S, START_S + 1)
    assert energy_of(reads, START_S, START_S + 1, limit_w=202).energy_j == pytest.approx(300, rel=2e-3)
    with pytest.raises(CounterRefusedError, match="jumped"):
        energy_of(reads, START_S, START_S + 1, limit_w=180)


@pytest.mark.parametrize(("from_s", "until_s"), [(3.2, 3.95), (3.4, 9.0), (2.6, 3.3), (2.0, 3.2)])
@pytest.mark.parametrize("slow_s", [0.03, 0.1])
def test_a_counter_that_stood_still_is_refused_also_where_that_began_before_the_window(
    from_s: float, until_s: float, slow_s: float
) -> None:
    gpu = with_counter(stuck_s=((from_s, until_s),))
    why = refusal(reads_around(gpu, START_S, START_S + 1, around_s=0.6, slow_s=slow_s))
    assert "stood still for " in why or "jumped" in why


def test_a_counter_that_missed_a_few_ticks_is_not_refused() -> None:
    # Of eleven ticks three are late; what they would have shown is in the next.
    found = measured(with_counter(stuck_s=((START_S + 0.3, START_S + 0.6),)), START_S + 1, power_w=[300])
    assert found.energy_j == pytest.approx(300, rel=2e-3)


def test_a_counter_that_does_not_move_at_all_has_no_ticks_to_see() -> None:
    reads = [replace_energy(r, 781.0) for r in reads_around(with_counter(), START_S, START_S + 1)]
    assert "ticks were not seen" in refusal(reads)


@pytest.mark.parametrize(
    "reads", [[], [CounterRead(3.0, 3.1, 5.0)], [CounterRead(2 + i, 2 + i, None) for i in range(9)]]
)
def test_reads_that_show_nothing_are_refused(reads: list[CounterRead]) -> None:
    assert "ticks were not seen" in refusal(reads)


@pytest.mark.parametrize("edge_s", [START_S, START_S + 3])
def test_an_edge_around_which_every_read_failed_is_refused(edge_s: float) -> None:
    reads = reads_around(with_counter(), START_S, START_S + 3, around_s=0.9)
    # Between the edges reads are 0.1 s apart, and no tick is dated further than five ticks away.
    lost = [replace_energy(r, None) if abs(r.before_s - edge_s) < 0.7 else r for r in reads]
    why = refusal(lost, START_S + 3)
    assert "could not be read at an edge of the window, nor within 0.7 s of it" in why


def test_a_tick_that_was_not_timed_does_not_make_the_period_two_of_them_long() -> None:
    # Ticks at -250, -150 and -50 ms; the reads around the second are too far apart to time it.
    gpu = card(Trace.constant(60), 0.1, 0.05)
    close = [START_S - 0.27 + i * CLOSE_S for i in range(530)]
    around = [t for t in close if abs(t - (START_S - 0.15)) > 0.03]
    after = [START_S + 0.8 + i * CLOSE_S for i in range(500)]
    steady = [START_S + 0.03 + i * 0.1 for i in range(8)]
    untimed = energy_of(reads_at(gpu, [*around, *steady]), START_S, START_S + 0.7, power_w=[60], limit_w=LIMIT_W)
    assert untimed.tick_s == pytest.approx(0.1, rel=0.05)
    found = energy_of(reads_at(gpu, [*around, *steady, *after]), START_S, START_S + 0.8, limit_w=LIMIT_W)
    assert found.tick_s == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("length_s", [0.05, 0.3, 0.8])
def test_a_card_that_is_lost_in_the_window_has_no_figure_from_its_counter(length_s: float) -> None:
    reads = reads_around(with_counter(), START_S, START_S + length_s)
    lost = [replace_energy(r, None) if r.before_s >= START_S else r for r in reads]
    assert "could not be read at an edge" in refusal(lost, START_S + length_s)
    found = [replace_energy(r, None) if r.before_s < START_S + length_s else r for r in reads]
    assert "could not be read at an edge" in refusal(found, START_S + length_s)


def _unsteady_reads(seed: int, jitter: float, end_s: float) -> tuple[list[CounterRead], float]:
    """Reads of a counter at 300 W whose ticks are 0.1 s apart, each by up to ``jitter`` of that more or less.

    The window begins 2 ms after the third tick; that moment is given, too.
    """
    chance = random.Random(seed)
    ticks = [0.0]
    while ticks[-1] < end_s + 2:
        ticks.append(ticks[-1] + 0.1 * (1 + jitter * chance.uniform(-1, 1)))
    start_s = ticks[3] + 0.002
    close_before = [ticks[1] - 0.03 + 0.0006 * i for i in range(round((start_s - ticks[1] + 0.03) / 0.0006))]
    steady = [start_s + 0.05 + 0.1 * i for i in range(int((end_s - 0.05) / 0.1))]
    close_after = [start_s + end_s + 0.0006 * i for i in range(450)]
    times = [*close_before, *steady, *close_after]
    shown = [300 * max(tick for tick in ticks if tick <= time_s) for time_s in times]
    return [CounterRead(t, t + CALL_S, round(j, 3)) for t, j in zip(times, shown, strict=True)], start_s


@pytest.mark.parametrize("jitter", [0.05, 0.2])
def test_ticks_that_come_irregularly_are_within_the_bound_that_says_so(jitter: float) -> None:
    inside = 0
    for seed in range(100):
        reads, start_s = _unsteady_reads(seed, jitter, 1.037)
        found = energy_of(reads, start_s, start_s + 1.037, power_w=[300], limit_w=700, unseen_s=0.025)
        inside += abs(found.energy_j - 300 * 1.037) <= found.uncertainty_j
    assert inside >= 95


def power_every(seconds: float, until_s: float = START_S + 6) -> dict[str, list[float]]:
    """Readings of 300 W so far apart, from a second before the window on."""
    times = [START_S - 1 + seconds * n for n in range(int((until_s - START_S + 1) / seconds) + 1)]
    return {"time_s": times, "power_w": [300.0] * len(times)}


def test_a_jump_of_half_a_second_of_power_is_refused_where_power_was_seen() -> None:
    # 300 W seen, limit 400 W: in the 0.2 s between two steady reads and a tick at most 60 J, and 10 J unseen.
    gpu = with_counter(jumps=((START_S + 2.51, 150.0),))
    reads = reads_around(gpu, START_S, START_S + 5)
    with pytest.raises(CounterRefusedError, match="jumped"):
        energy_of(reads, START_S, START_S + 5, **power_every(0.1), limit_w=400)


@pytest.mark.parametrize("readings", [power_every(5), power_every(0.1, START_S + 2), {"power_w": [300.0]}])
def test_powers_that_were_seen_too_seldom_do_not_make_a_jump_of_what_a_card_can_draw(
    readings: dict[str, list[float]],
) -> None:
    # At 580 of 600 W for half a second in the middle: 140 J more than at 300 W, which no reading saw.
    gpu = card(Trace(((0, 300), (START_S + 2.5, 580), (START_S + 3, 300))), 0.1, 0.03)
    reads = reads_around(gpu, START_S, START_S + 5)
    found = energy_of(reads, START_S, START_S + 5, **readings, limit_w=600)
    assert found.energy_j == pytest.approx(1500 + 140, rel=2e-3)


def test_a_sensor_that_looks_part_of_the_time_does_not_bind_what_it_cannot_see() -> None:
    # 700 W for 75 of 100 ms and 60 W for the 25 that the sensor looks at: 540 W, of which every reading sees 60.
    gpu = card(Trace.square(60, 700, period_s=0.1, duty=0.75), 0.1, 0.03)
    reads = reads_around(gpu, START_S, START_S + 3, slow_s=0.4)
    readings = {**power_every(0.1), "power_w": [60.0] * len(power_every(0.1)["time_s"])}
    with pytest.raises(CounterRefusedError, match="jumped"):
        energy_of(reads, START_S, START_S + 3, **readings, limit_w=700)
    found = energy_of(reads, START_S, START_S + 3, **readings, limit_w=700, unseen_s=0.1, unseen_share=0.75)
    assert found.energy_j == pytest.approx(1620, rel=0.02)
