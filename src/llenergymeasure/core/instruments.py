"""What a session measures with: built once, and replaced piece by piece in tests."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llenergymeasure.core.background import again_and_again, in_a_thread
from llenergymeasure.core.baseline import SESSION_BASELINES, BaselineStore
from llenergymeasure.core.energy_backends import (
    SensorBase,
    SensorContext,
    choose_sensor,
    first_that_senses,
    make_sensor,
)
from llenergymeasure.core.energy_backends.base import sees_gpus
from llenergymeasure.core.environment import collect_environment_snapshot
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.machine_load import CpuTimes, cpu_times
from llenergymeasure.core.peers import Alone, Peers
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.core.progress import Progress
from llenergymeasure.core.prompts.tokenise import Prepare, tokenised
from llenergymeasure.core.quality.text import TokeniseText, text_tokens
from llenergymeasure.core.state import ExperimentState
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.protocols import EnergyBackend, GpuDriver, TelemetrySampler


class NoTelemetry:
    """A ``TelemetrySampler`` of nothing."""

    def start(self) -> None:
        """There is nothing to sample."""

    def stop(self) -> None:
        """Nothing was sampled."""

    def get_samples(self) -> list[PowerThermalSample]:
        """None."""
        return []


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """Sensors, clocks and the places to tell.

    ``energy_absent_reason`` is set when ``energy`` is None although some was wanted. ``modelled`` says
    that ``energy`` has no sensor behind it, so that idle power means nothing. ``beside`` gives devices that are
    listed with those of ``energy`` and are not in its total. ``cpu_time_s`` is the processor time, in seconds,
    that reading sensors has taken so far, ``gpu_pids`` the processes on GPUs, by UUID, when sampling ended,
    ``machine_cpu_s`` what the machine's processors have done so far, and which part of it processes did.
    ``driver`` is that of the GPUs, None this machine's.
    ``idle_gpus`` are the names of GPUs that could have been used where none is, ``peers`` the other processes of
    the experiment, ``tokenise`` makes requests of prompts and ``tokenise_text`` tokens of a text, ``aside`` begins a
    call beside the run, and ``ticking`` makes one every so many seconds while it goes on. ``progress`` is told how far
    it is. Both clocks give seconds: ``clock`` is monotonic, ``now`` is UTC.
    """

    energy: EnergyBackend | None
    sampler: TelemetrySampler
    energy_absent_reason: str | None = None
    modelled: bool = False
    beside: EnergyBackend | None = None
    baseline_energy: EnergyBackend | None = None
    baselines: BaselineStore = field(default_factory=BaselineStore)
    snapshot: Callable[[], EnvironmentSnapshot] = collect_environment_snapshot
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    cpu_time_s: Callable[[], float] = lambda: 0.0
    gpu_pids: Callable[[Sequence[str]], frozenset[int] | None] = lambda _: None
    machine_cpu_s: Callable[[Iterable[int]], CpuTimes | None] = lambda _: None
    peers: Peers = field(default_factory=Alone)
    tokenise: Prepare = tokenised
    tokenise_text: TokeniseText = text_tokens
    aside: Callable[[Callable[[], None]], "Future[None]"] = in_a_thread
    ticking: Callable[[Callable[[], None], float], AbstractContextManager[None]] = again_and_again
    driver: GpuDriver | None = None
    idle_gpus: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)
    on_state: Callable[[ExperimentState], None] | None = None
    on_measured: Callable[[RawProcessResult], None] | None = None

    @property
    def senses_energy(self) -> bool:
        """Whether a real sensor is at hand, so that idle power and temperatures matter."""
        return self.energy is not None and not self.modelled


def build_instruments(
    plan: ExperimentPlan,
    *,
    visible: VisibleGpus | None = None,
    driver: GpuDriver | None = None,
    on_state: Callable[[ExperimentState], None] | None = None,
    progress: Progress | None = None,
    elsewhere: str | None = None,
) -> Instruments:
    """The instruments of this machine for the devices of a plan.

    Args:
        plan: what will run, with its devices.
        visible: the GPUs that could have been chosen, or why none can be measured: no energy is tracked then.
        driver: that of the GPUs; default this machine's.
        on_state: is told of every change of state.
        progress: is told how far it is; None tells nobody.
        elsewhere: why joules of this machine are not those of the work: no energy is tracked then; None where they are.

    Raises:
        ConfigError: the configuration names a sensor that is not usable.
    """
    config, visible = plan.config, visible or VisibleGpus()
    interval_ms = config.energy.sample_interval_ms
    sampler = PowerThermalSampler(devices=plan.devices, sample_interval_ms=interval_ms, driver=driver)
    context = SensorContext(devices=plan.devices, interval_ms=interval_ms, sampler=sampler, driver=driver)
    energy: SensorBase | None = None
    reason: str | None = None
    absent = elsewhere or visible.problem
    if absent is not None and config.energy.backend is not None:
        reason = absent
    else:
        energy, reason = choose_sensor(config.energy.backend, context)
    baseline_energy = None
    if energy is not None and not energy.modelled and config.baseline.enabled:
        idle = SensorContext(devices=plan.devices, interval_ms=config.baseline.sample_interval_ms, driver=driver)
        baseline_energy = make_sensor(energy.name, idle)
    return Instruments(
        energy=energy,
        energy_absent_reason=reason,
        modelled=energy is not None and energy.modelled,
        sampler=sampler,
        beside=first_that_senses("package", context) if energy is not None and sees_gpus(energy) else None,
        cpu_time_s=lambda: sampler.cpu_time_s,
        gpu_pids=sampler.running_pids,
        machine_cpu_s=cpu_times,
        baseline_energy=baseline_energy,
        baselines=BaselineStore(plan.baseline_cache) if plan.baseline_cache else SESSION_BASELINES,
        driver=driver,
        idle_gpus=() if plan.devices or elsewhere else tuple(gpu.name for gpu in visible.gpus),
        progress=progress or Progress(),
        on_state=on_state,
    )
