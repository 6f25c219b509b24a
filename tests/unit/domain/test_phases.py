"""Prefill and decode from pairs of windows."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.phases import PhaseWindow, mean_with_interval, phases_of
from llenergymeasure.domain.result import ExperimentResult
from tests.unit.domain.conftest import MakeProcess

# The 97.5 % point of Student's t with 2 degrees of freedom, from any table.
T_2 = 4.302653


def window(seconds: float, joules: float | None, n_out: int, bound: float | None = 0.0) -> PhaseWindow:
    return PhaseWindow(
        duration_sec=seconds, energy_j=joules, uncertainty_j=bound, n_input_tokens=100, n_output_tokens=n_out
    )


PAIRS = [(window(s, 10 * s, 4), window(f, 20 * f, 36)) for s, f in ((1.0, 5.0), (1.1, 5.3), (0.9, 4.9))]


def test_decode_is_the_difference_and_prefill_the_short_window() -> None:
    found = phases_of(PAIRS, n_requests=4)
    assert (found.n_pairs, found.n_requests) == (3, 4)
    assert (found.prefill.n_tokens, found.decode.n_tokens) == (100, 32)
    assert found.prefill.duration_sec.value == pytest.approx(1.0)
    # 4.0, 4.2 and 4.0 s; 90, 95 and 89 J.
    assert found.decode.duration_sec.value == pytest.approx(12.2 / 3)
    assert found.decode.energy_j is not None
    assert found.decode.energy_j.value == pytest.approx(274 / 3)
    assert found.decode.power_w is not None
    assert found.decode.power_w.value == pytest.approx((90 / 4 + 95 / 4.2 + 89 / 4) / 3)
    assert found.decode.energy_per_token_j is not None
    assert found.decode.energy_per_token_j.value == pytest.approx(274 / 3 / 32)
    assert found.decode.tokens_per_second is not None
    assert found.decode.tokens_per_second.value == pytest.approx(32 / (12.2 / 3))
    assert found.prefill.tokens_per_second is not None
    assert found.prefill.tokens_per_second.value == pytest.approx(100.0)
    assert found.prefill.status == found.decode.status == "resolved"


def test_the_interval_is_students() -> None:
    found = mean_with_interval([4.0, 4.2, 4.0])
    # Standard deviation of 4.0, 4.2, 4.0: sqrt((2 x (0.0667)^2 + 0.1333^2) / 2).
    half = T_2 * math.sqrt((2 * (0.2 / 3) ** 2 + (0.4 / 3) ** 2) / 2) / math.sqrt(3)
    assert found.low == pytest.approx(found.value - half, rel=1e-5)
    assert found.high == pytest.approx(found.value + half, rel=1e-5)


def test_what_the_sensor_leaves_open_widens_the_interval_however_many_pairs_there_are() -> None:
    for n in (3, 30):
        # Alike windows: all that is left is a bound of 3 J, in each of them to the same side for all one knows.
        found = mean_with_interval([50.0] * n, [3.0] * n)
        assert (found.value, found.low, found.high) == (50.0, 47.0, 53.0)
    assert mean_with_interval([50.0] * 4, [1.0, 2.0, 3.0, 6.0]).high == 53.0
    # Of a difference both windows' bounds count: 3 and 4 J are 7.
    pairs = [(window(1, 10, 4, 3.0), window(5, 60, 36, 4.0))] * 3
    decode = phases_of(pairs, 4).decode.energy_j
    assert decode is not None
    assert (decode.value, decode.low, decode.high) == (50.0, 43.0, 57.0)


TRUE_PREFILL_J, TRUE_FULL_J, BOUND_J, NOISE_J = 100.0, 400.0, 6.0, 1.0


def covered(n_pairs: int, error: Callable[[random.Random], tuple[float, float]], n_trials: int = 400) -> float:
    """Share of trials whose intervals of prefill and of decode both hold the truth.

    Runs differ by a standard deviation of ``NOISE_J``; what the sensor adds is ``error`` of each pair, in bounds.
    """
    draws = random.Random(13)
    n_inside = 0
    for _ in range(n_trials):
        pairs = []
        for _ in range(n_pairs):
            prefill, full = error(draws)
            seen = [
                true_j + draws.gauss(0.0, NOISE_J) + part * BOUND_J
                for true_j, part in ((TRUE_PREFILL_J, prefill), (TRUE_FULL_J, full))
            ]
            pairs.append((window(1.0, seen[0], 4, BOUND_J), window(5.0, seen[1], 36, BOUND_J)))
        found = phases_of(pairs, 4)
        truths = ((found.prefill.energy_j, TRUE_PREFILL_J), (found.decode.energy_j, TRUE_FULL_J - TRUE_PREFILL_J))
        n_inside += all(
            e is not None and e.low is not None and e.high is not None and e.low <= truth <= e.high
            for e, truth in truths
        )
    return n_inside / n_trials


@pytest.mark.parametrize("n_pairs", [3, 10, 30])
@pytest.mark.parametrize(
    "error",
    [
        lambda _: (1.0, 1.0),
        lambda _: (-1.0, 1.0),
        lambda _: (0.7, -0.7),
        lambda draws: (draws.uniform(-1, 1), draws.uniform(-1, 1)),
        lambda draws: (1 - draws.uniform(0, 0.2), -1 + draws.uniform(0, 0.2)),
    ],
    ids=["one sign", "opposite signs", "most of the bound", "random", "nearly one sign"],
)
def test_intervals_hold_the_truth_for_errors_of_one_sign_and_for_random_ones(
    error: Callable[[random.Random], tuple[float, float]], n_pairs: int
) -> None:
    # Of 400 trials a share of 95 % is seen to within 2.2 points, in 19 of 20 cases.
    assert covered(n_pairs, error) >= 0.95 - 0.022


@pytest.mark.parametrize(
    ("prefill_s", "update_s", "bound_j", "status"),
    [
        (0.9, 0.1, None, "unresolved"),  # nine updates
        (1.0, 0.1, None, "resolved"),
        (0.9, 0.1, 1.0, "resolved"),  # a bound says what of that matters
        (0.9, None, None, "resolved"),
        (1.0, 0.1, 5.0, "resolved"),  # 5 of 10 J
        (1.0, 0.1, 5.1, "unresolved"),
    ],
)
def test_a_window_that_is_shorter_than_what_its_sensor_resolves_is_unresolved(
    prefill_s: float, update_s: float | None, bound_j: float | None, status: str
) -> None:
    short = replace(window(prefill_s, 10.0, 4, bound_j), update_period_s=update_s)
    found = phases_of([(short, replace(window(9.0, 90.0, 36, bound_j), update_period_s=update_s))] * 5, 4)
    assert found.prefill.status == status
    assert found.decode.status == "resolved"
    assert found.pairs[0].prefill.update_period_s == update_s


def test_a_decode_that_is_shorter_than_what_the_sensor_resolves_is_unresolved() -> None:
    pairs = [
        tuple(replace(w, update_period_s=0.1) for w in (window(2.0, 10.0, 4, None), window(2.9, 90.0, 36, None)))
    ] * 5
    found = phases_of([(p, f) for p, f in pairs], 4)
    assert (found.prefill.status, found.decode.status) == ("resolved", "unresolved")


def test_intervals_can_be_worked_out_again_from_the_pairs_of_a_saved_result(process: MakeProcess) -> None:
    joules = ((10.0, 100.0), (12.0, 101.0), (11.0, 105.0))
    given = [(window(1.0, e, 4, 0.3), window(5.0 + e / 100, g, 36, 0.4)) for e, g in joules]
    result = ExperimentResult.from_processes([process(phases=phases_of(given, n_requests=4))])
    phases = json.loads(result.model_dump_json())["phases"]
    pairs = phases["pairs"]
    assert len(pairs) == phases["n_pairs"] == 3
    decode_j = [pair["full"]["energy_j"] - pair["prefill"]["energy_j"] for pair in pairs]
    assert decode_j == [90.0, 89.0, 94.0]
    # Deviations from the mean of 91 are -1, -2 and 3. Of each difference 0.4 and 0.3 J are open.
    bounds_j = [pair["full"]["uncertainty_j"] + pair["prefill"]["uncertainty_j"] for pair in pairs]
    assert bounds_j == pytest.approx([0.7] * 3)
    half_j = T_2 * math.sqrt(14 / 2) / math.sqrt(3) + sum(bounds_j) / 3
    assert phases["decode"]["energy_j"] == pytest.approx(
        {"value": 91.0, "low": 91 - half_j, "high": 91 + half_j}, rel=1e-6
    )
    seconds = [pair["full"]["duration_sec"] - pair["prefill"]["duration_sec"] for pair in pairs]
    assert phases["decode"]["duration_sec"]["value"] == pytest.approx(sum(seconds) / 3)
    # 4.10, 4.12 and 4.11 s: the deviations are 0.01 s, 0.01 s and none.
    half_s = T_2 * 0.01 / math.sqrt(3)
    assert phases["decode"]["duration_sec"]["low"] == pytest.approx(4.11 - half_s, rel=1e-6)


def test_what_no_sensor_told_of_a_pair_stays_absent() -> None:
    pairs = [(window(1.0, None, 4, None), window(5.0, 50.0, 36, None))] * 3
    first = phases_of(pairs, 4).pairs[0]
    assert (first.prefill.energy_j, first.full.energy_j, first.full.uncertainty_j) == (None, 50.0, None)


def test_a_difference_that_may_be_nothing_is_unresolved() -> None:
    pairs = [(window(1.0, 10.0, 4), window(1.2, e, 36)) for e in (13.0, 8.0, 10.0)]
    found = phases_of(pairs, 4)
    assert found.decode.status == "unresolved"
    assert found.decode.energy_j is not None
    assert found.decode.energy_j.unresolved
    # The time is the same 0.2 s each time, so it is known.
    assert not found.decode.duration_sec.unresolved
    assert found.prefill.status == "resolved"


def test_a_time_that_may_be_nothing_has_no_rate_and_no_power() -> None:
    pairs = [(window(1.0, 10.0, 4), window(f, 10.0, 36)) for f in (1.5, 0.7, 1.1)]
    decode = phases_of(pairs, 4).decode
    assert (decode.tokens_per_second, decode.power_w, decode.status) == (None, None, "unresolved")


def test_without_energy_the_times_stand_alone() -> None:
    pairs = [(p, replace(f, energy_j=None)) for p, f in PAIRS]
    found = phases_of(pairs, 4)
    assert (found.decode.energy_j, found.decode.power_w, found.decode.energy_per_token_j) == (None, None, None)
    assert found.decode.status == "resolved"
    assert found.prefill.energy_j is not None


def test_answers_of_one_token_have_no_decode() -> None:
    pairs = [(window(1.0, 10.0, 4), window(1.0 + d, 10.0, 4)) for d in (0.01, -0.01, 0.0)]
    decode = phases_of(pairs, 4).decode
    assert (decode.n_tokens, decode.tokens_per_second, decode.energy_per_token_j) == (0, None, None)
    assert decode.status == "unresolved"


def test_windows_of_other_tokens_and_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 pairs of windows are too few"):
        phases_of(PAIRS[:2], 4)
    with pytest.raises(ValueError, match="did not run the same tokens"):
        phases_of([*PAIRS, (window(1, 10, 4), window(5, 90, 35))], 4)
    other = replace(PAIRS[0][1], n_input_tokens=99)
    with pytest.raises(ValueError, match="did not run the same tokens"):
        phases_of([(PAIRS[0][0], other)] * 3, 4)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 500), st.floats(0, 500)), min_size=3))
def test_prefill_and_decode_add_up_to_the_full_window(rows: list[tuple[float, float, float, float]]) -> None:
    pairs = [(window(p, e, 4), window(f, g, 36)) for p, f, e, g in rows]
    found = phases_of(pairs, 4)
    assert found.prefill.energy_j is not None
    assert found.decode.energy_j is not None
    full = sum(g for *_, g in rows) / len(rows)
    assert found.prefill.energy_j.value + found.decode.energy_j.value == pytest.approx(full, abs=1e-6)


def test_a_phase_that_took_less_than_nothing_is_not_resolved() -> None:
    pairs = [(window(1.0, 10.0, 4), window(0.95 - d, 9.5, 36)) for d in (0.0, 0.001, 0.002)]
    decode = phases_of(pairs, 4).decode
    assert decode.status == "unresolved"
    assert (decode.tokens_per_second, decode.power_w) == (None, None)
