"""The measured window and what was seen in it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import InferenceOutput, Prompt
from llenergymeasure.domain.metrics import EnergyMeasurement, only_gpus
from llenergymeasure.domain.telemetry import PowerThermalSample


@dataclass
class Window:
    """The measured window, filled in as it goes; ``_s`` on the instruments' monotonic clock.

    ``lead_in_s`` [n] are the seconds of the batches that were run before it, ``batches`` those that were run in it.
    """

    start_time: datetime
    end_time: datetime
    clock: Callable[[], float]
    start_s: float = 0.0
    end_s: float = 0.0
    output: InferenceOutput = field(default_factory=lambda: InferenceOutput(requests=()))
    energy: EnergyMeasurement | None = None
    samples: list[PowerThermalSample] = field(default_factory=list)
    instrument_cpu_s: float | None = None
    foreign_cpu_pct: float | None = None
    aliasing_pct: float | None = None
    lead_in_s: tuple[float, ...] = ()
    batches: Sequence[Sequence[Prompt]] = ()

    def keep(self, samples: Iterable[PowerThermalSample], devices: Sequence[str], gpus: Sequence[GpuInfo]) -> None:
        """Keep of samples and joules what belongs to the window and to the GPUs in use.

        Args:
            samples: everything the sampler read; what was read before and after the window is outside.
            devices: UUIDs of the GPUs in use.
            gpus: all GPUs of the machine, which say the index of each.
        """
        others = {gpu.index for gpu in gpus if gpu.uuid not in devices}
        self.samples = [s for s in samples if self.start_s <= s.timestamp <= self.end_s and s.gpu_index not in others]
        if self.energy is not None:
            self.energy = only_gpus(self.energy, devices)

    @property
    def duration_sec(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s
