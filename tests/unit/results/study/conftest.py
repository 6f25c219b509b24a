"""Studies whose runs have chosen figures."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.config.execution import Order
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.results.study.rows import SlotRow, StudyRows, row_of_result
from llenergymeasure.results.study.summary import Summing
from tests.fakes.studies import plan_of, result_of

Summed = Callable[..., StudySummary]


def rows_with(
    configs: Sequence[ExperimentConfig], totals_j: Sequence[Sequence[float | None]], order: Order = "blocks",
    reference: int = 0, behind: Callable[[SlotRow], dict[str, Any]] | None = None, **fields: Any,
) -> StudySummary:  # fmt: skip
    """The summary of a study: of each configuration the energies of its runs, four output tokens in two seconds each.

    ``behind`` gives what else of a row is to be otherwise: ``values`` and ``circumstances`` to be put over its own.
    """
    plan = plan_of(configs, max(map(len, totals_j)), order)
    found = {}
    for slot in plan.slots:
        of = totals_j[slot.configuration]
        if slot.repeat < len(of):
            row = row_of_result(result_of(plan, slot, of[slot.repeat], **fields), plan, slot)
            other = {} if behind is None else behind(row)
            found[slot.slot] = replace(
                row,
                values={**row.values, **other.get("values", {})},
                circumstances=replace(row.circumstances, **other.get("circumstances", {})),
            )
    return Summing(plan, reference).of(StudyRows(rows=found))


@pytest.fixture
def summed() -> Summed:
    """Makes a summary of runs with these energies."""
    return rows_with
