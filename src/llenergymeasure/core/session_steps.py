"""The steps of a session before and after the measured window."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from llenergymeasure.config.device import locks_clocks
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.baseline import (
    BaselineCache,
    create_energy_breakdown,
    measure_baseline_power,
)
from llenergymeasure.core.gpu.window import GpuSampler
from llenergymeasure.core.idling.slices import IdleMeter, Idling, Level, idling_of, measured_idling
from llenergymeasure.core.idling.thermal_floor import Floor, FloorWait, thermal_floor_warnings, wait_out
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.load.traffic import Traffic
from llenergymeasure.core.machine_load import foreign_cpu_pct
from llenergymeasure.core.measurement_warnings import (
    energy_span_warning,
    idle_below_baseline_warning,
    idle_changed_warning,
    idle_unsteady_warning,
    neighbours_warning,
    phases_disturbed_warning,
)
from llenergymeasure.core.peers import InStep
from llenergymeasure.core.prompts.fitting import Room
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.core.prompts.tokenise import as_text
from llenergymeasure.core.session_answers import or_unavailable
from llenergymeasure.core.session_warnings import aliasing_pct, warnings_of_the_window
from llenergymeasure.core.warmup import warmup_until_converged, warmup_warning
from llenergymeasure.core.window.meter import Window
from llenergymeasure.core.window.phases import measure_phases
from llenergymeasure.core.window.work import Work, inference, unit_runner
from llenergymeasure.domain.energy.provenance import is_modelled
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.metrics import (
    EnergyBreakdown,
    EnergyMeasurement,
    WarmupResult,
    counted_devices,
    only_gpus,
)
from llenergymeasure.domain.phases import PhasesResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError, ExperimentError, LLEMError, contained, in_one_line

_log = logging.getLogger(__name__)

_NO_IDLE = "idle power and thermal floor were left out"
_OF_SOMETHING_ELSE = "what was read while idling does not cover what was read in the window"
# Three slices of a second: what a run costs more so that load of others shows that began while it was measured.
_IDLE_AFTER_S = 3.0


def idle_baseline(
    plan: ExperimentPlan, instruments: Instruments, warnings: list[MeasurementWarning]
) -> BaselineCache | None:
    """Power of the machine before the model is loaded; None where nothing senses it.

    Raises:
        ExperimentError: it is required and could not be measured.
    """
    settings = plan.config.baseline
    baseline = None
    if settings.enabled and instruments.senses_energy:
        _log.info("measuring the idle baseline for %g s", settings.duration_seconds)
        with instruments.progress.phase("idle baseline", for_s=settings.duration_seconds):
            baseline = measure_baseline_power(
                duration_sec=settings.duration_seconds,
                energy=instruments.baseline_energy or instruments.energy,
                devices=plan.devices,
                cache_ttl_sec=settings.cache_ttl_sec,
                store=instruments.baselines,
                sleep=instruments.sleep,
                now=lambda: instruments.now().timestamp(),
                warn=warnings.append,
            )
    if baseline is None and settings.required:
        raise ExperimentError(
            "baseline.required is true, but no idle baseline could be measured: "
            + ("; ".join(map(str, warnings)) or "no sensor measures energy here, or baseline.enabled is false")
        )
    return baseline


@dataclass(frozen=True, kw_only=True)
class PreparedWork:
    """This process's share of the requests, ready to run, the digest of all prompts, and the model's room for them."""

    work: Work
    prompts_digest: str
    template_use: str | None
    room: Room


def prepared_work(
    plan: ExperimentPlan,
    engine: EngineBase,
    model: LoadedModelBase,
    instruments: Instruments,
    warnings: list[MeasurementWarning],
) -> PreparedWork:
    """Choose and tokenise the prompts, outside of the window.

    Raises:
        ConfigError: the dataset cannot be read, or is too small to be shared.
        PreFlightError: the hub that it comes from can no longer be reached.
        ExperimentError: the tokenizer or its template cannot make tokens of it.
    """
    selection = select_prompts(plan.config)
    warnings.extend(selection.warnings)
    own = plan.share_of(selection.prompts)
    if not own:
        raise ConfigError(
            f"dataset: {len(selection.prompts)} prompts cannot be shared by {plan.layout.in_words}; "
            "give a larger dataset, or fewer processes"
        )
    try:
        with contained():
            if engine.takes_text(plan.config):
                prepared = as_text(plan.config, own)
            else:
                prepared = instruments.tokenise(plan.config, own, engine.checkpoint(plan.config))
    except LLEMError:
        raise
    except Exception as error:  # templates and tokenizers raise whatever their libraries raise
        raise ExperimentError(f"the prompts could not be tokenised: {in_one_line(error)}") from error
    warnings.extend(prepared.warnings)
    if prepared.n_truncated:
        warnings.append(
            MeasurementWarning(
                "prompts_truncated",
                f"{prepared.n_truncated} of {len(own)} prompts were cut to {plan.config.max_input_tokens} tokens",
                "raise max_input_tokens to keep them whole",
            )
        )
    with inference():
        load = engine.load_of(plan.config)
    return PreparedWork(
        work=Work.of(
            model, load, prepared.requests, None if plan.config.load is None else partial(Traffic.of, plan.config)
        ),
        prompts_digest=selection.digest,
        template_use=prepared.template_use,
        room=prepared.room,
    )


def warm_up(
    plan: ExperimentPlan, work: Work, instruments: Instruments, warnings: list[MeasurementWarning]
) -> WarmupResult:
    """Run units of the measured load until the engine is warm.

    Raises:
        ExperimentError: a run failed that other processes took part in.
    """
    settings = plan.config.warmup
    if settings.enabled:
        _log.info("warming up")
    run_unit, progress = unit_runner(work, instruments.clock), instruments.progress

    def run_one() -> float:
        milliseconds = run_unit()
        progress.later(_idles_s(plan, instruments) + work.expected_s(milliseconds / 1000))
        return milliseconds

    in_step = InStep(run_one, instruments.peers) if plan.layout.parallelism == "tensor" else None
    result = warmup_until_converged(in_step or run_one, settings, progress=progress)
    if warmup_s := result.latencies_ms[-1:]:
        progress.later(work.expected_s(warmup_s[0] / 1000))
    if in_step is not None and in_step.failure is not None:
        raise ExperimentError(f"warm-up failed: {in_step.failure}") from in_step.failure
    warning = warmup_warning(result)
    if warning is not None:
        warnings.append(warning)
    return result


def _idles_s(plan: ExperimentPlan, instruments: Instruments) -> float:
    """How long is idled after warm-up, at the most."""
    if not instruments.senses_energy:
        return 0.0
    settings = plan.config.warmup
    return settings.thermal_settle_max_s or settings.thermal_floor_seconds


def thermal_floor(
    plan: ExperimentPlan, warmup: WarmupResult, instruments: Instruments, warnings: list[MeasurementWarning]
) -> tuple[WarmupResult, Idling | None]:
    """Idle with the model loaded until temperatures settle; gives the power of that idling.

    The floor ends early only where the configuration allows it and the running sampler shows every GPU settled.
    """
    if instruments.energy is None or not instruments.senses_energy:
        return warmup, None
    settings = plan.config.warmup
    _log.info("thermal floor: idling for %g s with the model loaded", settings.thermal_floor_seconds)
    shown = instruments.progress.phase("thermal floor", for_s=_idles_s(plan, instruments))
    with IdleMeter(instruments.energy, settings.thermal_floor_seconds, instruments.sleep) as meter, shown:
        wait = _wait_out_the_floor(plan, instruments, meter.sleep)
    idling = idling_of([only_gpus(measurement, plan.devices) for measurement in meter.measurements])
    if idling is None:
        said = dict.fromkeys(str(warning) for found in meter.measurements for warning in found.warnings)
        reasons = "; ".join(said) or "the sensor gave no energy"
        warnings.append(MeasurementWarning("loaded_idle_unavailable", reasons))
    elif idling.disturbance is not None:
        warnings.append(idle_unsteady_warning(idling.disturbance, "with the model loaded"))
    warnings.extend(thermal_floor_warnings(wait, settings))
    done = replace(
        warmup,
        thermal_floor_wait_s=wait.waited_s,
        thermal_floor_ended_early=wait.ended_early,
        thermal_settled=wait.settled,
    )
    return done, idling


def _wait_out_the_floor(plan: ExperimentPlan, instruments: Instruments, sleep: Callable[[float], None]) -> FloorWait:
    settings = plan.config.warmup
    return wait_out(
        Floor(settings.thermal_floor_seconds, settings.thermal_floor_early_end, settings.thermal_settle_max_s),
        len(plan.devices),
        instruments.sampler.get_samples,
        instruments.clock,
        sleep,
    )


def loaded_idle(window: Window, loaded: Idling | None, warnings: list[MeasurementWarning]) -> Level | None:
    """Idle power with the model loaded, as it may be taken off the window's energy."""
    rows = () if window.energy is None else window.energy.devices
    level = None if loaded is None else loaded.whole.beside(rows)
    if loaded is not None and level is None:
        warnings.append(MeasurementWarning("loaded_idle_unavailable", _OF_SOMETHING_ELSE))
    return level


def look_at_idle_power(
    plan: ExperimentPlan,
    baseline: BaselineCache | None,
    loaded: Idling | None,
    instruments: Instruments,
    warnings: list[MeasurementWarning],
) -> None:
    """Idle for a moment after the window, and hold the three windows of idling against each other.

    Load of others that lasts shows in no window of idling by itself: one that began or ended while the model was loaded
    or measured does, between two of them.
    """
    if instruments.energy is None or loaded is None:
        return
    if isinstance(instruments.sampler, GpuSampler) and instruments.sampler.problem is not None:
        # Each further slice would wait for a driver that hangs.
        return
    measured = measured_idling(instruments.energy, _IDLE_AFTER_S, instruments.sleep)
    slices = [idling_of([only_gpus(each, plan.devices)]) for each in measured]
    known = [each for each in slices if each is not None]
    found = [
        idle_changed_warning(
            before,
            [each.whole if name is None else each.by_device[name] for each in known if name in (None, *each.by_device)],
            name,
        )
        for name, before in loaded.levels.items()
    ]
    # A card whose clocks were locked in between may idle with less.
    if baseline is not None and not locks_clocks(plan.config.device):
        found += [
            idle_below_baseline_warning(empty, loaded.levels[name], name)
            for name, empty in baseline.levels.items()
            if name in loaded.levels
        ]
    # A device says more than the whole, which has the same of it.
    told = [warning for warning in found if warning is not None]
    warnings.extend([warning for warning in told if warning.device is not None] or told)


def phases(
    plan: ExperimentPlan, work: Work, instruments: Instruments, warnings: list[MeasurementWarning]
) -> PhasesResult | None:
    """Prefill and decode apart, where they are asked for; what fails in it costs only this."""
    if not plan.config.phases.enabled:
        return None
    if plan.layout.n_processes > 1:
        warnings.append(
            MeasurementWarning(
                "phases_unavailable",
                f"prefill and decode are not measured apart in {plan.layout.in_words}",
                "use one process",
            )
        )
        return None
    own_pids = instruments.peers.pids() | {os.getpid()}
    before = instruments.machine_cpu_s(own_pids)
    found = or_unavailable("phases", lambda: measure_phases(plan, work, instruments), warnings)
    after = instruments.machine_cpu_s(own_pids)
    if found is None:
        return None
    warnings.extend(found[1])
    if before is not None and after is not None:
        warnings.extend(phases_disturbed_warning(foreign_cpu_pct(before, after)))
    return found[0]


def collect_warnings(
    plan: ExperimentPlan,
    environment: EnvironmentSnapshot,
    window: Window,
    instruments: Instruments,
    warnings: list[MeasurementWarning],
) -> None:
    """Everything a reader of the figures has to know, with what to do about it."""
    used = [gpu for gpu in environment.gpus if gpu.uuid in plan.devices]
    pids = instruments.gpu_pids(plan.devices)
    foreign = None if pids is None else pids - (instruments.peers.pids() - {os.getpid()})
    warnings.extend(warnings_of_the_window(plan, used, window, foreign))
    window.aliasing_pct = aliasing_pct(plan, used, window)
    if instruments.idle_gpus:
        warnings.append(
            MeasurementWarning(
                "gpus_not_used",
                f"{', '.join(instruments.idle_gpus)} could be used, but the {plan.config.backend} engine runs "
                "on the CPU",
                "if that is not meant, install a build of it that has CUDA",
            )
        )
    if plan.devices and not window.samples:
        warnings.append(
            MeasurementWarning("telemetry_unavailable", "no state of the GPUs was read", "throttling is not known")
        )
    if instruments.energy is None and instruments.energy_absent_reason is not None:
        warnings.append(MeasurementWarning("energy_unavailable", instruments.energy_absent_reason, _NO_IDLE))
    if window.energy is not None:
        warnings.extend(window.energy.warnings)
        warnings.extend(energy_span_warning(window.energy, window.duration_sec))
        if window.energy.total_j is not None:
            warnings.extend(filter(None, [neighbours_warning(environment, window.energy.devices)]))
        # What a sensor from elsewhere says of itself is not asked where its own rows say it.
        if window.energy.total_j is not None and (instruments.modelled or is_modelled(window.energy.devices)):
            warnings.append(_about_a_model(window.energy, instruments))
    dormant = plan.config.dormant_fields()
    if dormant:
        listed = ", ".join(f"{name} ({why})" for name, why in dormant.items())
        warnings.append(
            MeasurementWarning(
                "dormant_fields", f"set without any effect: {listed}", "give what they need, or remove them"
            )
        )


def _about_a_model(energy: EnergyMeasurement, instruments: Instruments) -> MeasurementWarning:
    """What to say of a sensor that may be a model: whether it was one shows only in what it returned."""
    if is_modelled(energy.devices):
        field = "; ".join(d.field or d.device for d in counted_devices(energy.devices))
        return MeasurementWarning(
            "energy_modelled",
            f"no sensor was read; joules are an estimate ({field}); measure on a machine with a GPU or "
            "readable RAPL counters before citing them",
            _NO_IDLE if instruments.modelled else "",
        )
    return MeasurementWarning(
        "idle_unavailable",
        f"this sensor may be a model, so {_NO_IDLE}",
        "name one with energy.backend that reads the processors themselves; llem config lists them",
    )


def energy_breakdown(
    window: Window, baseline: BaselineCache | None, instruments: Instruments, warnings: list[MeasurementWarning]
) -> EnergyBreakdown | None:
    """Raw and baseline-adjusted energy; None where no energy was tracked."""
    if window.energy is None:
        return None
    comparable = None if baseline is None else baseline.beside(window.energy.devices)
    if baseline is not None and comparable is None:
        warnings.append(MeasurementWarning("baseline_unavailable", _OF_SOMETHING_ELSE, "energy is given unadjusted"))
    breakdown = create_energy_breakdown(
        window.energy.total_j,
        comparable,
        window.energy.duration_sec,
        uncertainty_j=window.energy.uncertainty_j,
        now=lambda: instruments.now().timestamp(),
    )
    if breakdown.adjusted_j is not None and breakdown.adjusted_j < 0:
        warnings.append(
            MeasurementWarning(
                "negative_adjusted_energy",
                "the idle baseline took more power than the measurement",
                "the machine was busy then, so let it rest and run again",
            )
        )
    return breakdown
