"""Which requests of a load may begin now, for engines that take them one by one."""

import time
from collections.abc import Sequence

from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.load import Load

# How soon a run that waits sees that it was cancelled.
PATIENCE_S = 0.05


class Arrivals:
    """The requests of a load that have not begun, in their order; false when all have, or no more are to."""

    def __init__(self, requests: Sequence[Request], load: Load, most: int | None = None) -> None:
        """Begin the load now.

        Args:
            requests: [n] in the order in which they begin; each is looked up when it does, and may be made then.
            load: when they may.
            most: how many the engine takes at a time; None is as many as the load has.

        Raises:
            ValueError: there is not a time for each request.
        """
        if load.due_s and len(load.due_s) != len(requests):
            raise ValueError(f"{len(requests)} requests have {len(load.due_s)} due times")
        self._requests, self._load, self._next = requests, load, 0
        self._most = min(load.n_at_once or len(requests), len(requests) if most is None else most)
        self._began_s = time.monotonic()
        self._closed_s: float | None = None

    def __bool__(self) -> bool:
        if self._next >= len(self._requests):
            return False
        if self._closed_s is None and self._load.closed():
            self._closed_s = time.monotonic()
        due_s = self._due_s()
        # What was due before the load was closed has arrived.
        return self._closed_s is None or (due_s is not None and due_s <= self._closed_s)

    def due(self, n_in_flight: int) -> tuple[Request, float | None] | None:
        """The request that begins now, and when it should have, in monotonic seconds; None where none may.

        Args:
            n_in_flight: requests that have begun and not ended.
        """
        if n_in_flight >= self._most or not self:
            return None
        due_s = self._due_s()
        if due_s is not None and due_s > time.monotonic():
            return None
        self._next += 1
        return self._requests[self._next - 1], due_s

    def wait_s(self, n_in_flight: int) -> float:
        """How long to wait for an answer: until the next request is due, where it may begin then."""
        due_s = self._due_s() if n_in_flight < self._most and self else None
        return PATIENCE_S if due_s is None else min(max(due_s - time.monotonic(), 0.0), PATIENCE_S)

    def _due_s(self) -> float | None:
        return self._began_s + self._load.due_s[self._next] if self._load.due_s else None
