"""What the tests of the measuring core share."""

import threading
from collections.abc import Sequence

import pytest

from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.power_thermal import PowerThermalSample, PowerThermalSampler
from llenergymeasure.testing import FakeClock
from tests.fakes.nvml import FakeNvml

# A sampler this slow reads once when it starts and once when it stops.
NEVER_MS = 3_600_000


class ReplayedSampler(PowerThermalSampler):
    """A running sampler of a fake's GPUs, with the samples it was given."""

    def __init__(self, library: FakeNvml, samples: Sequence[PowerThermalSample], interval_ms: int = 100) -> None:
        super().__init__(sample_interval_ms=interval_ms, driver=NvidiaDriver(library))
        with NvidiaDriver(library).opened() as driver:
            self.watched = driver.devices()
        self.replayed = list(samples)

    @property
    def devices(self) -> Sequence[GpuDeviceBase]:
        return self.watched

    @property
    def running(self) -> bool:
        return True

    def card(self, uuid: str) -> CardFacts:
        (device,) = (d for d in self.watched if d.uuid == uuid)
        return CardFacts(power_field=device.power_field, power_lag_s=0.1)

    def get_samples(self) -> list[PowerThermalSample]:
        return list(self.replayed)


def sampling_threads() -> list[threading.Thread]:
    """The threads of samplers that are running now."""
    return [t for t in threading.enumerate() if t.name == "power-thermal"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
