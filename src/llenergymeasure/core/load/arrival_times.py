"""When requests arrive: drawn, or read from a trace; the same for the same seed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llenergymeasure.config.load import MOST_REQUESTS, LoadConfig
from llenergymeasure.exceptions import ConfigError

# The window that is measured where nothing says how long it is: 480 requests, and 30 s or more, as found for latencies
# under load by others (240 s at 2 requests per second and 30 s at 40 gave steady figures), 10 min at the most.
WINDOW_REQUESTS, LEAST_WINDOW_S, MOST_WINDOW_S = 480, 30.0, 600.0
# Draws of arrivals are a stream of their own, so that other prompts come at the same times.
_STREAM = 0x10AD
_AT_A_TIME = 1024


@dataclass(frozen=True, kw_only=True)
class Ends:
    """What ends the arrivals: a time after the first could come, a number of requests, or a length of the window.

    ``window_s`` is how long the window is to be where nobody said when arrivals end; None where somebody did.
    """

    most_s: float | None = None
    n: int | None = None
    window_s: float | None = None


def ends_of(load: LoadConfig) -> Ends:
    """What ends the arrivals of a load, as it was given or as it is chosen."""
    if load.n is not None or load.kind in ("trace", "max"):
        return Ends(n=load.n, most_s=load.duration_s)
    if load.duration_s is not None:
        return Ends(most_s=load.duration_s)
    window_s = MOST_WINDOW_S
    # What is to become steady may take all of it.
    if load.rate is not None and load.until_cv is None:
        window_s = min(max(WINDOW_REQUESTS / load.rate, LEAST_WINDOW_S), MOST_WINDOW_S)
    # As long again is left to settle.
    return Ends(most_s=2 * window_s if load.ramp_s is None else load.ramp_s + window_s, window_s=window_s)


def drawn_times_s(load: LoadConfig, ends: Ends, random_seed: int) -> tuple[float, ...]:
    """Seconds after the beginning at which requests of a rate arrive, one after the other.

    Args:
        load: has a rate.
        ends: where they end.
        random_seed: of the draws.

    Raises:
        ConfigError: more would arrive than anybody could keep.
    """
    times_s: list[float] = []
    now_s = 0.0
    for gap_s in _gaps_s(load, random_seed):
        now_s += gap_s
        if ends.most_s is not None and now_s >= ends.most_s:
            break
        times_s.append(now_s)
        if len(times_s) == ends.n:
            break
        if len(times_s) == MOST_REQUESTS:
            raise ConfigError(
                f"load.rate: more than {MOST_REQUESTS:,} requests would arrive; lower it, or give a shorter duration_s"
            )
    return tuple(times_s)


def _gaps_s(load: LoadConfig, random_seed: int) -> Iterator[float]:
    """Times between arrivals, without an end.

    A gamma distribution of shape k and mean 1 / rate has a coefficient of variation of 1 / sqrt(k): k = 1 is the
    exponential distribution of a Poisson process.
    """
    assert load.rate is not None
    draws = np.random.default_rng([random_seed, _STREAM])
    mean_s = 1 / load.rate
    shape = {"poisson": 1.0, "gamma": load.burstiness, "constant": None}[load.arrival]
    while True:
        if shape is None:
            yield mean_s
        else:
            yield from map(float, draws.gamma(shape, mean_s / shape, _AT_A_TIME))
