"""Power, energy counters and state of GPUs over time, read through their driver in one thread."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

from llenergymeasure.core.calibration.store import known
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuDriverBase, GpuUnavailableError
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.machine import gpu_driver
from llenergymeasure.core.gpu.recorder import GpuRecorder
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.protocols import GpuDriver

__all__ = ["PowerThermalSample", "PowerThermalSampler"]

# A driver call that hangs may hold up the start or the end of a window by this much and no more.
_PATIENCE_S = 1.0
# How often it is looked whether a driver gets on.
_PROGRESS_S = 0.1
_SLOW = f"the driver did not answer within {_PATIENCE_S:g} s"


class PowerThermalSampler:
    """Samples GPUs in the background; implements ``TelemetrySampler``.

    Starting without a driver or without devices is no error: there are no samples then, and
    ``problem`` says why. A failed read is a sample with None in its place; temperature, memory and utilisation
    are read twice a second at most, and None in between.
    """

    def __init__(
        self,
        device_index: int = 0,
        sample_interval_ms: int = 100,
        *,
        devices: Sequence[str] | None = None,
        driver: GpuDriver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch one GPU by its driver's index, or the GPUs of these UUIDs (an empty list watches none).

        The driver is this machine's unless another one is given.
        """
        self.interval_s = sample_interval_ms / 1000
        self.problem: str | None = None
        self._index = device_index
        self._uuids = None if devices is None else tuple(devices)
        self._driver = None if driver is None else with_defaults(driver, GpuDriverBase)
        self._clock = clock
        self._recording: _Recording | None = None

    def __enter__(self) -> Self:
        """Sample while the body runs."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; the samples stay."""
        self.stop()

    @property
    def devices(self) -> Sequence[GpuDeviceBase]:
        """The GPUs that are or were watched since the last start."""
        return [] if self._recording is None else self._recording.recorder.devices

    @property
    def running(self) -> bool:
        """Whether samples are being taken."""
        return self._recording is not None and self._recording.is_alive()

    @property
    def cpu_time_s(self) -> float:
        """Processor time that reading has taken since the last start, in seconds."""
        return 0.0 if self._recording is None else self._recording.cpu_time_s

    def start(self) -> None:
        """Take a first sample and go on in a thread; what an earlier start recorded is dropped."""
        self.stop()
        self._recording, self.problem = None, None
        if self._uuids == ():
            self.problem = "no GPU is in use"
            return
        recording = _Recording(
            self._driver or gpu_driver(),
            lambda driver: driver.find(self._uuids, self._index),
            self.interval_s,
            self._clock,
        )
        recording.start()
        self._recording = recording
        self.problem = recording.problem if recording.came_up() else _SLOW

    def watch_edge(self, *, ended: bool = False) -> None:
        """Poll the energy counters closely until each has ticked twice; waits at most a second longer than it takes.

        Call it right before a window and, with ``ended``, right after it: power is sampled on then until readings are
        of its end, for they are of earlier. The workload itself is never waited for. While the driver has not come up
        there is nothing to wait for.
        """
        recording = self._recording
        if recording is None or not recording.is_alive() or not recording.ready.is_set():
            return
        if not recording.watch_edge(ended=ended):
            self.problem = _SLOW

    def stop(self) -> None:
        """End sampling with a last sample; waits at most a second for a driver that hangs."""
        if self._recording is None:
            return
        if not self._recording.finish():
            self.problem = _SLOW
        elif self.problem is None:
            self.problem = self._recording.problem

    def get_samples(self) -> list[PowerThermalSample]:
        """Samples so far, oldest first."""
        return [] if self._recording is None else self._recording.recorder.samples()

    def last_power_w(self) -> dict[str, float]:
        """The newest power of each GPU that told one, by its name; without a copy of all samples."""
        return {} if self._recording is None else self._recording.recorder.last_power_w()

    def counter_reads(self, uuid: str) -> list[CounterRead]:
        """Reads so far of the energy counter of a watched GPU, oldest first."""
        return [] if self._recording is None else self._recording.recorder.counter_reads(uuid)

    def card(self, uuid: str) -> CardFacts:
        """What the readings of a GPU in ``devices`` are.

        Raises:
            KeyError: it is not watched.
        """
        return ({} if self._recording is None else self._recording.recorder.cards)[uuid]

    def running_pids(self, uuids: Sequence[str]) -> frozenset[int] | None:
        """Processes that were on these GPUs when sampling ended; None where the driver says of none of them."""
        seen = {} if self._recording is None else self._recording.recorder.pids
        told = [seen[uuid] for uuid in uuids if uuid in seen]
        return frozenset[int]().union(*told) if told else None


class _Recording(threading.Thread):
    """What is read between one start and its stop; a new start gets a new one.

    The opened driver belongs to the thread, so that a call which hangs keeps its library until it returns.
    """

    def __init__(
        self,
        driver: GpuDriverBase,
        find: Callable[[GpuDriverBase], Sequence[GpuDeviceBase]],
        interval_s: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(name="power-thermal", daemon=True)
        self.recorder = GpuRecorder([])
        self.problem: str | None = None
        self.ready = threading.Event()
        self.cpu_time_s = 0.0
        self._driver = driver
        self._find = find
        self._interval_s = interval_s
        self._clock = clock
        self._commands: queue.SimpleQueue[tuple[threading.Event, bool] | None] = queue.SimpleQueue()
        self._edge: threading.Event | None = None
        self._n_found = 0
        self._finished = False

    def run(self) -> None:
        """Sample in a steady rhythm; after a slow call skip what was missed instead of catching up."""
        try:
            with self._driver.opened() as driver:
                devices = self._find(driver)
                self._n_found = len(devices)
                version = driver.version()
                self.recorder = GpuRecorder(
                    devices, self._clock, driver=driver.name, calibrated=lambda uuid: known(uuid, version)
                )
                # Nobody waits any more where the driver took too long to come up.
                if not self._finished:
                    self.recorder.sample()
                    self.ready.set()
                    self._record()
        except GpuUnavailableError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - whatever the binding raises costs the samples, not the run
            self.problem = f"reading the GPUs failed: {type(error).__name__}: {error}"
        finally:
            self.ready.set()

    def came_up(self) -> bool:
        """Wait until the first sample is there; False when the driver lets nothing get on for a second."""
        n_steps, waited_s = 0, 0.0
        # Many GPUs of a slow driver take longer, one call after the other.
        while waited_s < _PATIENCE_S:
            if self.ready.wait(_PROGRESS_S):
                return True
            waited_s = waited_s + _PROGRESS_S if self._n_steps() == n_steps else 0.0
            n_steps = self._n_steps()
        return False

    def watch_edge(self, *, ended: bool) -> bool:
        """Have the counters polled closely; False when that does not end in time."""
        self._edge = threading.Event()
        self._commands.put((self._edge, ended))
        # Sampling on takes its time by itself.
        return self._edge.wait(_PATIENCE_S + (self.recorder.reads_of_the_end_s if ended else 0.0))

    def finish(self) -> bool:
        """Take the last sample and close; False when the driver does not come back."""
        if self._finished:
            return True
        self._finished = True
        self._commands.put(None)
        # Whoever waited for a hanging driver at an edge has waited already.
        hanging = self._edge is not None and not self._edge.is_set()
        self.join(0.0 if hanging else _PATIENCE_S)
        self.recorder.close()
        return not self.is_alive()

    def _n_steps(self) -> int:
        return self._n_found + len(self.recorder.devices) + self.recorder.n_steps

    def _is_awaited(self) -> bool:
        return not self._commands.empty()

    def _count(self) -> None:
        self.cpu_time_s = time.thread_time() + self.recorder.cpu_aside_s

    def _record(self) -> None:
        due_s = self._clock() + self._interval_s
        while True:
            self._count()
            try:
                command = self._commands.get(timeout=max(0.0, due_s - self._clock()))
            except queue.Empty:
                self.recorder.sample(in_full=False, is_awaited=self._is_awaited)
                due_s = max(due_s + self._interval_s, self._clock())
                continue
            if command is None:
                break
            watched, ended = command
            self.recorder.watch_edge(ended=ended)
            self._count()
            watched.set()
            # The edge was a tick: half a period later a poll in step with the ticks never meets one.
            due_s = self._clock() + self._interval_s / 2
        self.recorder.sample()
        self.recorder.read_pids()
        self._count()
