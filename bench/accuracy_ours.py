"""How the package itself is asked for the energy of a window of ``bench/accuracy.py``."""

from dataclasses import dataclass, replace

import nvmlsim
from bench.simulated_nvml import ARCHITECTURES, SimulatedClock, SimulatedNvml
from llenergymeasure.core.gpu.counter_reads import CounterRead
from llenergymeasure.core.gpu.energy import GpuRecord, gpu_energy
from llenergymeasure.core.gpu.recorder import CLOSE_S, GpuRecorder, read_counter
from llenergymeasure.core.measurement_warnings import aliasing_warning, part_time_warning, unresolved_by
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.nvidia.power_sensors import power_sensor_of
from llenergymeasure.domain.metrics import EnergyMeasurement

# The flags of ours that say that no reading taken sees all of the time, so that a load may not be resolved.
UNRESOLVED_FLAGS = ("aliasing", "sensor_sees_part_of_the_time")
# The clock of `measure_ours` stands this long before the window when it is called: idle, or the load that goes on.
LEAD_S = 2.0
# Two ticks of 0.1 s, and the calls between them.
_EDGE_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a tool says of one GPU and one window: joules, its own bound on them, and its warnings.

    ``polled_s`` is how often a sensor was read whose readings the joules are the integral of; 0 for a counter.
    """

    energy_j: float | None
    uncertainty_j: float | None = None
    warnings: tuple[str, ...] = ()
    polled_s: float = 0.0

    @property
    def warns_of_the_unseen(self) -> bool:
        """Whether the result says that it may not be believed for this reason."""
        return any(warning.startswith(UNRESOLVED_FLAGS) for warning in self.warnings)


def measure_ours(
    library: SimulatedNvml, clock: SimulatedClock, start_s: float, end_s: float, polled_s: float
) -> Measured:
    """The package's figure for the first GPU between two moments of a clock that is told to move.

    Args:
        library: where the package finds NVML.
        clock: stands at ``start_s - LEAD_S``; may be moved past ``end_s`` as far as the package reads after it.
        start_s: start of the window, in seconds of the clock.
        end_s: its end.
        polled_s: how often power is sampled.
    """
    uuid = library.nvmlDeviceGetUUID(library.nvmlDeviceGetHandleByIndex(0))
    device = NvidiaDriver(library).device_by_uuid(uuid)
    recorder = GpuRecorder([device], clock, clock.sleep)
    recorder.sample()
    # The package starts a window of its own right after a tick. Here the window stands where it stands, as it does
    # for all but one of several GPUs: the last tick before it is up to a tick ago.
    clock.sleep_until(start_s - _EDGE_S)
    recorder.watch_edge()
    before: list[CounterRead] = []
    while clock() < start_s:
        before.append(read_counter(device, clock))
        clock.sleep(min(CLOSE_S, max(0.0, start_s - clock())))
    due_s = start_s + polled_s / 2
    while due_s < end_s:
        clock.sleep_until(due_s)
        recorder.sample(in_full=False)
        due_s = max(due_s + polled_s, clock())
    clock.sleep_until(end_s)
    recorder.watch_edge(ended=True)
    found = gpu_energy(
        GpuRecord(
            uuid=uuid,
            samples=recorder.samples(),
            counter_reads=sorted([*recorder.counter_reads(uuid), *before], key=lambda read: read.before_s),
            card=recorder.cards[uuid],
            interval_s=polled_s,
        ),
        start_s,
        end_s,
    )
    part_time = part_time_warning([found.row])
    told = [*found.warnings, *([] if part_time is None else [part_time])]
    warnings = (*map(str, told), *([] if found.problem is None else [found.problem]))
    return Measured(
        energy_j=found.row.energy_j,
        uncertainty_j=found.row.uncertainty_j,
        warnings=warnings,
        polled_s=polled_s if found.row.source == "integrated" else 0.0,
    )


def with_aliasing(found: Measured, gpu: nvmlsim.Gpu, period_s: float | None, window_s: float) -> Measured:
    """A figure with what the package's session adds to its interval, knowing the time from token to token.

    Args:
        found: what one GPU was found to have drawn, ``polled_s`` of it how often the sensor behind it was read.
        gpu: the card, for its product name and architecture.
        period_s: period of the load in seconds; None has none.
        window_s: length of the window.
    """
    sensor = power_sensor_of(gpu.name, ARCHITECTURES[gpu.architecture])
    if sensor is not None:
        sensor = sensor.polled_every(found.polled_s)
    aliasing, warning = unresolved_by(period_s, sensor, window_s), aliasing_warning(period_s, sensor, window_s)
    if aliasing is None or found.energy_j is None or found.uncertainty_j is None:
        return found
    return replace(
        found,
        uncertainty_j=found.uncertainty_j + found.energy_j * aliasing.residual_pct / 100,
        warnings=(*found.warnings, str(warning)),
    )


def warnings_of(measurement: EnergyMeasurement, uuid: str) -> tuple[str, ...]:
    """The warnings of a measurement of several GPUs that are of this one, or of none of them alone."""
    part_time = part_time_warning([d for d in measurement.devices if d.device == uuid])
    told = [*measurement.warnings, *([] if part_time is None else [part_time])]
    return tuple(str(warning) for warning in told if warning.device in (None, uuid))
