"""What is read of GPUs in a window, and of their energy counters, more closely, at its edges."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.counter import CounterRead
from llenergymeasure.core.gpu.energy import CardFacts
from llenergymeasure.core.gpu.power_sensor import REFRESH_S
from llenergymeasure.core.gpu.together import Together, in_threads
from llenergymeasure.domain.energy.calibration import Calibration
from llenergymeasure.domain.telemetry import HW_THERMAL_SLOWDOWN, SW_THERMAL_SLOWDOWN, PowerThermalSample

# Counters of real cards tick about every 0.1 s (Zeus project notes). Read this often, a tick is timed to
# half a millisecond: 0.05 % of a 1 s window.
CLOSE_S = 0.0005
# Two ticks at each edge, then give up.
_TICKS_WANTED = 2
_CLOSE_POLLING_S = 0.5
# Temperature, memory and utilisation: the driver averages the last over up to a second, the others are as slow.
_SLOW_S = 0.5
# Where an edge is watched for long, power is not left unread for more periods than a failed read is bridged over.
_SAMPLED_S = 2 * REFRESH_S
# A counter that fails this often in a row will not be waited for.
_FAILURES = 3


class GpuRecorder:
    """Reads GPUs when it is told to, from one thread; what it has read may be copied from any other.

    At an edge each of several GPUs is read by a thread of its own: one after the other, eight that take 5 ms for a
    call would be 40 ms apart, which times no tick.
    """

    def __init__(
        self,
        devices: Sequence[GpuDeviceBase],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        driver: str | None = None,
        together: Together = in_threads,
        calibrated: Callable[[str], Calibration | None] = lambda _: None,
    ) -> None:
        """Only what does not change is read yet.

        Args:
            devices: what is read.
            clock: monotonic seconds.
            sleep: waits so many of them.
            driver: the name of the devices' driver.
            together: runs several watches side by side.
            calibrated: what was found of a card, by its UUID.
        """
        self.devices = devices
        self.cards = {device.uuid: _card(device, driver, calibrated(device.uuid)) for device in devices}
        self.pids: dict[str, frozenset[int]] = {}
        self.cpu_aside_s = 0.0
        self.n_steps = 0
        self._full_at_s = -math.inf
        self._clock = clock
        self._sleep = sleep
        self._together = together
        self._samples: list[PowerThermalSample] = []
        self._reads: dict[str, list[CounterRead]] = {device.uuid: [] for device in devices}
        self._last_power_w: dict[str, float] = {}
        self._lock = Lock()
        self._closed = False

    def samples(self) -> list[PowerThermalSample]:
        """A copy of the samples so far, oldest first."""
        with self._lock:
            # Those of several GPUs may have been kept in another order than they were taken.
            return sorted(self._samples, key=lambda sample: sample.timestamp)

    def last_power_w(self) -> dict[str, float]:
        """The newest power of each GPU that told one, such as "GPU 0"."""
        with self._lock:
            return dict(self._last_power_w)

    def counter_reads(self, uuid: str) -> list[CounterRead]:
        """A copy of the reads of a GPU's energy counter so far, oldest first."""
        with self._lock:
            return list(self._reads[uuid])

    def close(self) -> None:
        """Keep nothing of what is read from now on."""
        with self._lock:
            self._closed = True

    def sample(self, *, in_full: bool = True, is_awaited: Callable[[], bool] = lambda: False) -> None:
        """Read every GPU once; unless in full, what changes slowly only when it was not read for half a second.

        The other GPUs are left out as soon as somebody waits for something else: with many slow ones it takes long.
        """
        in_full = in_full or self._clock() - self._full_at_s >= _SLOW_S
        if in_full:
            self._full_at_s = self._clock()
        for device in self.devices:
            self._sample(device, in_full=in_full)
            if is_awaited():
                break

    def read_pids(self) -> None:
        """Read which processes are on the GPUs; a GPU of which the driver does not say is left out."""
        told = {device.uuid: device.running_pids() for device in self.devices}
        self.pids = {uuid: frozenset(pids) for uuid, pids in told.items() if pids is not None}

    def watch_edge(self, *, ended: bool = False) -> None:
        """Read the counters twice a millisecond until each has ticked twice, for half a second at most.

        A sample at the beginning, one at the end and, where no tick comes, some between them give the power near the
        edge. What is read of power is of earlier: where a window has ``ended`` it is sampled on until readings are
        of its end.
        """
        began_s = self._clock()
        awaited = {device.uuid for device in self.devices}
        watches = [self._watch(device, awaited) for device in self.devices]
        if len(watches) > 1:
            self.cpu_aside_s += self._together(watches, self._sleep)
        else:
            for pause_s in itertools.chain(*watches):
                self._sleep(pause_s)
        self._full_at_s = self._clock()
        if ended:
            self._sample_until(began_s + self.reads_of_the_end_s)

    @property
    def reads_of_the_end_s(self) -> float:
        """How long after a window readings of some card are still of it."""
        return max((card.reads_of_the_end_s for card in self.cards.values()), default=0.0)

    def _sample_until(self, until_s: float) -> None:
        now_s, before_s = self._clock(), -math.inf
        # A clock that stands still ends it too.
        while before_s < now_s < until_s:
            self._sleep(min(REFRESH_S, until_s - now_s))
            self.sample(in_full=False)
            before_s, now_s = now_s, self._clock()

    def _watch(self, device: GpuDeviceBase, awaited: set[str]) -> Iterator[float]:
        """Watch one GPU's edge; gives the seconds to wait until it goes on."""
        ticks, due_s = _Ticks(), self._clock()
        give_up_s = self._clock() + _CLOSE_POLLING_S
        for n_polls in range(round(_CLOSE_POLLING_S / CLOSE_S)):
            if ticks.see(self._read_counter(device)):
                due_s = self._clock() + _SAMPLED_S
            if n_polls == 0 or self._clock() >= due_s:
                self._sample(device, in_full=False)
                due_s = self._clock() + _SAMPLED_S
            if ticks.done:
                awaited.discard(device.uuid)
            # Those that have ticked twice are read on: their last tick should be near the edge too.
            if not awaited or self._clock() > give_up_s:
                break
            yield CLOSE_S
        self._sample(device, in_full=True)

    def _sample(self, device: GpuDeviceBase, *, in_full: bool) -> None:
        self._read_counter(device)
        reading = read_sample(device, self._clock, in_full=in_full)
        with self._lock:
            self.n_steps += 1
            if not self._closed:
                self._samples.append(reading)
                if reading.power_w is not None:
                    self._last_power_w[f"GPU {reading.gpu_index}"] = reading.power_w

    def _read_counter(self, device: GpuDeviceBase) -> float | None:
        read = read_counter(device, self._clock)
        with self._lock:
            if not self._closed:
                self._reads[device.uuid].append(read)
        return read.energy_j


def _card(device: GpuDeviceBase, driver: str | None, calibration: Calibration | None) -> CardFacts:
    return CardFacts(
        power_field=device.power_field,
        counter_field=device.counter_field,
        power_lag_s=device.power_lag_s,
        power_averaged_s=device.power_averaged_s,
        power_limit_w=device.power_limit_w() or None,  # no card has a limit of nothing
        sensor=device.power_sensor(),
        average_field=device.average_power_field,
        average_sensor=device.average_power_sensor(),
        calibration=calibration,
        driver=driver,
        scope=device.scope,
        counter_scope=device.counter_covers(),
    )


class _Ticks:
    """How far the close polling of one counter has come."""

    def __init__(self) -> None:
        self._last_j: float | None = None
        self._n_ticks = 0
        self._n_failures = 0

    @property
    def done(self) -> bool:
        return self._n_ticks >= _TICKS_WANTED or self._n_failures >= _FAILURES

    def see(self, energy_j: float | None) -> bool:
        """Whether there was a tick since it was last seen."""
        if energy_j is None:
            self._n_failures += 1
            return False
        self._n_failures = 0
        has_ticked = self._last_j is not None and energy_j != self._last_j
        self._n_ticks += has_ticked
        self._last_j = energy_j
        return has_ticked


def read_counter(device: GpuDeviceBase, clock: Callable[[], float]) -> CounterRead:
    """One read of the energy counter."""
    before_s = clock()
    energy_j = device.energy_counter_j()
    return CounterRead(before_s, clock(), energy_j)


def read_sample(device: GpuDeviceBase, clock: Callable[[], float], *, in_full: bool) -> PowerThermalSample:
    """One reading, stamped in the middle of the power call; unless in full without what changes slowly."""
    before = clock()
    power_w, average_w = device.powers_w()
    timestamp = (before + clock()) / 2
    used_mb, total_mb = device.memory_mb() if in_full else (None, None)
    reasons = device.throttle_reasons()
    limit_w = device.power_limit_w() if in_full else None
    return PowerThermalSample(
        timestamp=timestamp,
        power_w=power_w,
        temperature_c=device.temperature_c() if in_full else None,
        memory_used_mb=used_mb,
        memory_total_mb=total_mb,
        sm_utilisation=device.utilisation_pct() if in_full else None,
        thermal_throttle=bool((reasons or 0) & (SW_THERMAL_SLOWDOWN | HW_THERMAL_SLOWDOWN)),
        throttle_reasons=reasons,
        gpu_index=device.index,
        power_limit_w=limit_w or None,  # no card has a limit of nothing
        average_power_w=average_w,
    )
