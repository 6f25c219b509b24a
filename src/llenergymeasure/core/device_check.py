"""Whether the sensors watch the GPUs that the model lies on, which the engine knows only after loading."""

from dataclasses import dataclass, replace

from llenergymeasure.core.baseline import BaselineCache
from llenergymeasure.core.instruments import Instruments, NoTelemetry
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError

_NO_PARTS = MeasurementWarning(
    "baseline_unavailable",
    "the idle power was measured of all visible GPUs together, and the model is on some of them",
    "set CUDA_VISIBLE_DEVICES to those",
)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Plan, instruments and idle baseline for the GPUs that are really used."""

    plan: ExperimentPlan
    instruments: Instruments
    baseline: BaselineCache | None
    warnings: tuple[MeasurementWarning, ...] = ()


def watch_the_model(
    plan: ExperimentPlan, model: ModelDescription, instruments: Instruments, baseline: BaselineCache | None
) -> Watched:
    """Narrow what is watched to the model's GPUs; where they are others, nothing is measured and the reason kept.

    Raises:
        ExperimentError: a baseline is required, and there is none of those GPUs.
    """
    used, watched = set(model.devices), set(plan.devices)
    if used == watched:
        return Watched(plan=plan, instruments=instruments, baseline=baseline)
    found = replace(plan, devices=model.devices)
    if used and used < watched:
        of_those = None if baseline is None else baseline.of(model.devices)
        if of_those is not None or not plan.config.baseline.required:
            lost = () if of_those is not None or baseline is None else (_NO_PARTS,)
            return Watched(plan=found, instruments=instruments, baseline=of_those, warnings=lost)
    seen = (
        f"the engine runs on {', '.join(model.devices) or 'the CPU'}, the sensors watch "
        f"{', '.join(plan.devices) or 'the CPU'}; set CUDA_VISIBLE_DEVICES to the GPUs by UUID"
    )
    if plan.config.baseline.required:
        raise ExperimentError(f"baseline.required is true, but the idle baseline is of other devices: {seen}")
    blind = replace(
        instruments,
        energy=None,
        beside=None,
        sampler=NoTelemetry(),
        energy_absent_reason=instruments.energy_absent_reason if instruments.energy is None else seen,
    )
    return Watched(plan=found, instruments=blind, baseline=None)
