"""How requests arrive at an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

LoadKind = Literal["batches", "all_at_once", "concurrency", "due_times"]

_Item = TypeVar("_Item")


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Load:
    """When each of [n] requests is given to the engine, and when to stop.

    ``batches``: ``size`` at a time, the next ones when all of these have ended. ``all_at_once``: the engine's
    scheduler has them all. ``concurrency``: at most ``size`` at a time, a new one as soon as one has ended.
    ``due_times``: each at its own time, ``due_s`` [n] seconds after the run began. ``cancelled`` is asked between
    batches or steps; once it says so, nothing more is begun, and what is in flight ends as ``cancelled``.
    """

    kind: LoadKind
    size: int | None = None
    due_s: tuple[float, ...] = ()
    cancelled: Callable[[], bool] = _never

    def __post_init__(self) -> None:
        """Refuse a load that nobody could run.

        Raises:
            ValueError: no size where one is needed.
        """
        if self.kind in ("batches", "concurrency") and (self.size is None or self.size < 1):
            raise ValueError(f"a load of kind {self.kind} needs a size of 1 or more, not {self.size}")

    @classmethod
    def in_batches(cls, size: int) -> "Load":
        """Batches of ``size``, the last one of what is left."""
        return cls(kind="batches", size=size)

    @classmethod
    def all_at_once(cls) -> "Load":
        """Everything at once."""
        return cls(kind="all_at_once")

    @classmethod
    def at_most(cls, n_requests: int) -> "Load":
        """At most ``n_requests`` at a time."""
        return cls(kind="concurrency", size=n_requests)

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
            capacity: requests that the engine works on at a time; None where it does not say, and all are one unit.
        """
        size = self.size if self.size is not None else capacity
        return in_groups(items, size or max(1, len(items)))

    def of_one_unit(self) -> "Load":
        """The load under which a single unit is run by itself, as in warm-up: nobody waits for due times there."""
        return Load.all_at_once() if self.kind == "due_times" else self


def in_groups(items: Sequence[_Item], size: int) -> list[tuple[_Item, ...]]:
    """Consecutive groups of ``size``; the last may be smaller."""
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]
