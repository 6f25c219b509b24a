"""A window over GPUs that begins or ends when others do, or while nobody may wait."""

from collections.abc import Sequence
from threading import Event

from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.window import GpuWindow
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.testing import FakeClock

PATIENCE_S = 60.0


class WithoutTicks:
    """A sampler whose search for an edge lasts until it is let go, on a clock that moves by 0.2 s meanwhile."""

    interval_s = 0.1
    problem: str | None = None
    running = True
    devices: Sequence[GpuDeviceBase] = ()

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.began, self.may_end = clock, Event(), Event()

    def watch_edge(self, *, ended: bool = False) -> None:
        self.began.set()
        assert self.may_end.wait(PATIENCE_S)
        self.clock.time_s += 0.2

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def get_samples(self) -> list[PowerThermalSample]:
        return []

    def counter_reads(self, uuid: str) -> list[CounterRead]:
        raise KeyError(uuid)

    def card(self, uuid: str) -> CardFacts:
        raise KeyError(uuid)


def test_a_window_begins_when_its_edge_was_found(clock: FakeClock) -> None:
    sampler = WithoutTicks(clock)
    sampler.may_end.set()
    assert GpuWindow.open(sampler, lambda: sampler, clock).start_s == 0.2


def test_at_once_it_begins_while_the_edge_is_still_looked_for(clock: FakeClock) -> None:
    sampler = WithoutTicks(clock)
    window = GpuWindow.open(sampler, lambda: sampler, clock, at_once=True)
    assert window.start_s == 0.0
    assert sampler.began.wait(PATIENCE_S), "nobody looks for the edge"
    sampler.may_end.set()


def test_it_is_as_long_as_from_the_one_mark_to_the_other_whatever_comes_after(clock: FakeClock) -> None:
    sampler = WithoutTicks(clock)
    sampler.may_end.set()
    window = GpuWindow.open(sampler, lambda: sampler, clock)
    clock.time_s = 3.0
    window = window.from_now()
    clock.time_s = 7.0
    window = window.until(clock())
    clock.time_s = 9.0
    assert window.close().duration_sec == 4.0
