"""What ships for testing: fakes for every seam, and suites that engines and sensors can be put through."""

from llenergymeasure.testing.fakes import (
    FakeClock,
    FakeEnergy,
    FakeEngine,
    FakeLauncher,
    FakeModel,
    FakeSampler,
    MemoryRepository,
    fake_environment,
    fake_process_result,
    words_as_tokens,
)

__all__ = [
    "FakeClock",
    "FakeEnergy",
    "FakeEngine",
    "FakeLauncher",
    "FakeModel",
    "FakeSampler",
    "MemoryRepository",
    "fake_environment",
    "fake_process_result",
    "words_as_tokens",
]
