"""The edges of a window in a run that waits for nobody, and which requests were at work there."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from llenergymeasure.core.background import within
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.window.meter import WindowMeter
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.exceptions import ExperimentError

# For a sensor to begin or end: it looks for an edge for half a second, and some look at the network first.
PATIENCE_S = 60.0
_HURRIED_S = 5.0


class EdgesBeside:
    """Sensors are started and stopped beside the run, one edge after the other."""

    def __init__(self, instruments: Instruments, meter: WindowMeter) -> None:
        self._instruments, self._meter = instruments, meter
        self._edge: Future[None] | None = None

    def begin(self, call: Callable[[], None]) -> None:
        """Begin what has to be done at an edge."""
        self._edge = self._instruments.aside(call)

    @property
    def is_near(self) -> bool:
        """Whether it is still being done."""
        return self._edge is not None and not self._edge.done()

    @property
    def has_failed(self) -> bool:
        """Whether what was done at an edge raised something."""
        return self._edge is not None and self._edge.done() and self._edge.exception() is not None

    def wait(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until it is done.

        Raises:
            ExperimentError: a sensor does not come back.
            Exception: what it raised.
        """
        if self._edge is None:
            return
        try:
            within(patience_s, self._edge)
        except TimeoutError as error:
            raise ExperimentError(f"a sensor could not be started or stopped: {error}") from None

    @contextmanager
    def closing_on_every_way_out(self) -> Iterator[None]:
        """No window stays open behind the body; what the body raises is not kept waiting, and not replaced."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self.wait(_HURRIED_S)
            with contextlib.suppress(Exception):
                self._meter.close()
            raise
        try:
            self.wait()
        finally:
            self._meter.close()


def never_began(output: RequestOutput) -> bool:
    """Whether an engine tells of a request, when the load was cancelled, that it had only waited for."""
    return output.finish_reason == "cancelled" and output.sent_s is None and not output.output_tokens


def in_flight_at(output: RequestOutput, time_s: float) -> bool:
    """Whether a request was at work at an edge, in monotonic seconds."""
    began = output.sent_s is None or output.sent_s < time_s
    # One that was cancelled may have been told just at the edge.
    return began and (output.end_s is None or output.end_s > time_s or output.finish_reason == "cancelled")
