"""When requests arrive."""

import itertools
import statistics
from typing import Any

import pytest

from llenergymeasure.config.load import LoadConfig
from llenergymeasure.core.load.arrival_times import Ends, drawn_times_s, ends_of
from llenergymeasure.exceptions import ConfigError


def load(**fields: Any) -> LoadConfig:
    return LoadConfig.model_validate(fields)


def gaps_s(given: LoadConfig, n: int = 20_000, seed: int = 1) -> list[float]:
    times_s = drawn_times_s(given, Ends(n=n), seed)
    return [b - a for a, b in itertools.pairwise((0.0, *times_s))]


# The coefficient of variation of a gamma distribution of shape k is 1 / sqrt(k).
@pytest.mark.parametrize(
    ("fields", "cv"),
    [
        ({"arrival": "poisson"}, 1.0),
        ({"arrival": "gamma", "burstiness": 4.0}, 0.5),
        ({"arrival": "gamma", "burstiness": 0.25}, 2.0),
        ({"arrival": "constant"}, 0.0),
    ],
)
def test_gaps_have_the_mean_of_the_rate_and_the_spread_of_their_kind(fields: dict[str, Any], cv: float) -> None:
    found = gaps_s(load(rate=5.0, **fields))
    mean_s = statistics.fmean(found)
    # Four standard errors of 20,000 draws.
    assert mean_s == pytest.approx(0.2, rel=4 * max(cv, 1e-9) / 20_000**0.5)
    assert statistics.stdev(found) / mean_s == pytest.approx(cv, rel=0.1, abs=1e-9)


def test_half_of_the_gaps_of_independent_users_are_under_their_median() -> None:
    # The median of an exponential distribution is ln 2 of its mean.
    found = gaps_s(load(rate=1.0))
    assert sum(gap < 0.693147 for gap in found) / len(found) == pytest.approx(0.5, abs=0.015)


def test_the_same_seed_gives_the_same_times_and_another_others() -> None:
    ends = Ends(n=50)
    given = load(rate=2.0)
    assert drawn_times_s(given, ends, 7) == drawn_times_s(given, ends, 7)
    assert drawn_times_s(given, ends, 7) != drawn_times_s(given, ends, 8)


def test_arrivals_end_with_their_time() -> None:
    assert drawn_times_s(load(rate=2.0, arrival="constant"), Ends(most_s=2.0), 0) == (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"rate": 4.0, "n": 10}, Ends(n=10)),
        ({"rate": 4.0, "duration_s": 20.0}, Ends(most_s=20.0)),
        # 480 requests at 4 a second, and as long again to settle.
        ({"rate": 4.0}, Ends(most_s=240.0, window_s=120.0)),
        ({"rate": 4.0, "ramp_s": 10.0}, Ends(most_s=130.0, window_s=120.0)),
        # No less than 30 s, and no more than 10 min.
        ({"rate": 100.0}, Ends(most_s=60.0, window_s=30.0)),
        ({"rate": 0.1}, Ends(most_s=1200.0, window_s=600.0)),
        # What is to become steady has time for it.
        ({"rate": 100.0, "until_cv": 0.05}, Ends(most_s=1200.0, window_s=600.0)),
        ({"max": True}, Ends()),
        ({"max": True, "n": 30}, Ends(n=30)),
        ({"trace": "a.csv"}, Ends()),
        ({"trace": "a.csv", "duration_s": 60.0}, Ends(most_s=60.0)),
    ],
)
def test_arrivals_end_as_was_said_or_when_enough_is_measured(fields: dict[str, Any], ends: Ends) -> None:
    assert ends_of(load(**fields)) == ends


def test_more_than_anybody_could_keep_is_refused_and_not_drawn_for_ever() -> None:
    with pytest.raises(ConfigError, match=r"load\.rate: more than 2,000,000 requests would arrive"):
        drawn_times_s(load(rate=1e9, arrival="constant"), Ends(most_s=60.0), 0)
