"""Reads of a simulated card's energy counter around a window, as a recorder takes them."""

from collections.abc import Iterable, Iterator

from llenergymeasure.core.gpu.counter import CounterRead
from nvmlsim import Counter, Gpu, Trace, counter_mj

# How long a driver call takes.
CALL_S = 0.00002


def card(power_w: Trace, tick_s: float = 0.1, phase_s: float = 0.0) -> Gpu:
    """A card whose counter ticks at ``phase_s + k * tick_s``."""
    return Gpu(power_w=power_w, counter=Counter(tick_s=tick_s, phase_s=phase_s))


def reads_around(
    gpu: Gpu,
    start_s: float,
    end_s: float,
    *,
    around_s: float = 0.25,
    close_s: float = 0.001,
    slow_s: float = 0.1,
) -> list[CounterRead]:
    """Reads every ``close_s`` for ``around_s`` before the window and after it, every ``slow_s`` in it."""
    return reads_at(gpu, _times(start_s, end_s, around_s, close_s, slow_s))


def reads_at(gpu: Gpu, times: Iterable[float]) -> list[CounterRead]:
    """Reads that begin at these times; each shows what the counter shows in the middle of the call."""
    return [CounterRead(t, t + CALL_S, counter_mj(gpu, t + CALL_S / 2) / 1000) for t in sorted(times)]


def _times(start_s: float, end_s: float, around_s: float, close_s: float, slow_s: float) -> Iterator[float]:
    n_close = round(around_s / close_s)
    # The last read before the window is over when it begins, the first one after it begins with its end.
    first_s = start_s - CALL_S
    yield from (first_s - (n_close - i) * close_s for i in range(n_close + 1))
    # As in the recorder, half a period after an edge is watched the rhythm begins.
    t = first_s + slow_s / 2
    while t < end_s - CALL_S:
        yield t
        t += slow_s
    yield from (end_s + i * close_s for i in range(n_close + 1))
