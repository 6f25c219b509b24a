"""Studies over loads, of runs with chosen figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.results.loads.points import LoadSeries, series_of
from llenergymeasure.results.study.rows import SlotRow, row_of_result
from tests.fakes.studies import plan_of, result_of

Values = Mapping[str, Any]


def at_rates(*rates: float, **fields: Any) -> list[ExperimentConfig]:
    """A configuration for each rate."""
    return [
        ExperimentConfig.model_validate({"model": "a/model", "load": {"rate": rate, "duration_s": 60}, **fields})
        for rate in rates
    ]


def rows_of(plan: StudyPlan, runs: Sequence[Sequence[Values]]) -> list[SlotRow]:
    """The rows of a study: of each configuration what its repeats have, a window of ten seconds if nothing else."""
    found = []
    for slot in plan.slots:
        values = runs[slot.configuration][slot.repeat]
        row = row_of_result(result_of(plan, slot), plan, slot)
        usual: dict[str, Any] = {"load_kind": "rate", "duration_sec": 10.0, "overloaded": "no", "slo_met": "yes"}
        found.append(replace(row, values={**row.values, **usual, **values}))
    return found


def series(rates: Sequence[float], runs: Sequence[Sequence[Values]]) -> LoadSeries:
    """The only curve of a study over rates."""
    plan = plan_of(at_rates(*rates), len(runs[0]))
    (found,) = series_of(plan, rows_of(plan, runs))
    return found


def run(arrived: float, power_w: float, **more: Any) -> dict[str, Any]:
    """A run at a mean power."""
    return {"arrived_requests_per_second": arrived, "total_energy_j": 10.0 * power_w, **more}
