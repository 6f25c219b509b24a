"""A sampler of simulated GPUs on a clock of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulated_nvml import SimulatedClock
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.domain.telemetry import PowerThermalSample


@dataclass
class SimulatedSampler:
    """A sampler of GPUs on a clock of its own: it reads when it is told to."""

    recorder: GpuRecorder
    clock: SimulatedClock
    interval_s: float = 0.1
    problem: str | None = None
    running: bool = True

    @property
    def devices(self) -> Sequence[GpuDeviceBase]:
        return self.recorder.devices

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def get_samples(self) -> list[PowerThermalSample]:
        return self.recorder.samples()

    def watch_edge(self, *, ended: bool = False) -> None:
        self.recorder.watch_edge(ended=ended)

    def counter_reads(self, uuid: str) -> list[CounterRead]:
        return self.recorder.counter_reads(uuid)

    def card(self, uuid: str) -> CardFacts:
        return self.recorder.cards[uuid]

    def run_until(self, end_s: float) -> None:
        """Read in the rhythm of a run, half a period after the edge."""
        due_s = self.clock() + self.interval_s / 2
        while due_s < end_s:
            self.clock.sleep_until(due_s)
            self.recorder.sample(in_full=False)
            due_s = max(due_s + self.interval_s, self.clock())
        self.clock.sleep_until(end_s)
