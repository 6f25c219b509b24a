"""Several slow things side by side, each of which says how long it waits before it goes on."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

# Runs jobs side by side to their end, each of which gives the seconds that it waits, and tells the processor time
# that this took on other threads than the caller's.
Together = Callable[[Sequence[Iterator[float]], Callable[[float], None]], float]


def in_threads(jobs: Sequence[Iterator[float]], sleep: Callable[[float], None]) -> float:
    """Each job in a thread of its own; all have ended when this returns, with the seconds of processor they took.

    Calls of a driver wait outside Python's lock, so that they wait at the same time.

    Raises:
        Exception: what the first of the jobs raised that did.
    """
    outcomes: list[tuple[float, Exception | None]] = []

    def run(job: Iterator[float]) -> None:
        error = None
        try:
            for pause_s in job:
                sleep(pause_s)
        except Exception as raised:  # noqa: BLE001 - whatever it is, it is raised again where the caller waits
            error = raised
        outcomes.append((time.thread_time(), error))

    threads = [threading.Thread(target=run, args=(job,), name="power-thermal-edge", daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, error in outcomes:
        if error is not None:
            raise error
    return sum(seconds for seconds, _ in outcomes)
