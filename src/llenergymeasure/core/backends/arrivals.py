"""Which requests of a load may begin now, for engines that take them one by one."""

import time
from collections import deque
from collections.abc import Sequence

from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.load import Load

# How soon a run that waits sees that it was cancelled.
PATIENCE_S = 0.05


class Arrivals:
    """The requests of a load that have not begun, in their order; false when all have."""

    def __init__(self, requests: Sequence[Request], load: Load, most: int | None = None) -> None:
        """Begin the load now.

        Args:
            requests: [n] in the order in which they begin.
            load: when they may.
            most: how many the engine takes at a time; None is as many as the load has.
        """
        self._most = min(load.n_at_once or len(requests), len(requests) if most is None else most)
        began_s = time.monotonic()
        due_s: list[float | None] = [began_s + wait_s for wait_s in load.due_s] or [None] * len(requests)
        self._waiting = deque(zip(requests, due_s, strict=True))

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def due(self, n_in_flight: int) -> tuple[Request, float | None] | None:
        """The request that begins now, and when it should have, in monotonic seconds; None where none may.

        Args:
            n_in_flight: requests that have begun and not ended.
        """
        if not self._waiting or n_in_flight >= self._most:
            return None
        due_s = self._waiting[0][1]
        return None if due_s is not None and due_s > time.monotonic() else self._waiting.popleft()

    def wait_s(self, n_in_flight: int) -> float:
        """How long to wait for an answer: until the next request is due, where it may begin then."""
        due_s = self._waiting[0][1] if self._waiting and n_in_flight < self._most else None
        return PATIENCE_S if due_s is None else min(max(due_s - time.monotonic(), 0.0), PATIENCE_S)
