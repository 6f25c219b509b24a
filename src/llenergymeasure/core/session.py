"""One measurement in one process, from the first look at the machine to the raw result.

``run_session`` is the order of everything; the steps around the measured window are in
``session_steps``.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from tqdm import tqdm

from llenergymeasure.core import session_steps as steps
from llenergymeasure.core.device_check import watch_the_model
from llenergymeasure.core.energy_backends.tracking import Tracking, with_rows_of
from llenergymeasure.core.instruments import Instruments, build_instruments
from llenergymeasure.core.machine_load import foreign_cpu_pct
from llenergymeasure.core.measured_part import MeasuredPart, measured_part
from llenergymeasure.core.nvidia.devices import visible_gpus
from llenergymeasure.core.nvidia.nvml import nvml_held
from llenergymeasure.core.peers import POLL_BESIDE_S, Alone, Peers
from llenergymeasure.core.state import ExperimentState, StateMachine
from llenergymeasure.core.window import Window
from llenergymeasure.domain.inference import InferenceOutput, Prompt, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import throttle_info
from llenergymeasure.exceptions import ConfigError, ExperimentError, LLEMError
from llenergymeasure.protocols import InferenceBackend, LoadedModel

_log = logging.getLogger(__name__)

Batches = Sequence[Sequence[Prompt]]


def measure(
    plan: ExperimentPlan,
    backend: InferenceBackend,
    on_state: Callable[[ExperimentState], None] | None = None,
    peers: Peers | None = None,
) -> RawProcessResult:
    """Measure a plan with the instruments of this machine, on the GPUs this process may see.

    Raises:
        ConfigError: the experiment needs other processes than the plan has.
        LLEMError: as ``run_session``.
    """
    wanted = backend.processes(plan.config)
    if wanted != plan.layout:
        raise ConfigError(
            f"this experiment needs {wanted.in_words} and was started as {plan.layout.in_words}; run_experiment, "
            "run_study and llem run start as many as are needed"
        )
    with nvml_held():
        visible = visible_gpus()
        plan = replace(plan, devices=backend.select_devices(plan.config, visible.uuids))
        instruments = build_instruments(plan, visible=visible, on_state=on_state)
        return run_session(plan, backend, replace(instruments, peers=peers or Alone()))


def run_session(plan: ExperimentPlan, backend: InferenceBackend, instruments: Instruments) -> RawProcessResult:
    """Measure one process of a plan.

    Several go from one point to the next together, so that nobody's idling is disturbed by another's loading
    and their windows lie over each other. What fails while measuring becomes an absent value and a warning.

    Raises:
        BackendError: the model could not be had.
        ConfigError: the prompts could not be read.
        ExperimentError: inference failed, or a required baseline could not be measured.
    """
    warnings: list[str] = []
    with StateMachine(instruments.on_state) as state:
        environment = instruments.snapshot()
        warnings.extend(steps.attempt("engine_cautions", lambda: backend.cautions(plan.config), warnings) or ())
        instruments.peers.wait("idle")
        baseline = steps.idle_baseline(plan, instruments, warnings)
        instruments.peers.wait("load", POLL_BESIDE_S)
        with _loaded(plan, backend) as model:
            batches, prompts_digest = steps.prepared_prompts(plan, model, warnings)
            description = model.describe()
            identity = steps.identify(model, warnings)
            watched = watch_the_model(plan, description, instruments, baseline)
            plan, instruments, baseline = watched.plan, watched.instruments, watched.baseline
            warnings.extend(watched.warnings)
            warmup = steps.warm_up(plan, model, batches, instruments, warnings)
            instruments.peers.wait("floor")
            with _telemetry(instruments, warnings):
                warmup, idle_loaded_power_w = steps.thermal_floor(plan, warmup, instruments, warnings)
                instruments.peers.wait("settled", POLL_BESIDE_S)
                state.advance(ExperimentState.MEASURING)
                model.seed(plan.seed)
                instruments.peers.wait("start")
                window = _measured(plan, model, batches, instruments, warnings)
                # What comes now would be work beside the windows of the others.
                instruments.peers.wait("end", POLL_BESIDE_S)
                warnings.extend(steps.attempt("engine_warnings", model.warnings, warnings) or ())
                peak_memory_mb = steps.attempt("peak_memory", model.peak_memory_mb, warnings)
                phases = steps.phases(plan, model, window.batches, instruments, warnings)
            samples = steps.attempt("telemetry", instruments.sampler.get_samples, warnings) or ()
            window.keep(samples, plan.devices, environment.gpus)
            flops = steps.attempt("flops", lambda: model.flops(window.output), warnings)
            sidecars = steps.sidecars_of(plan, window, warnings)
            steps.collect_warnings(plan, environment, window, instruments, warnings)
            breakdown = steps.energy_breakdown(window, baseline, instruments, warnings)
            result = RawProcessResult(
                **_of_the_plan(plan),
                environment_snapshot=environment,
                model=description,
                identity=identity,
                prompts_digest=prompts_digest,
                energy_backend=instruments.energy.name if instruments.energy else None,
                energy_breakdown=breakdown,
                idle_loaded_power_w=idle_loaded_power_w,
                flops_result=flops,
                phases=phases,
                **_of_the_window(window),
                **_of_the_part(plan, batches, window),
                warmup_result=warmup,
                peak_memory_mb=peak_memory_mb,
                timeseries=sidecars.timeseries,
                requests_file=sidecars.requests,
                outputs_file=sidecars.outputs,
                samples=tuple(window.samples) if plan.layout.n_processes > 1 else (),
                measurement_warnings=tuple(warnings),
            )
        state.advance(ExperimentState.DONE)
    return result


def _of_the_plan(plan: ExperimentPlan) -> dict[str, Any]:
    """What was run, and which part of it this process is."""
    return {
        "experiment_id": plan.experiment_id,
        "name": plan.config.display_name,
        "measurement_config_hash": plan.config_hash,
        "effective_config": plan.config.resolved(),
        "process_index": plan.process_index,
        "n_processes": plan.layout.n_processes,
        "parallelism": plan.layout.parallelism,
    }


def _of_the_window(window: Window) -> dict[str, Any]:
    """What was run and seen in it."""
    return {
        "requests": window.output.requests,
        "start_time": window.start_time,
        "end_time": window.end_time,
        "window_start_s": window.start_s,
        "window_end_s": window.end_s,
        "energy": window.energy,
        "energy_aliasing_pct": window.aliasing_pct,
        "thermal_throttle": throttle_info(window.samples),
        "instrument_cpu_s": window.instrument_cpu_s,
        "foreign_cpu_pct": window.foreign_cpu_pct,
    }


def _of_the_part(plan: ExperimentPlan, batches: Batches, window: Window) -> dict[str, Any]:
    """Which part of the run was measured, and how much of it was not."""
    methodology = plan.config.measurement.methodology
    start_s = sum(window.lead_in_s)
    return {
        "measurement_methodology": methodology,
        "steady_state_window": None if methodology == "total" else (start_s, start_s + window.duration_sec),
        "n_requests_excluded": sum(map(len, batches)) - len(window.output.requests),
    }


@contextmanager
def _loaded(plan: ExperimentPlan, backend: InferenceBackend) -> Iterator[LoadedModel]:
    _log.info("loading %s with %s", plan.config.model, plan.config.backend)
    with backend.load(plan) as model:
        yield model


@contextmanager
def _telemetry(instruments: Instruments, warnings: list[str]) -> Iterator[None]:
    """The sampler, running from before the thermal floor on and stopped on every way out."""
    steps.attempt("telemetry", instruments.sampler.start, warnings)
    try:
        yield
    finally:
        steps.attempt("telemetry", instruments.sampler.stop, warnings)


def _measured(
    plan: ExperimentPlan, model: LoadedModel, batches: Batches, instruments: Instruments, warnings: list[str]
) -> Window:
    """Run what comes before the measured part, and measure the part."""
    with _progress(batches, instruments) as bar:
        part = measured_part(plan.config.measurement, batches, instruments.clock)
        lead_in = _run_lead_in(model, batches, part, instruments.clock, bar)
        if lead_in:
            # What was drawn and compiled before the part is not the part's.
            model.seed(plan.seed)
        with _measuring(instruments) as window:
            _run_part(model, batches[len(lead_in) :], part, window, bar)
    window.lead_in_s = tuple(lead_in)
    warnings.extend(part.warnings(window.duration_sec))
    return window


@contextmanager
def _measuring(instruments: Instruments) -> Iterator[Window]:
    """Energy around the body, stopped on every way out."""
    now = instruments.now()
    window = Window(start_time=now, end_time=now, clock=instruments.clock)
    _log.info("measuring")
    sources = [source for source in (instruments.beside, instruments.energy) if source is not None]
    trackings = [Tracking(source) for source in sources]
    spent_s = instruments.cpu_time_s()
    own = instruments.peers.pids() | {os.getpid()}
    before = instruments.machine_cpu_s(own)
    try:
        with ExitStack() as stack:
            for tracking in trackings:
                stack.enter_context(tracking)
            # Work begins where the tracking does, not where the edge of the window was looked for.
            window.start_time = instruments.now()
            yield window
    finally:
        # Of the sources' last readings none belongs to the window.
        window.end_time = window.start_time + timedelta(seconds=window.duration_sec)
    # Nothing spent is nothing counted: only the sampler of GPUs is.
    window.instrument_cpu_s = (instruments.cpu_time_s() - spent_s) or None
    after = instruments.machine_cpu_s(own)
    if before is not None and after is not None:
        window.foreign_cpu_pct = foreign_cpu_pct(before, after)
    if instruments.energy is not None:
        window.energy = trackings[-1].measurement
        if instruments.beside is not None:
            window.energy = with_rows_of(window.energy, trackings[0].measurement)


def _progress(batches: Batches, instruments: Instruments) -> "tqdm[NoReturn]":
    total = sum(len(batch) for batch in batches)
    return tqdm(
        total=total, desc="measuring", unit="req", disable=not instruments.show_progress, leave=False, mininterval=0.5
    )


def _run_lead_in(
    model: LoadedModel, batches: Batches, part: MeasuredPart, clock: Callable[[], float], bar: "tqdm[NoReturn]"
) -> list[float]:
    """Run what comes before the measured part; seconds of each batch of it."""
    seconds: list[float] = []
    with _inference():
        # Something is left to be measured however long the part takes to begin.
        while not part.begins() and len(seconds) < len(batches) - 1:
            batch, start_s = batches[len(seconds)], clock()
            output = model.generate(batch)
            model.synchronize()
            seconds.append(clock() - start_s)
            part.saw(output, seconds[-1])
            bar.update(len(batch))
    return seconds


def _run_part(model: LoadedModel, batches: Batches, part: MeasuredPart, window: Window, bar: "tqdm[NoReturn]") -> None:
    """The measured loop: from the first batch to the moment the device has finished the last one."""
    requests: list[RequestOutput] = []
    n_run = 0
    window.start_s = window.clock()
    try:
        with _inference():
            for batch in batches:
                if requests and part.ends(window.clock() - window.start_s):
                    break
                requests.extend(replace(request, batch=n_run) for request in model.generate(batch).requests)
                n_run += 1
                bar.update(len(batch))
            model.synchronize()
    finally:
        window.end_s = window.clock()
    window.batches = batches[:n_run]
    window.output = InferenceOutput(requests=tuple(requests))


@contextmanager
def _inference() -> Iterator[None]:
    """What goes wrong in it ends the experiment.

    Raises:
        ExperimentError: an engine raised whatever its libraries raise.
    """
    try:
        yield
    except LLEMError:
        raise
    except Exception as error:
        raise ExperimentError(f"inference failed: {type(error).__name__}: {error}") from error
