"""Many points drawn as few, so that nothing that stands out is lost."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def thinned(times: Sequence[float], values: Sequence[float], most: int) -> list[int]:
    """The places of at most ``most`` of [n] points: the first, the last, and of each stretch its least and greatest.

    Stretches have equally many points. What was drawn of all points lies between what is drawn of these.

    Raises:
        ValueError: the lengths differ, or fewer than four points are allowed.
    """
    if len(times) != len(values):
        raise ValueError(f"{len(times)} times but {len(values)} values")
    if most < 4:  # noqa: PLR2004 - the ends, and the two of one stretch
        raise ValueError(f"{most} points are too few; 4 are needed")
    n = len(times)
    if n <= most:
        return list(range(n))
    array = np.asarray(values, dtype=np.float64)
    kept = {0, n - 1}
    for stretch in np.array_split(np.arange(1, n - 1), (most - 2) // 2):
        kept |= {int(stretch[np.argmin(array[stretch])]), int(stretch[np.argmax(array[stretch])])}
    return sorted(kept)


def power_between(times_s: Sequence[float], joules: Sequence[float]) -> tuple[list[float], list[float]]:
    """Mean power between two readings of a counter that showed something new, in watts, and the middle of each.

    Where a counter went back it has begun anew, and nothing is known of the time between.

    Args:
        times_s: [n] seconds, not decreasing.
        joules: [n] readings.
    """
    new = [place for place in range(len(joules)) if place == 0 or joules[place] != joules[place - 1]]
    middles, powers = [], []
    for before, after in pairwise(new):
        took_s, used_j = times_s[after] - times_s[before], joules[after] - joules[before]
        if took_s > 0 and used_j > 0:
            middles.append((times_s[before] + times_s[after]) / 2)
            powers.append(used_j / took_s)
    return middles, powers


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of time without those parts that others have too, in their order."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def per_bin(times_s: Sequence[float], weights: Sequence[float], length_s: float, n_bins: int) -> list[float]:
    """How much per second came in each of [n_bins] equal parts of the time from 0 to ``length_s``.

    What came outside of it is left out.
    """
    width_s = length_s / n_bins
    times, amounts = np.asarray(times_s, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    inside = (times >= 0) & (times <= length_s)
    # What came at the very end belongs to the last part.
    places = np.minimum((times[inside] / width_s).astype(np.int64), n_bins - 1)
    sums = np.bincount(places, weights=amounts[inside], minlength=n_bins)
    return [float(value) for value in sums / width_s]
