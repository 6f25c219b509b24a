"""The measured window and what was seen in it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.telemetry import PowerThermalSample


@dataclass
class Window:
    """The measured window, filled in as it goes; ``_s`` on the instruments' monotonic clock."""

    start_time: datetime
    end_time: datetime
    clock: Callable[[], float]
    start_s: float = 0.0
    end_s: float = 0.0
    output: InferenceOutput = field(default_factory=lambda: InferenceOutput(requests=()))
    energy: EnergyMeasurement | None = None
    samples: list[PowerThermalSample] = field(default_factory=list)
    instrument_cpu_s: float | None = None

    def keep_samples(self, samples: Iterable[PowerThermalSample]) -> None:
        """Of all samples those of the window: what was read before and after it is outside."""
        self.samples = [s for s in samples if self.start_s <= s.timestamp <= self.end_s]

    @property
    def duration_sec(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s
