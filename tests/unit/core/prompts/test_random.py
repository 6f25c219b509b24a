"""Lengths and token ids that are drawn: quantiles by hand, and the same on every machine and day."""

import math
from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.random_prompts import LengthConfig
from llenergymeasure.core.prompts.random import draw_lengths, draw_prompts, length_at, random_token_ids
from llenergymeasure.core.prompts.selection import PromptSelection, select_prompts

JUST_BELOW_1 = 1 - 2**-53
UNIFORM = LengthConfig(distribution="uniform", low=3, high=6)
# The normal quantiles of 2.5, 16, 50, 84 and 97.5 % from a printed table, to the digits it has.
NORMAL = {0.025: -1.960, 0.1587: -1.000, 0.5: 0.0, 0.8413: 1.000, 0.975: 1.960}
# Derived from SHA-256, Python's random() and scipy's lognorm.ppf by a script of its own.
INPUTS_42 = [15, 12, 76, 19, 39, 33]
OUTPUTS_42 = [23, 86, 42, 64, 60, 128]
INPUTS_7 = [56, 42, 16, 54, 38, 26]
IDS_42_0 = (46348, 12705, 37076, 28189, 17000, 6975)


def selection(random: Any, **fields: Any) -> PromptSelection:
    return select_prompts(ExperimentConfig.model_validate({"model": "m", "dataset": {"random": random}, **fields}))


def lengths(random: Any, **fields: Any) -> tuple[list[int | None], list[int | None]]:
    """In and out."""
    drawn = selection(random, **fields).prompts
    return [p.n_random_tokens for p in drawn], [p.output_tokens for p in drawn]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 3), (0.2499, 3), (0.25, 4), (0.4999, 4), (0.5, 5), (0.75, 6), (JUST_BELOW_1, 6)],
)
def test_each_uniform_length_has_its_share_and_both_bounds_are_among_them(share: float, expected: int) -> None:
    assert length_at(share, UNIFORM, 9) == expected


def test_a_bound_that_is_not_given_is_one_or_the_limit() -> None:
    open_ended = LengthConfig(distribution="uniform")
    assert [length_at(share, open_ended, 4) for share in (0.0, 0.25, 0.5, JUST_BELOW_1)] == [1, 2, 3, 4]
    wide = LengthConfig(distribution="lognormal", median=100, sigma=10)
    assert [length_at(share, wide, 400) for share in (0.0, JUST_BELOW_1)] == [1, 400]


@pytest.mark.parametrize(("share", "deviations"), NORMAL.items())
def test_a_lognormal_length_is_the_exponential_of_a_normal_one(share: float, deviations: float) -> None:
    length = LengthConfig(distribution="lognormal", median=100, sigma=0.5)
    assert length_at(share, length, 10_000) == round(100 * math.exp(0.5 * deviations))


def test_lognormal_lengths_beyond_the_bounds_become_these() -> None:
    length = LengthConfig(distribution="lognormal", median=100, sigma=0.5, low=61, high=164)
    # The quantiles of one standard deviation are 60.65 and 164.87 tokens.
    assert [length_at(share, length, 400) for share in (0.0, 0.1, 0.15, 0.17)] == [61, 61, 61, 62]
    assert [length_at(share, length, 400) for share in (0.83, 0.85, 0.9, JUST_BELOW_1)] == [161, 164, 164, 164]
    drawn = Counter(islice(draw_lengths(length, 400, Random(1)), 20_000))
    # What lies beyond a standard deviation is 15.87 %; the bounds are four standard errors of 20 000 draws.
    for bound in (61, 164):
        assert drawn[bound] / 20_000 == pytest.approx(0.1587, abs=0.014)


def test_a_fixed_length_is_its_value_or_the_limit() -> None:
    assert {length_at(share, LengthConfig(value=7), 9) for share in (0.0, 0.5, JUST_BELOW_1)} == {7}
    assert {length_at(share, LengthConfig(), 9) for share in (0.0, 0.5, JUST_BELOW_1)} == {9}


@given(
    st.floats(0, JUST_BELOW_1),
    st.floats(0, JUST_BELOW_1),
    st.integers(1, 50),
    st.integers(50, 500),
    st.floats(0.01, 10),
    st.sampled_from(["uniform", "lognormal"]),
)
def test_lengths_keep_to_their_bounds_and_rise_with_the_share(
    one: float, other: float, low: int, high: int, sigma: float, kind: Any
) -> None:
    length = LengthConfig(distribution=kind, low=low, high=high, median=50, sigma=sigma)
    shorter, longer = (length_at(share, length, 1000) for share in sorted((one, other)))
    assert low <= shorter <= longer <= high


def test_the_default_is_exactly_the_limits() -> None:
    assert lengths({}, n=3, max_input_tokens=11, max_output_tokens=5) == ([11] * 3, [5] * 3)
    assert lengths({"input_tokens": 7, "output_tokens": None}, n=2, max_output_tokens=5) == ([7] * 2, [5] * 2)


def test_the_lengths_of_a_seed_are_the_same_on_every_machine_and_day() -> None:
    both = {"distribution": "uniform", "low": 1, "high": 100}
    skewed = {"distribution": "lognormal", "median": 50, "sigma": 0.7}
    assert lengths({"input_tokens": both, "output_tokens": skewed}, n=6) == (INPUTS_42, OUTPUTS_42)
    assert lengths({"input_tokens": both}, n=6, random_seed=7)[0] == INPUTS_7


def test_fewer_are_the_first_of_more_and_lengths_in_do_not_depend_on_lengths_out() -> None:
    drawn = {"distribution": "uniform"}
    more = lengths({"input_tokens": drawn, "output_tokens": drawn}, n=20)
    assert lengths({"input_tokens": drawn, "output_tokens": drawn}, n=5) == (more[0][:5], more[1][:5])
    assert lengths({"input_tokens": drawn, "output_tokens": 9}, n=20)[0] == more[0]
    # In and out of a request are as good as independent: each has its own numbers.
    assert lengths({"input_tokens": drawn, "output_tokens": drawn}, n=20, max_input_tokens=128)[0] != more[1]


def test_there_are_always_as_many_as_asked_for_in_every_order() -> None:
    for order in ("shuffled", "as_is", "grouped"):
        drawn = select_prompts(
            ExperimentConfig.model_validate(
                {
                    "model": "m",
                    "n": 500,
                    "dataset": {"order": order, "random": {"input_tokens": {"distribution": "uniform"}}},
                }
            )
        )
        assert [p.index for p in drawn.prompts] == list(range(500))
        assert drawn.warnings == ()
        assert drawn.prompts == selection({"input_tokens": {"distribution": "uniform"}}, n=500).prompts


def test_the_digest_is_that_of_seed_and_lengths() -> None:
    base = selection({"input_tokens": 8}, n=3).digest
    assert selection({"input_tokens": 8}, n=3, max_input_tokens=9).digest == base
    assert selection({"input_tokens": {"distribution": "uniform", "low": 8, "high": 8}}, n=3).digest == base
    others = [
        selection({"input_tokens": 9}, n=3),
        selection({"input_tokens": 8}, n=4),
        selection({"input_tokens": 8}, n=3, random_seed=1),
        selection({"input_tokens": 8, "output_tokens": 8}, n=3),
    ]
    assert len({base, *(other.digest for other in others)}) == 5


def test_only_a_random_dataset_is_drawn() -> None:
    with pytest.raises(ValueError, match=r"dataset\.random is not set"):
        draw_prompts(ExperimentConfig(model="m"))


def test_ids_are_of_the_vocabulary_without_what_is_excluded_and_each_is_as_likely() -> None:
    excluded = {0, 1, 5, 9, 77, -3}
    drawn = Counter(random_token_ids(60_000, 10, excluded, 42, 0))
    assert set(drawn) == {2, 3, 4, 6, 7, 8}
    # 10 000 each; four standard errors are 365.
    assert all(abs(count - 10_000) < 365 for count in drawn.values())


@given(st.integers(1, 40), st.sets(st.integers(-5, 50)), st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_no_excluded_id_is_ever_drawn(size: int, excluded: set[int], seed: int, index: int) -> None:
    left = set(range(size)) - excluded
    if left:
        assert set(random_token_ids(200, size, excluded, seed, index)) <= left
    else:
        with pytest.raises(ValueError, match=f"of {size} token ids none is left"):
            random_token_ids(1, size, excluded, seed, index)


def test_the_ids_of_a_request_are_its_own_and_the_same_on_every_machine_and_day() -> None:
    assert random_token_ids(6, 50_000, range(3), 42, 0) == IDS_42_0
    assert random_token_ids(3, 50_000, range(3), 42, 0) == IDS_42_0[:3]
    seen = {random_token_ids(6, 50_000, range(3), seed, index) for seed in range(5) for index in range(20)}
    assert len(seen) == 100
    assert random_token_ids(0, 50_000, (), 42, 0) == ()
