"""How requests arrive at an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

LoadKind = Literal["batches", "all_at_once", "concurrency", "due_times"]

_Item = TypeVar("_Item")

# Of an engine that does not say how many requests its scheduler takes at a time.
UNKNOWN_CAPACITY = 32


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Load:
    """When each of [n] requests is given to the engine, and when to stop.

    ``batches``: ``n_at_once`` at a time, the next ones when all of these have ended. ``all_at_once``: the engine's
    scheduler has them all. ``concurrency``: at most ``n_at_once`` at a time, a new one as soon as one has ended.
    ``due_times``: each at its own time, ``due_s`` [n] seconds after the run began, whatever the answers do. ``closed``
    is asked where a request may begin: once it says so none arrives any more, and what is in flight, or is due by then,
    goes on to its end.
    ``cancelled`` is asked between batches or steps; once it says so, nothing more is begun, and what is in flight ends
    as ``cancelled``.
    """

    kind: LoadKind
    n_at_once: int | None = None
    due_s: tuple[float, ...] = ()
    closed: Callable[[], bool] = _never
    cancelled: Callable[[], bool] = _never

    def __post_init__(self) -> None:
        """Refuse a load that nobody could run.

        Raises:
            ValueError: n_at_once is missing where it is needed.
        """
        if self.kind in ("batches", "concurrency") and (self.n_at_once is None or self.n_at_once < 1):
            raise ValueError(f"a load of kind {self.kind} needs n_at_once of 1 or more, not {self.n_at_once}")

    @classmethod
    def in_batches(cls, n_requests: int) -> "Load":
        """Batches of ``n_requests``, the last one of what is left."""
        return cls(kind="batches", n_at_once=n_requests)

    @classmethod
    def all_at_once(cls) -> "Load":
        """Everything at once."""
        return cls(kind="all_at_once")

    @classmethod
    def at_most(cls, n_requests: int) -> "Load":
        """At most ``n_requests`` at a time."""
        return cls(kind="concurrency", n_at_once=n_requests)

    @classmethod
    def at_due_times(cls, due_s: Sequence[float]) -> "Load":
        """Each request at its own time, in seconds after the run began."""
        return cls(kind="due_times", due_s=tuple(due_s))

    @property
    def has_pauses(self) -> bool:
        """Whether there are moments between requests in which none is in flight."""
        return self.kind == "batches"

    def units_of(self, items: Sequence[_Item], capacity: int | None = None) -> list[tuple[_Item, ...]]:
        """Split [n] requests into units of the load: what is at work at the same time.

        A batch; as many as may be at work at a time; or one full scheduler.

        Args:
            items: the requests, in their order.
            capacity: requests that the engine works on at a time; None where it does not say: a unit is then of
                ``UNKNOWN_CAPACITY``, so that nobody warms up with everything there is.
        """
        return in_groups(items, self.n_at_once or capacity or UNKNOWN_CAPACITY)

    def of_one_unit(self) -> "Load":
        """The load under which a single unit is run by itself, as in warm-up: nobody waits for due times there."""
        return Load.all_at_once() if self.kind == "due_times" else self


def in_groups(items: Sequence[_Item], size: int) -> list[tuple[_Item, ...]]:
    """Consecutive groups of ``size``; the last may be smaller."""
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]
