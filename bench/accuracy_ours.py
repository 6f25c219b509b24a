"""How the package itself is asked for the energy of a window of ``bench/accuracy.py``."""

from dataclasses import dataclass

import nvmlsim
from bench.simulated_nvml import ARCHITECTURES, SimulatedClock, SimulatedNvml
from llenergymeasure.core.gpu.energy import GpuRecord, gpu_energy
from llenergymeasure.core.gpu.recorder import CLOSE_S, GpuRecorder
from llenergymeasure.core.measurement_warnings import aliasing_warning
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.core.nvidia.power_sensors import power_sensor_of
from llenergymeasure.domain.metrics import EnergyMeasurement

# A warning of ours that says that no reading could resolve the load begins with this flag.
ALIASING_FLAG = "aliasing"
# The clock of `measure_ours` stands this long before the window when it is called: idle, or the load that goes on.
LEAD_S = 2.0
_INTERVAL_S = 0.1
# Two ticks of 0.1 s, and the calls between them.
_EDGE_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a tool says of one GPU and one window: joules, its own bound on them, and its warnings."""

    energy_j: float | None
    uncertainty_j: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def warns_of_aliasing(self) -> bool:
        """Whether the result says that it may not be believed for this reason."""
        return any(warning.startswith(ALIASING_FLAG) for warning in self.warnings)


def measure_ours(library: SimulatedNvml, uuid: str, clock: SimulatedClock, start_s: float, end_s: float) -> Measured:
    """The package's figure for one GPU between two moments of a clock that is told to move.

    Args:
        library: where the package finds NVML.
        uuid: the GPU.
        clock: stands at ``start_s - LEAD_S``; may be moved past ``end_s`` as far as the package reads after it.
        start_s: start of the window, in seconds of the clock.
        end_s: its end.
    """
    device = NvidiaDriver(library).device_by_uuid(uuid)
    recorder = GpuRecorder([device], clock, clock.sleep)
    recorder.sample()
    # The package starts a window of its own right after a tick. Here the window stands where it stands, as it does
    # for all but one of several GPUs: the last tick before it is up to a tick ago.
    clock.sleep_until(start_s - _EDGE_S)
    recorder.watch_edge()
    while clock() < start_s:
        recorder.read_counters()
        clock.sleep(min(CLOSE_S, max(0.0, start_s - clock())))
    due_s = start_s + _INTERVAL_S / 2
    while due_s < end_s:
        clock.sleep_until(due_s)
        recorder.sample(in_full=False)
        due_s = max(due_s + _INTERVAL_S, clock())
    clock.sleep_until(end_s)
    recorder.watch_edge()
    found = gpu_energy(
        GpuRecord(
            uuid=uuid,
            samples=recorder.samples(),
            counter_reads=recorder.counter_reads(uuid),
            card=recorder.cards[uuid],
            interval_s=_INTERVAL_S,
        ),
        start_s,
        end_s,
    )
    warnings = (*map(str, found.warnings), *([] if found.problem is None else [found.problem]))
    return Measured(energy_j=found.row.energy_j, uncertainty_j=found.row.uncertainty_j, warnings=warnings)


def aliasing_warnings(gpu: nvmlsim.Gpu, period_s: float | None, window_s: float) -> tuple[str, ...]:
    """What the package's session adds to a figure from the energy counter, knowing the time from token to token.

    Args:
        gpu: the card, for its product name and architecture.
        period_s: period of the load in seconds; None has none.
        window_s: length of the window.
    """
    sensor = power_sensor_of(gpu.name, ARCHITECTURES[gpu.architecture])
    warning = aliasing_warning(period_s, sensor, window_s)
    return () if warning is None else (str(warning),)


def warnings_of(measurement: EnergyMeasurement, uuid: str) -> tuple[str, ...]:
    """The warnings of a measurement of several GPUs that are of this one, or of none of them alone."""
    return tuple(str(warning) for warning in measurement.warnings if warning.device in (None, uuid))
