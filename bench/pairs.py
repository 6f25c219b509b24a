"""Two ways to do the same work, in turns, so that whatever else the machine does touches both: ratios, not times."""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import scipy.stats


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How many ratios there have to be, their least median, and the least lower end of its interval; None is any."""

    least_pairs: int = 30
    least_median: float | None = 0.99
    least_limit: float | None = 0.98

    def in_words(self) -> str:
        """In one line."""
        median = "" if self.least_median is None else f", median at least {self.least_median}"
        limit = (
            "" if self.least_limit is None else f", and {self.least_limit} the lower end of the median's 95 % interval"
        )
        return f"{self.least_pairs} pairs or more{median}{limit}"


# Of a median alone.
ALONE = Promise(least_limit=None)
# Of a package beside the bare loop of an engine.
OF_ENGINES = Promise(least_pairs=10, least_median=None, least_limit=0.97)


def add_work(parser: argparse.ArgumentParser) -> None:
    """The options that say what is run, and how often."""
    parser.add_argument("--pairs", type=int, default=30, help="how often both ways are run")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=8, help="prompts of a run")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-output-tokens", type=int, default=32)


def ratios_of(ours: Callable[[], float], theirs: Callable[[], float], n_pairs: int) -> list[float]:
    """[n_pairs] ratios of our rate over theirs; the side that goes first takes turns.

    Args:
        ours: does the work once and gives its rate, in any unit.
        theirs: the same of the other way.
        n_pairs: how often.
    """
    ratios = []
    for number in range(n_pairs):
        rates: dict[str, float] = {}
        for side in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            rates[side] = ours() if side == "ours" else theirs()
        ratios.append(rates["ours"] / rates["theirs"])
        print(f"pair {number + 1:3} of {n_pairs}: ratio {ratios[-1]:.4f}", flush=True)
    return ratios


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval that holds the median of the population with at least 95 %, whatever its distribution.

    Of [n] values in order, fewer than k lie below the median with probability P(Binomial(n, 1/2) < k). The k-th from
    either end is taken, for the largest k with at most 2.5 % at each: the 10th of 30. None for fewer than six values.
    """
    k = int(scipy.stats.binom.ppf(0.025, len(values), 0.5))
    if scipy.stats.binom.cdf(k, len(values), 0.5) <= 0.025:
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[-k]) if k > 0 else None


def judged(ratios: Sequence[float], promise: Promise = Promise()) -> dict[str, Any]:
    """The [n] ratios with their median, its interval, and whether they keep what is promised."""
    median, interval = statistics.median(ratios), median_interval(ratios)
    kept = len(ratios) >= promise.least_pairs
    if promise.least_median is not None:
        kept = kept and median >= promise.least_median
    if promise.least_limit is not None:
        kept = kept and interval is not None and interval[0] >= promise.least_limit
    return {
        "promise": promise.in_words(),
        "kept": kept,
        "n_pairs": len(ratios),
        "median_ratio": round(median, 4),
        "median_ratio_95_interval": None if interval is None else [round(limit, 4) for limit in interval],
        "ratios": [round(ratio, 4) for ratio in ratios],
    }
