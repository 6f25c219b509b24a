"""What a node measures that takes part in what another one runs: its own devices, in the same window."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from llenergymeasure._host import this_host
from llenergymeasure.core import session_answers as answers
from llenergymeasure.core import session_steps as steps
from llenergymeasure.core.idling.slices import Idling
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.nodes.command import NodeCommand
from llenergymeasure.core.peers import POLL_BESIDE_S
from llenergymeasure.core.window.meter import Window, WindowMeter
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.metrics import EnergyBreakdown, WarmupResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import throttle_info
from llenergymeasure.domain.warnings import MeasurementWarning

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was measured, in the window and around it."""

    environment: EnvironmentSnapshot
    window: Window
    breakdown: EnergyBreakdown | None
    loaded: Idling | None
    warmup: WarmupResult


def attend(
    plan: ExperimentPlan, instruments: Instruments, start: Callable[[], NodeCommand | None] = lambda: None
) -> RawProcessResult:
    """Measure this node while the first one runs its session; the points at which they wait are that session's.

    Args:
        plan: that of the first, with the devices of this node and its place among the nodes.
        instruments: of this node; its peers are the nodes.
        start: starts what of the engine runs here, once the machine was seen idling without it; None where others do.

    Returns:
        What was measured, on this node's own clock.

    Raises:
        LLEMError: another node is gone, or what runs here ended.
    """
    warnings, peers = list[MeasurementWarning](), instruments.peers
    environment = instruments.snapshot()
    peers.wait("idle", POLL_BESIDE_S)
    baseline = steps.idle_baseline(plan, instruments, warnings)
    peers.wait("load", POLL_BESIDE_S)
    command = start()
    peers.wait("floor", POLL_BESIDE_S)
    _look(command)
    meter = WindowMeter(instruments)
    answers.or_unavailable("telemetry", instruments.sampler.start, warnings)
    try:
        warmup, loaded = steps.thermal_floor(plan, _no_warmup(), instruments, warnings)
        peers.wait("settled", POLL_BESIDE_S)
        # Whoever sees word of this one late begins late, and inside of what is measured here.
        meter.open()
        peers.wait("start", POLL_BESIDE_S)
        _log.info("measuring")
        peers.wait("end", POLL_BESIDE_S)
        _look(command)
        meter.close()
        steps.look_at_idle_power(plan, baseline, loaded, instruments, warnings)
    finally:
        meter.close()
        answers.or_unavailable("telemetry", instruments.sampler.stop, warnings)
    window = meter.window
    samples = answers.or_unavailable("telemetry", instruments.sampler.get_samples, warnings) or ()
    window.keep(samples, plan.devices, environment.gpus)
    # What of the engine runs here was started by others, who are not foreign.
    steps.collect_warnings(plan, environment, window, replace(instruments, gpu_pids=lambda _: None), warnings)
    breakdown = steps.energy_breakdown(window, baseline, instruments, warnings)
    seen = _Seen(environment=environment, window=window, breakdown=breakdown, loaded=loaded, warmup=warmup)
    return _raw_result(plan, seen, instruments, tuple(warnings))


def _look(command: NodeCommand | None) -> None:
    if command is not None:
        command.must_live()


def _no_warmup() -> WarmupResult:
    """The first one's warm-up is that of all."""
    return WarmupResult(converged=True, final_cv=None, iterations_completed=0, target_cv=0.0, max_prompts=0)


def _raw_result(
    plan: ExperimentPlan, seen: _Seen, instruments: Instruments, warnings: tuple[MeasurementWarning, ...]
) -> RawProcessResult:
    window, loaded = seen.window, seen.loaded
    level = steps.loaded_idle(window, loaded, [])
    by_device = {} if loaded is None else loaded.by_device
    return RawProcessResult(
        experiment_id=plan.experiment_id,
        name=plan.config.display_name,
        measurement_config_hash=plan.config_hash,
        effective_config=plan.config.resolved(),
        as_given=dict(plan.as_given),
        run_key=plan.run_key,
        process_index=plan.process_index,
        n_processes=plan.layout.n_processes,
        parallelism=plan.layout.parallelism,
        node=this_host().name,
        idle_by_device_w={name: (each.power_w, each.uncertainty_w) for name, each in by_device.items()},
        environment_snapshot=seen.environment,
        model=ModelDescription(engine=plan.config.backend, engine_version=None, devices=plan.devices),
        prompts_digest="",
        requests=(),
        start_time=window.start_time,
        end_time=window.end_time,
        window_start_s=window.start_s,
        window_end_s=window.end_s,
        energy_backend=instruments.energy.name if instruments.energy else None,
        energy=window.energy,
        energy_breakdown=seen.breakdown,
        idle_loaded_power_w=level.power_w if level else None,
        idle_loaded_power_uncertainty_w=level.uncertainty_w if level else None,
        warmup_result=seen.warmup,
        thermal_throttle=throttle_info(window.samples),
        instrument_cpu_s=window.instrument_cpu_s,
        foreign_cpu_pct=window.foreign_cpu_pct,
        samples=tuple(window.samples),
        measurement_warnings=warnings,
    )
