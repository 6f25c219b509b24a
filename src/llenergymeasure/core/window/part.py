"""Which batches of a run are measured: all, those of a span of time, or those after throughput has become steady."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from llenergymeasure.config.measurement import MeasurementConfig
from llenergymeasure.core.warmup import cv_of_last
from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.warnings import MeasurementWarning, on_its_side


class MeasuredPart(ABC):
    """Asked between batches; times are seconds of the session's clock."""

    @abstractmethod
    def begins(self) -> bool:
        """Whether the next batch is the first to be measured."""

    def saw(self, output: InferenceOutput, seconds: float) -> None:  # noqa: B027 - most do not look
        """Told of a batch that was run before the measured part."""

    def ends(self, measured_s: float) -> bool:  # noqa: ARG002 - most parts end with the run
        """Whether no further batch is measured, ``measured_s`` after the first began."""
        return False

    def warnings(self, measured_s: float) -> list[MeasurementWarning]:  # noqa: ARG002 - most parts are what was asked for
        """What a reader has to know of how the part was found, which took ``measured_s``."""
        return []


class Everything(MeasuredPart):
    """The whole run."""

    def begins(self) -> bool:
        """At once."""
        return True


class Span(MeasuredPart):
    """From the first batch after ``start_s`` to the end of the one in which ``length_s`` are over."""

    def __init__(self, start_s: float, length_s: float | None, elapsed_s: Callable[[], float]) -> None:
        self._start_s, self._length_s, self._elapsed_s = start_s, length_s, elapsed_s
        self._has_begun = False

    def begins(self) -> bool:
        """When enough time is over."""
        self._has_begun = self._elapsed_s() >= self._start_s
        return self._has_begun

    def ends(self, measured_s: float) -> bool:
        """When the window is long enough."""
        return self._length_s is not None and measured_s >= self._length_s

    def warnings(self, measured_s: float) -> list[MeasurementWarning]:
        """Whether the run ended before the window could begin, or before it was long enough."""
        missed = []
        if not self._has_begun:
            missed.append(
                f"window_start_s: {self._start_s:g} was not over before the last batch, which was measured alone"
            )
        if self._length_s is not None and measured_s < self._length_s:
            missed.append(f"window_length_s: {self._length_s:g} became {measured_s:.2f} s, when the run ended")
        return (
            [MeasurementWarning("window_not_reached", f"{'; '.join(missed)}", "raise n, or shorten them")]
            if missed
            else []
        )


class SteadyState(MeasuredPart):
    """From where output tokens per second of the last batches vary little.

    Half of the run is spent on waiting for that at most: a run that never becomes steady is measured from there,
    and says so.
    """

    def __init__(self, n_batches: int, window_size: int, cv_threshold: float) -> None:
        self._most = n_batches // 2
        self._window_size, self._cv_threshold = window_size, cv_threshold
        self._rates: list[float] = []

    def begins(self) -> bool:
        """When throughput is steady, or half of the run is over."""
        return self._is_steady() or len(self._rates) >= self._most

    def saw(self, output: InferenceOutput, seconds: float) -> None:
        """Note its throughput."""
        self._rates.append(output.output_tokens / seconds if seconds > 0 else 0.0)

    def warnings(self, measured_s: float) -> list[MeasurementWarning]:  # noqa: ARG002
        """Whether it was never steady."""
        if self._is_steady():
            return []
        cv = self._cv()
        seen = (
            f"under {self._window_size} batches to judge by"
            if cv is None
            else f"CV {on_its_side(cv, self._cv_threshold, 3)}"
        )
        return [
            MeasurementWarning(
                "steady_state_not_reached",
                f"throughput was not steady after {len(self._rates)} batches ({seen}, target "
                f"{self._cv_threshold:g}), half of the run",
                "raise n, or measurement.steady_cv_threshold",
            )
        ]

    def _is_steady(self) -> bool:
        cv = self._cv()
        return cv is not None and cv < self._cv_threshold

    def _cv(self) -> float | None:
        return cv_of_last(self._rates, self._window_size)


def measured_part(settings: MeasurementConfig, batches: Sequence[object], clock: Callable[[], float]) -> MeasuredPart:
    """The part that an experiment asks for; time counts from now."""
    if settings.methodology == "windowed":
        began_s = clock()
        return Span(settings.window_start_s, settings.window_length_s, lambda: clock() - began_s)
    if settings.methodology == "steady_state":
        return SteadyState(len(batches), settings.n_steady_batches, settings.steady_cv_threshold)
    return Everything()
