"""A comparison as other programs read it."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure.results.comparing.comparison import Against, Comparison, Row, Value
from llenergymeasure.results.comparing.limits import Outcome
from llenergymeasure.results.statistics import CONFIDENCE


def as_written(found: Comparison, outcomes: Sequence[Outcome] = ()) -> dict[str, Any]:
    """A comparison as JSON has it; ratios are to the first group, and what there is none of is null with a reason."""
    return {
        "confidence": CONFIDENCE,
        "margin": found.margin,
        "groups": [
            {
                "label": group.label,
                "measurement_config_hash": group.results[0].measurement_config_hash,
                "runs": list(group.runs),
            }
            for group in found.groups
        ],
        "metrics": [_row(row, found) for row in found.rows],
        "differences": [
            {"kind": fact.kind, "name": fact.name, "values": [list(of) for of in fact.values]}
            for fact in found.differences
        ],
        "cautions": list(found.cautions),
        "limits": [
            {
                "limit": outcome.limit.written,
                "group": outcome.label,
                "state": outcome.state,
                "said": outcome.line,
                "not_citable": outcome.not_citable,
            }
            for outcome in outcomes
        ],
    }


def _row(row: Row, found: Comparison) -> dict[str, Any]:
    return {
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "values": [_value(value) for value in row.values],
        "against_first": [
            _against(against, group.label) for against, group in zip(row.against, found.groups[1:], strict=True)
        ],
    }


def _value(value: Value) -> dict[str, Any]:
    of = value.summary
    return {
        "n": 0 if of is None else of.n,
        "n_without": value.n_without,
        "value": None if of is None else of.value,
        "low": None if of is None else of.low,
        "high": None if of is None else of.high,
        "cv": None if of is None else of.cv,
        "reason": value.why_none if of is None else of.why_no_interval,
        "sensor_accuracy_pct": value.accuracy_pct,
        "bound_pct": value.bound_pct,
        "outliers": list(value.outliers),
    }


def _against(against: Against, label: str) -> dict[str, Any]:
    ratio, said = against.ratio, against.judgement
    return {
        "group": label,
        "ratio": None if ratio is None else ratio.value,
        "low": None if ratio is None else ratio.low,
        "high": None if ratio is None else ratio.high,
        "method": None if ratio is None else ratio.method,
        "n": None if ratio is None else list(ratio.n),
        "p_holm": said.p,
        "verdict": said.verdict,
        "reason": said.reason,
        "n_needed": said.n_needed,
        "refused": against.refused,
        "notes": list(against.notes),
    }
