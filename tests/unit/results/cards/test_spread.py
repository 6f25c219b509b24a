"""How much cards differ, beside figures worked out by hand."""

import math

import numpy as np
import pytest

from llenergymeasure.results.cards.spread import Spread, spread


def of(*runs: tuple[str, str, float]) -> Spread | None:
    """Of runs of a configuration on a card, by logarithms."""
    return spread([math.exp(y) for *_, y in runs], [kind for kind, *_ in runs], [card for _, card, _ in runs])


def test_two_cards_by_hand() -> None:
    found = of(("x", "a", 0.0), ("x", "a", 0.02), ("x", "b", 0.10), ("x", "b", 0.12))
    assert found is not None
    # Squares of 0.0004 over two degrees of freedom, and t(.975, 2) = 4.302653.
    half = 4.302653 * math.sqrt(0.0002 * (1 / 2 + 1 / 2))
    assert found.value == pytest.approx(math.exp(0.1))
    assert (found.low, found.high) == pytest.approx((math.exp(0.1 - half), math.exp(0.1 + half)), rel=1e-6)
    assert (found.highest, found.lowest, found.n_cards, found.n_runs, found.n_configurations) == ("b", "a", 2, 4, 1)


def test_what_configurations_differ_by_is_none_of_it() -> None:
    # The second takes twice as much and was mostly on card b, which takes 8 % more.
    up, twice = math.log(1.08), math.log(2)
    found = of(*[("x", "a", 0.0)] * 3, ("x", "b", up), ("y", "a", twice), *[("y", "b", twice + up)] * 3)
    assert found is not None
    assert found.value == pytest.approx(1.08)
    assert (found.low, found.high) == pytest.approx((1.08, 1.08))


def test_of_three_cards_the_interval_is_tukeys() -> None:
    runs = [("x", card, base + y) for card, base in (("a", 0.0), ("b", 0.05), ("c", 0.1)) for y in (-0.01, 0.0, 0.01)]
    found = of(*runs)
    assert found is not None
    # The studentised range of three with six degrees of freedom is 4.339 at 5 % in any table of it.
    half = 4.339 / math.sqrt(2) * 0.01 * math.sqrt(2 / 3)
    assert found.value == pytest.approx(math.exp(0.1))
    assert found.low == pytest.approx(math.exp(0.1 - half), rel=1e-4)


def test_cards_that_share_no_configuration_are_not_compared() -> None:
    found = of(*[("x", "a", 0.0)] * 2, *[("x", "b", 0.1)] * 2, *[("y", "c", 5.0)] * 9)
    assert found is not None
    assert found.n_cards == 2
    assert found.value == pytest.approx(math.exp(0.1))
    assert of(("x", "a", 0.0), ("y", "b", 0.1)) is None
    assert of(("x", "a", 0.0), ("x", "a", 0.1)) is None


def test_without_repeats_there_is_a_ratio_and_no_interval() -> None:
    found = of(("x", "a", 0.0), ("x", "b", 0.1))
    assert found is not None
    assert found.value == pytest.approx(math.exp(0.1))
    assert (found.low, found.high) == (None, None)
    assert found.why_no_interval is not None


def test_the_interval_holds_the_truth_of_two_cards_in_95_of_100() -> None:
    covered = 0
    for seed in range(200):
        draw = np.random.default_rng(seed).normal(0.0, 0.02, 12)
        on_b = math.log(1.08)
        runs = [(kind, "b" if i % 3 else "a", level + (on_b if i % 3 else 0.0) + float(draw[i + offset]))
                for kind, level, offset in (("x", 0.0, 0), ("y", 1.0, 6)) for i in range(6)]  # fmt: skip
        found = of(*runs)
        assert found is not None
        low, high = (found.low, found.high) if found.highest == "b" else (1 / (found.high or 1), 1 / (found.low or 1))
        assert low is not None
        covered += low <= 1.08 <= (high or 0)
    assert 180 <= covered <= 199
