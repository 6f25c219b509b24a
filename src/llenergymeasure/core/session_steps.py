"""The steps of a session before and after the measured window."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from llenergymeasure.core.baseline import (
    BaselineCache,
    create_energy_breakdown,
    mean_power_w,
    measure_baseline_power,
    measure_idle_power,
)
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.measurement_warnings import collect_measurement_warnings
from llenergymeasure.core.prompts import select_prompts
from llenergymeasure.core.requests_table import write_requests_parquet
from llenergymeasure.core.timeseries import write_timeseries_parquet
from llenergymeasure.core.warmup import create_warmup_inference_fn, warmup_until_converged, warmup_warning
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, Prompt
from llenergymeasure.domain.metrics import EnergyBreakdown, EnergyMeasurement, WarmupResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.provenance import is_modelled
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.protocols import LoadedModel

_log = logging.getLogger(__name__)
_Value = TypeVar("_Value")

TIMESERIES_FILE = "timeseries.parquet"
REQUESTS_FILE = "requests.parquet"
_NO_IDLE = "idle power and thermal floor were left out"


@dataclass
class Window:
    """The measured window, filled in as it goes; ``_s`` on the instruments' monotonic clock."""

    start_time: datetime
    end_time: datetime
    clock: Callable[[], float]
    start_s: float = 0.0
    end_s: float = 0.0
    output: InferenceOutput = field(default_factory=lambda: InferenceOutput(requests=()))
    energy: EnergyMeasurement | None = None
    samples: list[PowerThermalSample] = field(default_factory=list)

    @property
    def duration_sec(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Sidecars:
    """Names of the files that were written beside the result."""

    timeseries: str | None = None
    requests: str | None = None


def attempt(what: str, call: Callable[[], _Value], warnings: list[str]) -> _Value | None:
    """The value of optional measuring work; if it raises, None and a warning."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - engines and sensors raise whatever their libraries raise
        warnings.append(f"{what}_unavailable: {type(error).__name__}: {error}")
        return None


def idle_baseline(plan: ExperimentPlan, instruments: Instruments, warnings: list[str]) -> BaselineCache | None:
    """Power of the machine before the model is loaded; None where nothing senses it.

    Raises:
        ExperimentError: it is required and could not be measured.
    """
    settings = plan.config.baseline
    baseline = None
    if settings.enabled and instruments.senses_energy:
        _log.info("measuring the idle baseline for %g s", settings.duration_seconds)
        baseline = measure_baseline_power(
            duration_sec=settings.duration_seconds,
            energy=instruments.baseline_energy or instruments.energy,
            devices=plan.devices,
            cache_ttl_sec=settings.cache_ttl_sec,
            store=instruments.baselines,
            sleep=instruments.sleep,
            now=lambda: instruments.now().timestamp(),
        )
        if baseline is None:
            warnings.append("baseline_unavailable: the idle power could not be read; energy is given unadjusted")
    if baseline is None and settings.required:
        raise ExperimentError(
            "baseline.required is true, but no idle baseline could be measured: "
            + ("; ".join(warnings) or "no sensor measures energy here, or baseline.enabled is false")
        )
    return baseline


def prepared_prompts(
    plan: ExperimentPlan, model: LoadedModel, warnings: list[str]
) -> tuple[Sequence[Sequence[Prompt]], str]:
    """The prompts as the engine will run them, and their digest.

    Raises:
        ConfigError: the dataset cannot be read.
        ExperimentError: the engine cannot make tokens of it.
    """
    selection = select_prompts(plan.config)
    warnings.extend(selection.warnings)
    try:
        batches = model.prepare(selection.prompts)
    except Exception as error:  # templates and tokenizers raise whatever their libraries raise
        raise ExperimentError(f"the prompts could not be tokenised: {type(error).__name__}: {error}") from error
    n_truncated = sum(prompt.truncated for batch in batches for prompt in batch)
    if n_truncated:
        warnings.append(
            f"prompts_truncated: {n_truncated} of {len(selection.prompts)} prompts were cut to "
            f"{plan.config.max_input_tokens} tokens; raise max_input_tokens to keep them whole"
        )
    return batches, selection.digest


def warm_up(
    plan: ExperimentPlan,
    model: LoadedModel,
    batches: Sequence[Sequence[Prompt]],
    instruments: Instruments,
    warnings: list[str],
) -> WarmupResult:
    """Run batches of the measured shape until the engine is warm."""
    settings = plan.config.warmup
    if settings.enabled:
        _log.info("warming up")
    run_one = create_warmup_inference_fn(model, batches, instruments.clock)
    result = warmup_until_converged(run_one, settings, show_progress=instruments.show_progress)
    warning = warmup_warning(result)
    if warning is not None:
        warnings.append(warning)
    return result


def thermal_floor(
    plan: ExperimentPlan, warmup: WarmupResult, instruments: Instruments, warnings: list[str]
) -> tuple[WarmupResult, float | None]:
    """Idle with the model loaded until temperatures settle; gives the power of that idling in watts."""
    if instruments.energy is None or not instruments.senses_energy:
        return warmup, None
    seconds = plan.config.warmup.thermal_floor_seconds
    _log.info("thermal floor: idling for %g s with the model loaded", seconds)
    idle = measure_idle_power(instruments.energy, seconds, instruments.sleep)
    if idle.total_j is None:
        reasons = "; ".join(idle.warnings) or "the source gave no energy"
        warnings.append(f"loaded_idle_unavailable: {reasons}")
    return replace(warmup, thermal_floor_wait_s=seconds), mean_power_w(idle)


def sensors_saw_the_model(plan: ExperimentPlan, model: ModelDescription, window: Window) -> bool:
    """Whether the watched GPUs are those the model lies on; if not, what was sensed is taken back."""
    if set(model.devices) == set(plan.devices):
        return True
    window.samples = []
    if window.energy is not None:
        reason = (
            f"energy_unavailable: the engine ran on {', '.join(model.devices) or 'the CPU'}, the sensors watched "
            f"{', '.join(plan.devices) or 'the CPU'}; set CUDA_VISIBLE_DEVICES to the GPUs by UUID"
        )
        window.energy = EnergyMeasurement(
            None, window.energy.duration_sec, 0, warnings=(*window.energy.warnings, reason)
        )
    return False


def write_sidecars(plan: ExperimentPlan, window: Window, warnings: list[str]) -> Sidecars:
    """The files beside the result; one that cannot be written is a warning."""
    if plan.output_dir is None:
        return Sidecars()
    written: dict[str, str] = {}
    for key, name in (("timeseries", TIMESERIES_FILE), ("requests", REQUESTS_FILE)):
        path = plan.output_dir / name
        try:
            if key == "timeseries":
                write_timeseries_parquet(window.samples, path)
            else:
                write_requests_parquet(window.output.requests, path)
            written[key] = name
        except OSError as error:
            path.unlink(missing_ok=True)
            warnings.append(f"sidecar_not_written: {name}: {error.strerror or error}; free space and run again")
    return Sidecars(**written)


def collect_warnings(
    plan: ExperimentPlan,
    environment: EnvironmentSnapshot,
    window: Window,
    instruments: Instruments,
    warnings: list[str],
) -> None:
    """Everything a reader of the figures has to know, with what to do about it."""
    used = [gpu for gpu in environment.gpus if gpu.uuid in plan.devices]
    modes = [gpu.persistence_mode for gpu in used if gpu.persistence_mode is not None]
    first_c, last_c = _largest_drift(window.samples)
    warnings.extend(
        collect_measurement_warnings(
            window.duration_sec,
            all(modes) if modes else None,
            first_c,
            last_c,
            _fewest_power_samples(window.samples, len(plan.devices)),
        )
    )
    if plan.devices and not window.samples:
        warnings.append("telemetry_unavailable: no state of the GPUs was read; throttling is not known")
    if instruments.energy is None and instruments.energy_absent_reason is not None:
        warnings.append(f"energy_unavailable: {instruments.energy_absent_reason}; {_NO_IDLE}")
    if window.energy is not None:
        warnings.extend(window.energy.warnings)
        if window.energy.total_j is not None and instruments.modelled:
            warnings.append(_about_a_model(window.energy))
    dormant = plan.config.dormant_fields()
    if dormant:
        listed = ", ".join(f"{name} ({why})" for name, why in dormant.items())
        warnings.append(f"dormant_fields: set without any effect: {listed}; give what they need, or remove them")


def _about_a_model(energy: EnergyMeasurement) -> str:
    """What to say of a source that was taken for a model: whether it was one shows only in what it returned."""
    if is_modelled(energy.devices):
        return (
            "energy_modelled: no sensor was read; joules are an estimate; measure on a machine with a GPU or "
            f"readable RAPL counters before citing them; {_NO_IDLE}"
        )
    return f"idle_unavailable: this source may be a model, so {_NO_IDLE}; energy.backend: rapl measures them"


def _largest_drift(samples: Sequence[PowerThermalSample]) -> tuple[float | None, float | None]:
    """First and last temperature of the GPU whose temperature changed most."""
    by_gpu: dict[int | None, list[float]] = {}
    for sample in samples:
        if sample.temperature_c is not None:
            by_gpu.setdefault(sample.gpu_index, []).append(sample.temperature_c)
    if not by_gpu:
        return None, None
    worst = max(by_gpu.values(), key=lambda values: abs(values[-1] - values[0]))
    return worst[0], worst[-1]


def _fewest_power_samples(samples: Sequence[PowerThermalSample], n_gpus: int) -> int | None:
    """Power readings of the GPU that gave fewest, 0 if one gave none; None without GPUs."""
    if n_gpus == 0:
        return None
    counts = Counter(s.gpu_index for s in samples if s.power_w is not None)
    return min(counts.values()) if len(counts) >= n_gpus else 0


def energy_breakdown(
    window: Window, baseline: BaselineCache | None, instruments: Instruments, warnings: list[str]
) -> EnergyBreakdown | None:
    """Raw and baseline-adjusted energy; None where no energy was tracked."""
    if window.energy is None:
        return None
    breakdown = create_energy_breakdown(
        window.energy.total_j,
        baseline,
        window.energy.duration_sec,
        now=lambda: instruments.now().timestamp(),
    )
    if breakdown.adjusted_j is not None and breakdown.adjusted_j < 0:
        warnings.append(
            "negative_adjusted_energy: the idle baseline took more power than the measurement; "
            "the machine was busy then, so let it rest and run again"
        )
    return breakdown
