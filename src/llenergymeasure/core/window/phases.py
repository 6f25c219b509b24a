"""Pairs of windows that tell prefill from decode, after the measured one and outside of it."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from llenergymeasure.config.measurement import PhasesConfig
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.window.work import Work
from llenergymeasure.domain.metrics import only_gpus, slowest_update_s
from llenergymeasure.domain.phases import PhasesResult, PhaseWindow, phases_of
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning

_log = logging.getLogger(__name__)


def measure_phases(
    plan: ExperimentPlan, work: Work, instruments: Instruments
) -> tuple[PhasesResult, list[MeasurementWarning]]:
    """Run the pairs, and what there is to say of them.

    Which window of a pair comes first takes turns, so that drift falls on both alike.

    Args:
        plan: what is run; its ``phases`` say how many pairs of how many units.
        work: what the measured window ran.
        instruments: the same as for that window.
    """
    settings = plan.config.phases
    full = work.only(work.units[: settings.n_batches])
    prefill = full.only([replace(request, max_output_tokens=1) for request in unit] for unit in full.units)
    _log.info("measuring %d pairs of windows for prefill and decode", settings.n_pairs)
    pairs = []
    instruments.progress.later(None if plan.config.quality is not None else 0.0)
    with instruments.progress.phase("prefill and decode", n=settings.n_pairs, unit="pairs") as shown:
        for number in range(settings.n_pairs):
            order = (prefill, full) if number % 2 == 0 else (full, prefill)
            first, second = (_window(plan, each, instruments) for each in order)
            pairs.append((first, second) if number % 2 == 0 else (second, first))
            shown.done()
    found = phases_of(pairs, len(full.requests))
    windows = [window for pair in pairs for window in pair]
    return found, [*_warnings(found, settings), *_of_the_windows(windows)]


def _window(plan: ExperimentPlan, work: Work, instruments: Instruments) -> PhaseWindow:
    """One window; sampling starts from the same seed in each, so that all produce the same tokens."""
    model = work.model
    model.seed(plan.config.random_seed)
    said_before = set(MeasurementWarning.all_of(model.warnings()))
    tracking = None if instruments.energy is None else Tracking(instruments.energy)
    with tracking or nullcontext():
        start_s = instruments.clock()
        output = work.run()
        end_s = instruments.clock()
    energy = None if tracking is None else only_gpus(tracking.measurement, plan.devices)
    return PhaseWindow(
        duration_sec=end_s - start_s,
        energy_j=None if energy is None else energy.total_j,
        uncertainty_j=None if energy is None else energy.uncertainty_j,
        n_input_tokens=output.input_tokens,
        n_output_tokens=output.output_tokens,
        update_period_s=None if energy is None else slowest_update_s(energy),
        warnings=(
            *(w for w in MeasurementWarning.all_of(model.warnings()) if w not in said_before),
            *(() if energy is None else energy.warnings),
        ),
    )


def _of_the_windows(windows: Sequence[PhaseWindow]) -> list[MeasurementWarning]:
    """What engine and sensors said of the windows, each once, and whether their bounds are in the intervals."""
    each = (replace(warning, where="in a window of phases") for window in windows for warning in window.warnings)
    said = list(dict.fromkeys(each))
    if any(window.energy_j is not None and window.uncertainty_j is None for window in windows):
        said.append(
            MeasurementWarning(
                "phases_without_bound", "the sensor states no bound, so the intervals hold the spread of the pairs only"
            )
        )
    return said


def _warnings(found: PhasesResult, settings: PhasesConfig) -> list[MeasurementWarning]:
    unresolved = [
        name for name, phase in (("prefill", found.prefill), ("decode", found.decode)) if phase.status == "unresolved"
    ]
    if not unresolved:
        return []
    return [
        MeasurementWarning(
            "phases_unresolved",
            f"after {settings.n_pairs} pairs the interval of {' and '.join(unresolved)} reaches down to zero, or the "
            "windows are shorter than what the sensor resolves",
            "raise n or max_output_tokens, or phases.n_pairs",
        )
    ]
