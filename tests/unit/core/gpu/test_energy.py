"""The joules of one GPU: its counter, with sampled power for a witness and for a substitute."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts, GpuEnergy, GpuRecord, gpu_energy
from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.domain.telemetry import PowerThermalSample
from nvmlsim import Gpu, Trace
from tests.fakes.counter import card, reads_around

START_S, END_S = 3.0, 5.0
A100, FULL_TIME = PowerSensor(0.1, 0.025), PowerSensor(0.1, 0.1)
STEADY = card(Trace.constant(300), 0.1, 0.03)
# On for 50 ms and off for 150: no sampling every 100 ms gets it right, and the counter of a tick of 100 ms does.
PULSED = card(Trace.square(50, 350, period_s=0.2, duty=0.25, start_s=1.0), 0.1, 0.03)

# What the counter of 300 W shows from 3.23 to 3.33 s: 781 234 567.890 kJ were drawn before, and 300 W x 3.23 s.
STOOD_AT_J = 781_234_567.890 + 969.0

Power = Callable[[float], float | None]


def samples(power_w: Power, interval_s: float = 0.1, first_s: float = START_S - 0.28) -> list[PowerThermalSample]:
    """What is sampled from before the window until after it.

    The last digit of a real sensor changes, and here by so little that no joule does.
    """
    n = int((END_S + 0.3 - first_s) / interval_s) + 1
    times = [first_s + i * interval_s for i in range(n)]
    watts = [power_w(t) for t in times]
    live = [None if w is None else w + i % 2 * 1e-11 for i, w in enumerate(watts)]
    return [PowerThermalSample(t, w, gpu_index=0) for t, w in zip(times, live, strict=True)]


def record(gpu: Gpu = STEADY, **changes: object) -> GpuRecord:
    """A card of 700 W at most that sees power all the time; its counter and its samples show what is true."""
    facts = CardFacts(
        power_field="instant", counter_field="the counter", power_lag_s=0.1, power_limit_w=700.0, sensor=FULL_TIME
    )
    full = GpuRecord(
        uuid="GPU-a",
        card=facts,
        samples=samples(gpu.power_w.value),
        counter_reads=reads_around(gpu, START_S, END_S),
        interval_s=0.1,
    )
    return replace(full, **changes)  # type: ignore[arg-type]


def found(made: GpuRecord) -> GpuEnergy:
    return gpu_energy(made, START_S, END_S)


def flags(gpu: GpuEnergy) -> list[str]:
    """What the warnings begin with."""
    return [warning.flag for warning in gpu.warnings]


def changed(reads: Sequence[CounterRead], change: Callable[[float, float], float | None]) -> list[CounterRead]:
    """Other values for the same reads: a function of time and of the joules that were shown."""
    return [r._replace(energy_j=None if r.energy_j is None else change(r.before_s, r.energy_j)) for r in reads]


def with_sensor(sensor: PowerSensor | None, power_w: Power = PULSED.power_w.value) -> GpuRecord:
    made = record(PULSED, samples=samples(power_w))
    return replace(made, card=replace(made.card, sensor=sensor))


# The counter first


def test_the_counter_goes_first_and_sampled_power_is_its_witness() -> None:
    gpu = found(record())
    assert (gpu.row.device, gpu.row.kind, gpu.row.source) == ("GPU-a", "gpu", "counter")
    assert gpu.row.field == "the counter"
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-3)
    assert gpu.row.witness_j == pytest.approx(600, rel=1e-9)
    assert gpu.row.update_period_s == pytest.approx(0.1, abs=1e-3)
    assert (gpu.warnings, gpu.problem) == ((), None)


def test_the_counter_is_right_where_sampled_power_is_not() -> None:
    # A quarter of the time at 350 W and the rest at 50: 125 W for 2 s.
    gpu = found(record(PULSED))
    assert gpu.row.energy_j is not None
    assert gpu.row.uncertainty_j is not None
    assert gpu.row.witness_j is not None
    assert abs(gpu.row.energy_j - 250) <= gpu.row.uncertainty_j
    assert abs(gpu.row.witness_j - 250) > 20


def test_what_was_long_before_or_after_is_not_held_against_the_counter() -> None:
    # The driver was loaded again two seconds before the window, and power was at 700 W then.
    reads = reads_around(STEADY, START_S, END_S)
    early = [CounterRead(0.9 + i / 10, 0.9 + i / 10, 1e9 + 30 * i) for i in range(3)]
    hot = [PowerThermalSample(0.9 + i / 10, 700.0, gpu_index=0) for i in range(3)]
    clean = found(record())
    assert found(record(counter_reads=[*early, *reads], samples=[*hot, *record().samples])) == clean


# The integral instead


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("went back", lambda t, e: e if t < 4 else e - 1e6),
        ("jumped", lambda t, e: e if t < 4 else e + 1e5),
        ("stood still", lambda t, e: min(e, STOOD_AT_J) if t < 4.9 else e),
        ("ticks were not seen", lambda t, e: 781_234_567.0),
        ("ticks were not seen", lambda t, e: e if t == 3.0 else None if t > 3.0 else 781_234_567.0),
    ],
)
def test_a_counter_that_is_refused_is_replaced_by_the_integral_and_the_warning_says_so(
    why: str, change: Callable[[float, float], float | None]
) -> None:
    made = record()
    gpu = found(replace(made, counter_reads=changed(made.counter_reads, change)))
    assert gpu.row.source == "integrated"
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-9)
    assert (gpu.row.field, gpu.row.update_period_s, gpu.row.witness_j) == ("instant", 0.1, None)
    # Constant power: the driver's milliwatts over 2 s; and at both edges an eighth of 0.1 s of a swing that would
    # show in none of the readings, 4/3 of 300 W.
    assert gpu.row.uncertainty_j == pytest.approx(0.002 + 2 * 400 * 0.1 / 8)
    assert flags(gpu) == ["energy_counter_refused"]
    assert "GPU-a" in str(gpu.warnings[0])
    assert why in str(gpu.warnings[0])
    assert gpu.problem is None


@pytest.mark.parametrize("reads", [[], [CounterRead(t / 10, t / 10, None) for t in range(25, 60)]])
def test_a_card_without_a_counter_is_nothing_to_warn_of(reads: list[CounterRead]) -> None:
    gpu = found(record(counter_reads=reads))
    assert gpu.row.source == "integrated"
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-9)
    assert (gpu.warnings, gpu.problem) == ((), None)


def step(**card_changes: object) -> GpuRecord:
    """50 W until 4 s and 350 W from then on, as 26 readings 0.1 s apart show it, from 2.72 s to 5.22 s."""
    made = record(card(Trace(((0, 50), (4.0, 350))), 0.1, 0.03), counter_reads=[])
    return replace(made, card=replace(made.card, **card_changes))  # type: ignore[arg-type]


def test_the_bound_of_the_integral_is_the_sum_of_its_parts() -> None:
    # One step of 300 W between readings 0.1 s apart. They are means of 0.1 s and up to 0.1 s old: of 0.1 s earlier,
    # give or take 0.05 s, for which power at the end is 300 W above that at the start. The readings are at 3.92 and
    # 4.02 s, and so of 3.82 and 3.92: 50 W x 0.87 s + 350 W x 1.13 s = 439 J, of which a swing of 4/3 may be hidden.
    row = found(step()).row
    assert row.energy_j == pytest.approx(439)
    assert row.uncertainty_parts_j == pytest.approx(
        {
            "resolution": 0.002,
            "integration": 2 * 300 * 0.1 / 2,
            "lag": 300 * 0.05,
            "averaging": 2 * (4 / 3 * 439 / 2) * 0.1 / 8,
        }
    )
    assert row.uncertainty_j == pytest.approx(sum((row.uncertainty_parts_j or {}).values()))


def test_readings_of_an_age_that_nobody_knows_are_taken_for_the_middle_and_bound_by_both_ends() -> None:
    # The mean of up to 1.5 s: their middle is up to 0.1 + 0.75 s back, so 0.425 s give or take as much. The last of
    # them is of 4.795 s and held for 0.205 s. 50 W until 3.545 s: 536.5 J. The step lies within 0.75 s of the start.
    row = found(step(power_lag_s=1.5)).row
    assert row.energy_j == pytest.approx(50 * 0.545 + 350 * 1.455)
    assert row.uncertainty_parts_j == pytest.approx(
        {
            "resolution": 0.002,
            "integration": 2 * 300 * 0.1 / 2,
            "lag": 300 * 0.425 + 300 * 0.205,
            "averaging": 300 * 1.5 / 8 + 2 * (4 / 3 * 536.5 / 2) * 1.5 / 8,
        }
    )


def averaging(
    power_w: Trace, start_s: float, end_s: float, *, until_s: float, age_s: float = 0.05, interval_s: float = 0.1
) -> GpuEnergy:
    """A card without counter that shows the mean of a second, new every 0.1 s and read ``age_s`` after that."""
    times = [start_s - 1 + i * interval_s for i in range(int((until_s - start_s + 1) / interval_s) + 1)]
    read = [PowerThermalSample(t, power_w.integral(t - age_s - 1, t - age_s), gpu_index=0) for t in times]
    facts = CardFacts(power_field="usage", power_lag_s=1.0, power_averaged_s=1.0, power_limit_w=150.0)
    made = GpuRecord(uuid="GPU-a", card=facts, samples=read, counter_reads=[], interval_s=interval_s)
    return gpu_energy(made, start_s, end_s)


@pytest.mark.parametrize("length_s", [2.0, 5.0, 20.0])
def test_a_load_that_begins_in_the_window_is_not_lost_to_the_age_of_a_mean(length_s: float) -> None:
    # 20 W for 0.7 s and then 140 W. Taken for power of their own moment, readings that are 0.55 s old in the middle
    # would lose 120 W x 0.55 s = 66 J: 13 % of 5 s.
    trace = Trace(((0, 20), (10.7, 140)))
    row = averaging(trace, 10.0, 10.0 + length_s, until_s=11.0 + length_s).row
    true_j = 20 * 0.7 + 140 * (length_s - 0.7)
    assert row.energy_j == pytest.approx(true_j, rel=1e-3)


@pytest.mark.parametrize("age_s", [0.0, 0.03, 0.099])
@pytest.mark.parametrize("at_s", [10.2, 12.0, 14.6])
@pytest.mark.parametrize("until_s", [15.0, 15.3, 16.0])
def test_the_bound_holds_whatever_the_age_and_where_the_samples_end(age_s: float, at_s: float, until_s: float) -> None:
    row = averaging(Trace(((0, 20), (at_s, 140))), 10.0, 15.0, until_s=until_s, age_s=age_s).row
    assert row.energy_j is not None
    assert row.uncertainty_j is not None
    true_j = 20 * (at_s - 10) + 140 * (15 - at_s)
    assert abs(row.energy_j - true_j) <= row.uncertainty_j


# The witness


def tilted(gain: float, gpu: Gpu = STEADY) -> GpuRecord:
    """A counter that counts more than there is."""
    made = record(gpu)
    zero_j = made.counter_reads[0].energy_j or 0.0
    return replace(made, counter_reads=changed(made.counter_reads, lambda _, e: zero_j + gain * (e - zero_j)))


@pytest.mark.parametrize(("gain", "warned"), [(0.88, True), (0.9, True), (0.97, False), (1.04, False), (1.1, True)])
def test_a_counter_more_than_five_percent_off_its_witness_is_a_warning(gain: float, warned: bool) -> None:
    # 5 % are of the counter's own figure: 0.9 is 11 % apart, 1.1 is 9.1 %. Bounds of both may explain 53 J.
    gpu = found(tilted(gain))
    assert gpu.row.source == "counter"
    assert gpu.row.energy_j == pytest.approx(600 * gain, rel=2e-3)
    assert flags(gpu) == (["counter_disagreement"] if warned else [])
    assert not warned or "GPU-a" in str(gpu.warnings[0])
    assert gpu.row.energy_j is not None
    assert not warned or f"{abs(gpu.row.energy_j - 600) / gpu.row.energy_j:.1%} apart" in str(gpu.warnings[0])


def test_figures_that_their_bounds_explain_do_not_disagree() -> None:
    # 350 W for 50 of 200 ms and 50 W for the rest: 125 W on the whole. Each second sample is 350 W: 200 W, 60 % more;
    # but steps of 300 W between all samples are 2 x sqrt(20 x (300 x 0.1 / 2)^2) = 134 J, and those at the edges that
    # may be old 0.1 s x 300 W each. Samples that only see 50 W have no such excuse.
    seen, blind = found(record(PULSED)), found(record(PULSED, samples=samples(lambda _: 50.0)))
    assert seen.row.energy_j == pytest.approx(250, abs=10)
    assert seen.row.witness_j == pytest.approx(400, abs=31)
    assert flags(seen) == []
    assert blind.row.witness_j == pytest.approx(100)
    assert flags(blind) == ["counter_disagreement"]


@pytest.mark.parametrize(
    "power_w", [lambda _: None, lambda t: 300.0 if t < 3.5 else None, lambda t: None if 3.7 < t < 4.25 else 300.0]
)
def test_a_witness_that_failed_is_said_and_the_counter_stays(power_w: Power) -> None:
    gpu = found(record(samples=samples(power_w)))
    assert (gpu.row.source, gpu.row.witness_j) == ("counter", None)
    assert gpu.row.energy_j == pytest.approx(600, rel=2e-3)
    assert flags(gpu) == ["energy_witness_unavailable"]
    assert gpu.problem is None


# Power that cannot be


@pytest.mark.parametrize("absurd_w", [-0.5, 1051.0, 1e9, math.nan, math.inf])
def test_absurd_readings_count_as_failed_and_are_said(absurd_w: float) -> None:
    # Two of them in a row are bridged; half as much again as the limit is 1050 W.
    gpu = found(record(counter_reads=[], samples=samples(lambda t: absurd_w if 3.9 < t < 4.1 else 300.0)))
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-9)
    assert flags(gpu) == ["absurd_power"]
    assert "2 power readings of GPU-a" in str(gpu.warnings[0])


def test_a_reading_up_to_half_as_much_again_as_the_limit_is_believed() -> None:
    gpu = found(record(counter_reads=[], samples=samples(lambda t: 1049.0 if 3.9 < t < 4.1 else 300.0)))
    assert gpu.warnings == ()
    # The trapezoid over two samples of 1049 W between samples of 300: 2 x 0.1 s x 749 W more.
    assert gpu.row.energy_j == pytest.approx(600 + 149.8, rel=1e-9)


def test_without_a_known_limit_only_what_no_card_draws_is_absurd() -> None:
    made = record(counter_reads=[], samples=samples(lambda t: 2000.0 if 3.9 < t < 4.0 else 300.0))
    made = replace(made, card=replace(made.card, power_limit_w=None))
    assert found(made).warnings == ()
    ten_kw = samples(lambda t: 10_000.0 if 3.9 < t < 4.0 else 300.0)
    assert flags(found(replace(made, samples=ten_kw))) == ["absurd_power"]


@pytest.mark.parametrize(("at_s", "believed"), [(START_S - 2.0, True), (START_S + 0.5, True), (END_S + 0.6, False)])
def test_the_highest_limit_that_was_in_force_in_the_window_counts(at_s: float, believed: bool) -> None:
    # 400 W of a card whose limit was 200 W at first, read twice a second; half as much again would be 300 W.
    gpu = card(Trace.constant(400), 0.1, 0.03)
    times = [START_S - 2.5 + 0.1 * n for n in range(56)]
    limits = [(None if n % 5 else 450.0 if t >= at_s else 200.0) for n, t in enumerate(times)]
    told = [PowerThermalSample(t, 400.0, gpu_index=0, power_limit_w=w) for t, w in zip(times, limits, strict=True)]
    made = record(gpu, samples=told)
    found_j = found(replace(made, card=replace(made.card, power_limit_w=200.0))).row.energy_j
    assert found_j == (pytest.approx(800, rel=2e-3) if believed else None)


def test_a_limit_that_was_lowered_before_the_window_counts_no_more() -> None:
    times = [START_S - 2.5 + 0.1 * n for n in range(56)]
    told = [PowerThermalSample(t, 300.0, gpu_index=0, power_limit_w=900.0 if t < 1 else 350.0) for t in times]
    assert record(samples=told).power_limit_w(START_S, END_S) == 350.0


# Nothing at all


@pytest.mark.parametrize(
    ("reads", "why"),
    [
        ([], "it has no energy counter"),
        (
            [CounterRead(2.5 + i / 10, 2.5 + i / 10, 5.0) for i in range(30)],
            "its energy counter is not used: its ticks",
        ),
    ],
)
def test_where_neither_is_known_there_is_no_energy_and_the_problem_says_why(reads: list[CounterRead], why: str) -> None:
    gpu = found(record(counter_reads=reads, samples=samples(lambda t: 300.0 if t < 3.18 else None)))
    assert (gpu.row.energy_j, gpu.row.uncertainty_j, gpu.row.source) == (None, None, "integrated")
    assert gpu.problem is not None
    assert "GPU-a" in gpu.problem
    assert "2 s of the window (2 readings)" in gpu.problem
    assert why in gpu.problem
    assert gpu.warnings == ()


@pytest.mark.parametrize("lost_s", [END_S - 0.15, END_S - 0.01])
def test_power_that_is_never_read_again_is_not_held_to_the_end_of_the_window(lost_s: float) -> None:
    gpu = found(record(samples=samples(lambda t: None if t >= lost_s else 300.0), counter_reads=[]))
    assert gpu.row.energy_j is None
    assert gpu.problem is not None
    # One reading that failed right at the end is bridged as any other.
    failed_once = samples(lambda t: None if END_S <= t < END_S + 0.1 else 300.0)
    assert found(record(samples=failed_once, counter_reads=[])).row.energy_j == pytest.approx(600)


def test_a_window_of_no_length_has_no_energy() -> None:
    gpu = gpu_energy(record(), START_S, START_S)
    assert gpu.row.energy_j is None
    assert gpu.problem is not None


# Sensors that look part of the time


def missed_j(sensor: PowerSensor | None, power_w: Power = PULSED.power_w.value) -> float | None:
    """The part of the counter's bound, for pulsed power with these samples, that stands for what no reading sees."""
    row = found(with_sensor(sensor, power_w)).row
    assert row.source == "counter"
    return (row.uncertainty_parts_j or {}).get("unseen")


def test_a_part_time_sensor_widens_the_bound_of_the_counter_and_a_full_time_one_does_not() -> None:
    # A counter that adds up such readings has the error of a mean of 20 of them, of which 3/4 of the time is not seen.
    # From reading to reading power steps by 300 W: a variance of 300^2 / 2. 2 x sqrt(3/4 x 300^2 / 2 x 0.1 s x 2 s).
    assert missed_j(A100) == pytest.approx(2 * math.sqrt(0.75 * 45_000 * 0.1 * 2))
    assert missed_j(FULL_TIME) is None


def test_a_part_time_sensor_under_power_that_never_changes_misses_nothing() -> None:
    assert missed_j(A100, lambda _: 125.0) == pytest.approx(0, abs=1e-9)


def test_a_card_that_nobody_has_published_figures_of_counts_as_part_time() -> None:
    assert missed_j(None) == missed_j(A100)


def test_a_sensor_that_samples_more_often_than_it_is_polled_misses_less() -> None:
    # Polled every 100 ms, one that samples every 20 ms looks five times as often, and half of the time is in none.
    often, as_polled = PowerSensor(0.02, 0.01), PowerSensor(0.1, 0.01)
    assert missed_j(often) == pytest.approx(2 * math.sqrt(0.5 * 45_000 * 0.02 * 2))
    assert missed_j(as_polled) == pytest.approx(2 * math.sqrt(0.9 * 45_000 * 0.1 * 2))


def test_a_witness_that_sees_all_of_the_time_leaves_nothing_unseen() -> None:
    # Of the card nothing is published, but its readings are means of a second.
    made = with_sensor(None)
    known = replace(made, card=replace(made.card, power_averaged_s=1.0))
    assert "unseen" not in (found(known).row.uncertainty_parts_j or {})
    assert "unseen" in (found(made).row.uncertainty_parts_j or {})


def test_the_integral_of_a_part_time_sensor_has_the_sampling_error_of_what_it_does_not_see() -> None:
    row = found(replace(with_sensor(A100), counter_reads=[])).row
    assert (row.uncertainty_parts_j or {})["unseen"] == pytest.approx(2 * math.sqrt(0.75 * 45_000 * 0.1 * 2))


@pytest.mark.parametrize("phase_s", [0.0, 0.013, 0.05, 0.087])
def test_the_true_energy_is_within_the_bound_of_either_figure(phase_s: float) -> None:
    # 60 W before and after, 420 W in the window: 840 J.
    gpu = card(Trace(((0, 60), (START_S, 420), (END_S, 60))), 0.1, phase_s)
    made = record(gpu, samples=samples(gpu.power_w.value, first_s=START_S - 0.3 + phase_s))
    counter, integral = found(made).row, found(replace(made, counter_reads=[])).row
    for row in (counter, integral):
        assert row.energy_j is not None
        assert row.uncertainty_j is not None
        assert abs(row.energy_j - 840) <= row.uncertainty_j
    assert counter.energy_j == pytest.approx(840, rel=1e-3)


@pytest.mark.parametrize("sensor", [FULL_TIME, A100, None])
def test_the_bound_reaches_to_what_a_witness_saw_that_is_further_than_its_own(sensor: PowerSensor | None) -> None:
    # The counter runs 8 % fast: 600 J of 300 W for 2 s become 648; power says 600, give or take 10 J.
    fast = tilted(1.08)
    told = found(replace(fast, card=replace(fast.card, sensor=sensor))).row
    assert told.energy_j == pytest.approx(648, rel=2e-3)
    assert told.uncertainty_j == pytest.approx(48, abs=1.5)
    assert (told.uncertainty_parts_j or {})["witness"] > 0


def test_what_was_polled_slowly_widens_no_bound_and_disagrees_with_nothing() -> None:
    # 100 and 500 W, a quarter of a second each: read each second, always at 100 W. The counter says 300 W, as it is.
    gpu = card(Trace.square(100, 500, period_s=0.5, duty=0.5, start_s=2.6), 0.1, 0.03)
    slow = replace(record(gpu, samples=samples(gpu.power_w.value, interval_s=1.0, first_s=2.55)), interval_s=1.0)
    seen = found(slow)
    assert seen.row.witness_j == pytest.approx(200)
    assert seen.row.energy_j == pytest.approx(600, abs=seen.row.uncertainty_j)
    assert "witness" not in (seen.row.uncertainty_parts_j or {})
    assert (seen.row.uncertainty_j or 0) < 100
    assert flags(seen) == ["energy_witness_unavailable"]
    assert "too seldom" in str(seen.warnings[0])


def test_even_what_was_polled_slowly_disagrees_with_what_no_load_explains() -> None:
    # 300 W at all times, and a counter that counts five times as much.
    slow = replace(tilted(5.0), samples=samples(lambda _: 300.0, interval_s=1.0), interval_s=1.0)
    slow = replace(slow, card=replace(slow.card, power_limit_w=2000.0))
    assert flags(found(slow)) == ["counter_disagreement"]


# What a long window costs


def calls_for(seconds: int) -> int:
    """How many calls, and steps of generators, it takes to work out a window that was read every 10 ms."""
    times = [n / 100 for n in range(100 * seconds)]
    made = record(
        counter_reads=[CounterRead(t, t + 2e-5, 30.0 * math.floor(t / 0.1)) for t in times],
        samples=[PowerThermalSample(t + 5e-5, 300 + n % 7 / 10, gpu_index=0) for n, t in enumerate(times)],
        interval_s=0.01,
    )
    n_calls = 0

    def count(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1

    sys.setprofile(count)
    try:
        gpu = gpu_energy(made, 1.0, seconds - 1.0)
    finally:
        sys.setprofile(None)
    assert gpu.row.source == "counter"
    return n_calls


def test_a_window_twice_as_long_takes_twice_the_work() -> None:
    # Each tick against each other tick would be 400 x 400 more steps for the first, and four times that for the other.
    assert calls_for(80) <= 2.1 * calls_for(40)
