"""The load of a measurement as it came, beside its requests."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

RecordedLoadKind = Literal["concurrency", "rate", "trace", "max"]
# Why a window began: what was in flight had settled; so much time was over that was asked for; it never settled, and
# half of the time was over.
BeganBy = Literal["settled", "ramp", "not_settled"]
# Why arrivals ended: the time was over; all had come; joules per token varied little enough.
EndedBy = Literal["duration", "requests", "steady"]


@dataclass(frozen=True, kw_only=True)
class LoadRecord:
    """How requests arrived; times are seconds of the monotonic clock.

    ``began_s`` is when the first could arrive, ``ended_s`` when arrivals stopped: the window lies between them.
    ``n_arrived`` requests came by then. ``rate_per_s`` is what was asked for, on average; None where none was.
    ``unsent_due_s`` are when those of them were due that had not begun by then, because the engine takes no more than
    ``n_most_in_flight`` at a time; None where it takes them all. ``arrivals_digest`` is of all times at which requests
    were to come (``digest_of``); None where answers decide, or all come at once.
    ``sub_windows_s`` [n + 1] are the edges of equal parts of the window. ``generator_cpu_s`` is the processor time that
    the thread took that sends and receives, from the last request that ended before the window to the last in it; None
    where the engine computes in it too.
    """

    kind: RecordedLoadKind
    began_s: float
    ended_s: float
    n_arrived: int
    rate_per_s: float | None = None
    concurrency: int | None = None
    began_by: BeganBy
    ended_by: EndedBy
    sub_windows_s: tuple[float, ...] = ()
    generator_cpu_s: float | None = None
    n_most_in_flight: int | None = None
    unsent_due_s: tuple[float, ...] = ()
    arrivals_digest: str | None = None


def digest_of(due_s: Sequence[float]) -> str | None:
    """SHA-256 in hex of when [n] requests come, in whole microseconds after the first could: equal for equal arrivals.

    None where they have no times.
    """
    if not due_s:
        return None
    return hashlib.sha256(",".join(str(round(1e6 * time_s)) for time_s in due_s).encode()).hexdigest()
