"""Calls into drivers and vendor libraries that may not come back."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Pending(Generic[_Value]):
    """A call that runs in a thread of its own; one that never comes back keeps nothing but that thread."""

    def __init__(self, call: Callable[[], _Value]) -> None:
        """Begin the call."""
        self._call = call
        self._value: _Value
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pending-call", daemon=True)
        self._thread.start()

    def result(self, patience_s: float) -> _Value:
        """What the call gave.

        Raises:
            TimeoutError: it has not come back within ``patience_s`` seconds from now.
            Exception: what it raised.
        """
        self._thread.join(patience_s)
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {patience_s:g} s")
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
