"""One measurement in one process, from the first look at the machine to the raw result.

``run_session`` is the order of everything; what stands around the measured window is in ``session_steps``, what an
engine is asked beside inference in ``session_answers``, the window itself in ``window.run``.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from llenergymeasure._host import this_host
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core import session_answers as answers
from llenergymeasure.core import session_steps as steps
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.backends.known_errors import advised
from llenergymeasure.core.backends.unproven import unproven
from llenergymeasure.core.device_check import Watched, watch_the_model
from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.machine import driver_held, visible_gpus
from llenergymeasure.core.idling.slices import Level
from llenergymeasure.core.instruments import Instruments, build_instruments
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.core.knobs.step import KnobsSet, knobs_set
from llenergymeasure.core.peers import POLL_BESIDE_S, Alone, Peers
from llenergymeasure.core.progress import Progress
from llenergymeasure.core.progress.power import watts_of
from llenergymeasure.core.prompts.fitting import beyond_context
from llenergymeasure.core.quality.scoring import Scorer
from llenergymeasure.core.settling import settled
from llenergymeasure.core.state import ExperimentState, StateMachine
from llenergymeasure.core.window.meter import Window
from llenergymeasure.core.window.run import measured_run
from llenergymeasure.core.window.under_load import measured_under_load
from llenergymeasure.core.window.work import Work, inference
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity
from llenergymeasure.domain.metrics import EnergyBreakdown, FlopsResult, WarmupResult
from llenergymeasure.domain.phases import PhasesResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import throttle_info
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, ConfigError, LLEMError, contained, in_one_line
from llenergymeasure.protocols import InferenceBackend

_log = logging.getLogger(__name__)


def measure(
    plan: ExperimentPlan,
    backend: InferenceBackend,
    on_state: Callable[[ExperimentState], None] | None = None,
    peers: Peers | None = None,
    on_measured: Callable[[RawProcessResult], None] | None = None,
    progress: Progress | None = None,
) -> RawProcessResult:
    """Measure a plan, or this process's part of it, with the instruments of this machine.

    Args:
        plan: with the GPUs that this process uses.
        backend: the engine.
        on_state: is told of every change of state.
        peers: the other processes of the plan; None where it has one.
        on_measured: is given the result before the engine unloads, which may be the end of this process.
        progress: is told how far it is; None tells nobody.

    Raises:
        ConfigError: the experiment needs other processes, which somebody has to start.
        LLEMError: as ``run_session``.
    """
    if plan.layout.n_processes > 1 and peers is None:
        raise ConfigError(
            f"this experiment needs {plan.layout.in_words} and was started as one; run_experiment, "
            "run_study and llem run start as many as are needed"
        )
    with driver_held():
        elsewhere = with_defaults(backend, EngineBase).elsewhere(in_use(plan.config))
        instruments = build_instruments(
            plan, visible=visible_gpus(), on_state=on_state, progress=progress, elsewhere=elsewhere
        )
        return run_session(plan, backend, replace(instruments, peers=peers or Alone(), on_measured=on_measured))


def measure_here(config: ExperimentConfig, backend: InferenceBackend) -> RawProcessResult:
    """Measure an experiment in this process with an engine that is at hand, writing nothing.

    Raises:
        LLEMError: as ``measure``.
    """
    restore_left()
    engine = with_defaults(backend, EngineBase)
    chosen = settled(config, engine)
    used = in_use(chosen.config)
    plan = ExperimentPlan.of(
        chosen.config,
        layout=engine.processes(used),
        devices=engine.select_devices(used, visible_gpus().uuids),
        as_given=chosen.as_given,
    )
    return measure(plan, engine)


def run_session(plan: ExperimentPlan, backend: InferenceBackend, instruments: Instruments) -> RawProcessResult:
    """Measure one process of a plan.

    Several go from one point to the next together, so that nobody's idling is disturbed by another's loading
    and their windows lie over each other. What fails while measuring becomes an absent value and a warning.

    Raises:
        BackendError: the model could not be had.
        ConfigError: the prompts could not be read.
        PreFlightError: a variable that the configuration names is not set.
        ExperimentError: inference failed, or a required baseline could not be measured.
    """
    engine, warnings = with_defaults(backend, EngineBase), list[MeasurementWarning]()
    # The result has the names of what is used, such as ~ and ${HF_TOKEN}.
    named, plan = plan.config, replace(plan, config=in_use(plan.config))
    with StateMachine(instruments.on_state) as state:
        environment = answers.snapshot(engine, instruments, warnings)
        warnings.extend(unproven(engine))
        warnings.extend(answers.said("engine_cautions", lambda: engine.cautions(plan.config), warnings))
        instruments.peers.wait("idle")
        baseline = steps.idle_baseline(plan, instruments, warnings)
        instruments.peers.wait("load", POLL_BESIDE_S)
        leaving = list[MeasurementWarning]()
        loaded = _loaded(plan, engine, leaving, instruments.progress)
        with knobs_set(plan, instruments, environment) as knobs, loaded as model:
            with instruments.progress.phase("preparing prompts"):
                prepared = steps.prepared_work(plan, engine, model, instruments, warnings)
            description = answers.described(model, prepared.template_use)
            identity = answers.identify(model, description, warnings)
            watched = watch_the_model(plan, description, instruments, baseline)
            warnings.extend(watched.warnings)
            seen = _measured(watched, prepared.work, knobs, state, warnings)
            warnings.extend(beyond_context(seen.window.output.requests, prepared.room))
            told = replace(watched.plan, config=named)
            result = _raw_result(told, seen, knobs.environment, description, identity, prepared, tuple(warnings))
            result = Scorer(watched.plan, engine, model, instruments).added_to(result)
            if instruments.on_measured is not None:
                instruments.on_measured(result)
            # One that ends badly while it unloads takes the others with it.
            instruments.peers.wait("left", POLL_BESIDE_S)
        state.advance(ExperimentState.DONE)
    return result.model_copy(update={"measurement_warnings": (*result.measurement_warnings, *leaving)})


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What one process measured, in its window and around it."""

    window: Window
    warmup: WarmupResult
    energy_backend: str | None
    energy_breakdown: EnergyBreakdown | None
    idle_loaded: Level | None
    phases: PhasesResult | None
    peak_memory_mb: float | None
    flops: FlopsResult | None


def _measured(
    watched: Watched,
    work: Work,
    knobs: KnobsSet,
    state: StateMachine,
    warnings: list[MeasurementWarning],
) -> _Seen:
    """From warm-up to the last look at the sensors, the model being loaded."""
    plan, instruments, model = watched.plan, watched.instruments, work.model
    warmup = steps.warm_up(plan, work, instruments, warnings)
    instruments.peers.wait("floor")
    with _telemetry(instruments, warnings):
        warmup, loaded = steps.thermal_floor(plan, warmup, instruments, warnings)
        instruments.peers.wait("settled", POLL_BESIDE_S)
        state.advance(ExperimentState.MEASURING)
        with inference():
            model.seed(plan.seed)
        instruments.peers.wait("start")
        measure_it = measured_run if work.traffic is None else measured_under_load
        window = measure_it(plan, work, instruments, warnings)
        # What comes now would be work beside the windows of the others.
        instruments.peers.wait("end", POLL_BESIDE_S)
        warnings.extend(knobs.look_again())
        warnings.extend(answers.said("engine_warnings", model.warnings, warnings))
        warnings.extend(answers.uncut_prompts(work, window))
        peak_memory_mb = answers.peak_memory_mb(model, warnings)
        steps.look_at_idle_power(plan, watched.baseline, loaded, instruments, warnings)
        phases = steps.phases(plan, work.only(window.units), instruments, warnings)
    samples = answers.or_unavailable("telemetry", instruments.sampler.get_samples, warnings) or ()
    window.keep(samples, plan.devices, knobs.environment.gpus)
    flops = answers.flops(model, window, warnings)
    steps.collect_warnings(plan, knobs.environment, window, instruments, warnings)
    return _Seen(
        window=window,
        warmup=warmup,
        energy_backend=instruments.energy.name if instruments.energy else None,
        energy_breakdown=steps.energy_breakdown(window, watched.baseline, instruments, warnings),
        idle_loaded=steps.loaded_idle(window, loaded, warnings),
        phases=phases,
        peak_memory_mb=peak_memory_mb,
        flops=flops,
    )


@contextmanager
def _loaded(
    plan: ExperimentPlan, engine: EngineBase, warnings: list[MeasurementWarning], progress: Progress
) -> Iterator[LoadedModelBase]:
    """The model, loaded. An engine that fails while it unloads costs nothing that was measured."""
    _log.info("loading %s with %s", plan.config.model, plan.config.backend)
    stack = ExitStack()
    try:
        with contained(), progress.phase(f"loading with {plan.config.backend}"):
            model = with_defaults(stack.enter_context(engine.load(plan)), LoadedModelBase)
    except LLEMError:
        raise
    except Exception as error:  # an engine's libraries raise what they will
        raise BackendError(
            advised(f"the {plan.config.backend} engine cannot load {plan.config.model!r}: {in_one_line(error)}", error)
        ) from error
    raised: BaseException | None = None
    try:
        yield model
    except BaseException as error:
        raised = error
        raise
    finally:
        # Not sys.exc_info(): whoever calls may be handling an error of their own.
        told = (None, None, None) if raised is None else (type(raised), raised, raised.__traceback__)
        try:
            with contained():
                stack.__exit__(*told)
        except Exception as error:  # noqa: BLE001 - as above; what the body raised goes on by itself
            if error is not raised:
                warnings.append(MeasurementWarning("engine_unload_failed", in_one_line(error)))
                _log.warning("%s", warnings[-1])


@contextmanager
def _telemetry(instruments: Instruments, warnings: list[MeasurementWarning]) -> Iterator[None]:
    """The sampler, running from before the thermal floor on and stopped on every way out."""
    answers.or_unavailable("telemetry", instruments.sampler.start, warnings)
    sensor = None if instruments.energy is None else with_defaults(instruments.energy, SensorBase)
    instruments.progress.watts(watts_of(instruments.sampler, sensor))
    try:
        yield
    finally:
        instruments.progress.watts(None)
        answers.or_unavailable("telemetry", instruments.sampler.stop, warnings)


def _raw_result(
    plan: ExperimentPlan,
    seen: _Seen,
    environment: EnvironmentSnapshot,
    model: ModelDescription,
    identity: ModelIdentity,
    prepared: steps.PreparedWork,
    warnings: tuple[MeasurementWarning, ...],
) -> RawProcessResult:
    window = seen.window
    methodology = plan.config.measurement.methodology
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
        node=None if plan.config.nodes is None else this_host().name,
        environment_snapshot=environment,
        model=model,
        identity=identity,
        prompts_digest=prepared.prompts_digest,
        requests=window.output.requests,
        in_flight=window.in_flight,
        load=window.load,
        n_requests_failed=window.n_failed,
        start_time=window.start_time,
        end_time=window.end_time,
        window_start_s=window.start_s,
        window_end_s=window.end_s,
        energy_backend=seen.energy_backend,
        energy=window.energy,
        energy_breakdown=seen.energy_breakdown,
        idle_loaded_power_w=seen.idle_loaded.power_w if seen.idle_loaded else None,
        idle_loaded_power_uncertainty_w=seen.idle_loaded.uncertainty_w if seen.idle_loaded else None,
        energy_aliasing_pct=window.aliasing_pct,
        dither_pause_s=window.dither_pause_s,
        flops_result=seen.flops,
        phases=seen.phases,
        measurement_methodology=methodology,
        steady_state_window=(
            None if methodology == "total" else (window.lead_in_s, window.lead_in_s + window.duration_sec)
        ),
        n_requests_excluded=(
            (len(prepared.work.requests) if window.n_begun is None else window.n_begun) - len(window.output.requests)
        ),
        warmup_result=seen.warmup,
        thermal_throttle=throttle_info(window.samples),
        peak_memory_mb=seen.peak_memory_mb,
        instrument_cpu_s=window.instrument_cpu_s,
        foreign_cpu_pct=window.foreign_cpu_pct,
        samples=tuple(window.samples),
        measurement_warnings=warnings,
    )
