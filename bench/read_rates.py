"""Whether a GPU's energy counter depends on how often it is read: one steady load, read at several rates in turn.

On a consumer card a counter was reported to be 95 % short when it was read every 0.5 ms, 13 % at 100 ms and 1.6 % at
1 s (second-hand). Reads at two rates at the same time would disturb each other, so each rate has windows of its own, in
an order and its reverse, so that a drift of the load falls on all alike.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

RATES_MS = (1, 10, 100, 1000)
# What a load that is called steady may do from window to window, in percent.
_STEADY_PCT = 1.0


def by_read_rate(
    read_j: Callable[[], float | None],
    tick_s: float | None,
    *,
    seconds: float,
    rates_ms: Sequence[int] = RATES_MS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The counter's mean power at each rate of reading, and how far each is from the slowest.

    Args:
        read_j: the counter in joules, None where it does not answer.
        tick_s: how often the counter changes, None where that was not seen: a difference may be off by one tick at
            either end.
        seconds: length of a window; every rate has two.
        rates_ms: milliseconds from read to read.
        clock: seconds.
        sleep: waits.
    """
    windows = [
        {"read_every_ms": rate_ms, **_window(read_j, seconds, rate_ms / 1000, clock, sleep)}
        for order in (list(rates_ms), list(reversed(rates_ms)))
        for rate_ms in order
    ]
    rates = [_summary(rate_ms, windows, tick_s) for rate_ms in rates_ms]
    slowest = max(rates, key=lambda rate: rate["read_every_ms"])
    for rate in rates:
        known = rate["mean_power_w"] is not None and slowest["mean_power_w"]
        rate["apart_pct"] = 100 * (rate["mean_power_w"] / slowest["mean_power_w"] - 1) if known else None
    apart = [rate for rate in rates if rate["apart_pct"] is not None and _is_apart(rate, slowest)]
    return {"windows": windows, "rates": rates, "apart": [rate["read_every_ms"] for rate in apart]}


def _window(
    read_j: Callable[[], float | None],
    seconds: float,
    every_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> dict[str, Any]:
    first_j, start_s = read_j(), clock()
    last_j, end_s, n_reads = first_j, start_s, 1
    while end_s - start_s < seconds:
        sleep(max(0.0, min(start_s + n_reads * every_s, start_s + seconds) - clock()))
        last_j, end_s, n_reads = read_j(), clock(), n_reads + 1
    energy_j = None if first_j is None or last_j is None else last_j - first_j
    return {"duration_s": end_s - start_s, "n_reads": n_reads, "energy_j": energy_j}


def _summary(rate_ms: int, windows: Sequence[dict[str, Any]], tick_s: float | None) -> dict[str, Any]:
    own = [window for window in windows if window["read_every_ms"] == rate_ms]
    seconds = sum(window["duration_s"] for window in own)
    energies = [window["energy_j"] for window in own]
    joules = None if None in energies else sum(energies)
    return {
        "read_every_ms": rate_ms,
        "n_reads": sum(window["n_reads"] for window in own),
        "energy_j": joules,
        "mean_power_w": None if joules is None else joules / seconds,
        # A tick at either end of each window.
        "edges_pct": None if tick_s is None else 100 * 2 * len(own) * tick_s / seconds,
    }


def _is_apart(rate: dict[str, Any], slowest: dict[str, Any]) -> bool:
    edges_pct = [entry["edges_pct"] or 0.0 for entry in (rate, slowest)]
    return bool(abs(rate["apart_pct"]) > sum(edges_pct) + _STEADY_PCT)
