"""One window over GPUs, seen by a sampler: what every sensor that reads GPUs goes by or is guarded by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

from llenergymeasure.core.background import in_a_thread
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts, GpuEnergy, GpuRecord, gpu_energy
from llenergymeasure.core.gpu.kept import kept_readings
from llenergymeasure.domain.trace import DeviceTrace
from llenergymeasure.protocols import TelemetrySampler


@runtime_checkable
class GpuSampler(TelemetrySampler, Protocol):
    """A ``TelemetrySampler`` of GPUs that also reads their counters, closely at the edges of a window."""

    interval_s: float
    problem: str | None

    @property
    def running(self) -> bool:
        """Whether samples are being taken."""
        ...

    @property
    def devices(self) -> Sequence[GpuDeviceBase]:
        """The GPUs that are or were watched since the last start."""
        ...

    def watch_edge(self, *, ended: bool = False) -> None:
        """Poll the energy counters closely until each has ticked twice, and power until it is of the window's end."""
        ...

    def counter_reads(self, uuid: str) -> list[CounterRead]:
        """Reads so far of the energy counter of a GPU, oldest first."""
        ...

    def card(self, uuid: str) -> CardFacts:
        """What the readings of a GPU are."""
        ...


@dataclass(frozen=True, kw_only=True)
class SeenGpus:
    """What a window showed: a figure per GPU and what it was read from, or why none was watched."""

    gpus: Sequence[GpuEnergy]
    duration_sec: float
    n_samples: int
    problem: str | None = None
    traces: tuple[DeviceTrace, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuWindow:
    """A window that is open since ``start_s`` on ``clock``, until ``end_s`` where it has ended."""

    sampler: GpuSampler
    owned: bool
    clock: Callable[[], float]
    start_s: float
    end_s: float | None = None

    @classmethod
    def open(
        cls,
        shared: TelemetrySampler | None,
        own: Callable[[], GpuSampler],
        clock: Callable[[], float],
        *,
        at_once: bool = False,
    ) -> Self:
        """Begin a window right after a tick of the energy counters, or anywhere in a tick.

        Args:
            shared: a sampler to go by if it is one of GPUs and running; it goes on afterwards.
            own: makes one for this window alone otherwise.
            clock: monotonic seconds; the sampler's own clock.
            at_once: nobody waits for a tick: those that follow are timed while the window is open, and date those
                before it.
        """
        sampler = shared if isinstance(shared, GpuSampler) and shared.running else own()
        owned = sampler is not shared
        if owned:
            sampler.start()
        start_s = clock()
        if at_once:
            in_a_thread(sampler.watch_edge)
        else:
            sampler.watch_edge()
            start_s = clock()
        return cls(sampler=sampler, owned=owned, clock=clock, start_s=start_s)

    def from_now(self) -> Self:
        """The same window, beginning now."""
        return replace(self, start_s=self.clock())

    def until(self, end_s: float) -> Self:
        """The same window, ended."""
        return replace(self, end_s=end_s)

    def close(self) -> SeenGpus:
        """End the window if it has not ended; what is polled from here on tells only where in a tick that was."""
        end_s = self.clock() if self.end_s is None else self.end_s
        sampler = self.sampler
        sampler.watch_edge(ended=True)
        if self.owned:
            sampler.stop()
        samples = sampler.get_samples()
        records = [
            GpuRecord(
                uuid=device.uuid,
                samples=[s for s in samples if s.gpu_index == device.index],
                counter_reads=sampler.counter_reads(device.uuid),
                card=sampler.card(device.uuid),
                interval_s=sampler.interval_s,
            )
            for device in sampler.devices
        ]
        seen = [gpu_energy(record, self.start_s, end_s) for record in records]
        return SeenGpus(
            gpus=seen,
            duration_sec=end_s - self.start_s,
            n_samples=sum(self.start_s <= s.timestamp <= end_s for s in samples),
            problem=None if seen else sampler.problem or "no GPU is watched",
            traces=tuple(kept_readings(record, self.start_s, end_s) for record in records),
        )
