"""The measured window: what is switched on and off at its edges, and what was seen in it."""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llenergymeasure.core.energy_backends.tracking import Tracking, of_the_window, with_rows_of
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.machine_load import CpuTimes, foreign_cpu_pct
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import InferenceOutput, Request
from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.metrics import EnergyMeasurement, only_gpus
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.window import InFlight


@dataclass
class Window:
    """What was measured, filled in as it goes; ``_s`` on the instruments' monotonic clock.

    ``output`` are the requests that were in flight in it, ``in_flight`` how many of them an edge cut through, None
    where no edge did. ``load`` is how requests came, and ``n_begun`` how many in all, None where that was not asked
    for. ``lead_in_s`` is how long was run before it, ``units`` are the units of the load that were run
    in it, ``n_failed`` the requests of the whole run that failed. ``dither_pause_s`` is how long the load paused in it
    to break its step with the sensor, None where it was not to.
    """

    start_time: datetime
    end_time: datetime
    start_s: float = 0.0
    end_s: float = 0.0
    output: InferenceOutput = field(default_factory=lambda: InferenceOutput(requests=()))
    in_flight: InFlight | None = None
    load: LoadRecord | None = None
    n_begun: int | None = None
    energy: EnergyMeasurement | None = None
    samples: list[PowerThermalSample] = field(default_factory=list)
    instrument_cpu_s: float | None = None
    foreign_cpu_pct: float | None = None
    aliasing_pct: float | None = None
    lead_in_s: float = 0.0
    units: Sequence[Sequence[Request]] = ()
    n_failed: int = 0
    dither_pause_s: float | None = None

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


class WindowMeter:
    """Opens a window and closes it: energy, processor time, and what other programs take meanwhile."""

    def __init__(self, instruments: Instruments) -> None:
        now = instruments.now()
        self.window = Window(start_time=now, end_time=now)
        self.is_open = False
        self.has_closed = False
        self._instruments = instruments
        self._stack = ExitStack()
        self._trackings: list[Tracking] = []
        self._own_pids: frozenset[int] = frozenset()
        self._cpu_before: CpuTimes | None = None
        self._instrument_cpu_before_s = 0.0

    def open(self, *, at_once: bool = False) -> None:
        """Begin the window; work begins where the tracking does, not where the edge of the window was looked for.

        Every row is to be of the same window: sensors that can begin anew are started first, and begin together when
        the slowest has found its edge. Those that cannot are started last.

        Args:
            at_once: a load runs that must not wait; edges are looked for while it runs.
        """
        instruments = self._instruments
        self._instrument_cpu_before_s = instruments.cpu_time_s()
        self._own_pids = instruments.peers.pids() | {os.getpid()}
        self._cpu_before = instruments.machine_cpu_s(self._own_pids)
        sensors = (instruments.beside, instruments.energy)
        self._trackings = [Tracking(sensor, at_once=at_once) for sensor in sensors if sensor is not None]
        for tracking in sorted(self._trackings, key=lambda tracking: not tracking.can_begin_now):
            self._stack.enter_context(tracking)
        for tracking in self._trackings:
            tracking.begin_now()
        self.window.start_time = instruments.now()
        self.window.start_s = instruments.clock()
        self.is_open = True

    def close(self) -> None:
        """End the window; of the sensors' last readings none belongs to it. Closed twice, the first time counts."""
        if not self.is_open or self.has_closed:
            self._stack.close()
            return
        self.has_closed = True
        window, instruments = self.window, self._instruments
        window.end_s = instruments.clock()
        for tracking in reversed(self._trackings):
            tracking.end_now()
        # Last started, first stopped: those that end when they are stopped are not kept waiting.
        self._stack.close()
        window.end_time = window.start_time + timedelta(seconds=window.duration_sec)
        # Nothing spent is nothing counted: only the sampler of GPUs is.
        window.instrument_cpu_s = (instruments.cpu_time_s() - self._instrument_cpu_before_s) or None
        after = instruments.machine_cpu_s(self._own_pids)
        if self._cpu_before is not None and after is not None:
            window.foreign_cpu_pct = foreign_cpu_pct(self._cpu_before, after)
        if instruments.energy is not None:
            window.energy = of_the_window(self._trackings[-1].measurement, window.duration_sec)
            if instruments.beside is not None:
                window.energy = with_rows_of(window.energy, self._trackings[0].measurement)
