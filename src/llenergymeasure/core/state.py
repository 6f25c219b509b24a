"""The states of a measurement: initialising, measuring, done; or failed."""

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType


class ExperimentState(StrEnum):
    """Where an experiment stands."""

    INITIALISING = "initialising"
    MEASURING = "measuring"
    DONE = "done"
    FAILED = "failed"


_NEXT = {
    ExperimentState.INITIALISING: {ExperimentState.MEASURING, ExperimentState.FAILED},
    ExperimentState.MEASURING: {ExperimentState.DONE, ExperimentState.FAILED},
    ExperimentState.DONE: set[ExperimentState](),
    ExperimentState.FAILED: set[ExperimentState](),
}


class StateMachine:
    """Moves forward only, and tells a listener. As a context, an exception inside moves it to failed."""

    def __init__(self, on_change: Callable[[ExperimentState], None] | None = None) -> None:
        self._on_change = on_change
        self.state = ExperimentState.INITIALISING
        self._tell()

    def advance(self, state: ExperimentState) -> None:
        """Go to ``state``.

        Raises:
            ValueError: it cannot follow the present one.
        """
        if state not in _NEXT[self.state]:
            raise ValueError(f"an experiment that is {self.state} cannot become {state}")
        self.state = state
        self._tell()

    def __enter__(self) -> "StateMachine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and ExperimentState.FAILED in _NEXT[self.state]:
            self.advance(ExperimentState.FAILED)

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self.state)
