"""Curves over load, as a page shows them: energy and latency of each point, with what was promised drawn in."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure.results.loads.curve import LoadCurve
from llenergymeasure.results.loads.points import LoadPoint
from llenergymeasure.results.loads.shown import curves_of, remarks_of, told_of
from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.study.rows import SlotRow

_ENERGY = {"energy_per_output_token_j": "J per output token", "joules_per_good_token": "J per good token"}
_LATENCY = {"ttft_p95_s": "TTFT p95", "tpot_p95_s": "TPOT p95", "e2e_p95_s": "E2E p95"}
_UNITS = {
    "load.rate": "requests per second",
    "load.concurrency": "requests at a time",
    "load.trace_speed": "times as fast",
}


def loads_of(found: Gathered) -> list[dict[str, Any]]:
    """The curves of what was gathered, points from the least load to the most; none where no load varies."""
    rows: Sequence[SlotRow] = [run for _, run in found.runs]
    curves = curves_of(found.plan, rows)
    return [_curve(curve, told) for curve, told in zip(curves, told_of(curves), strict=True)]


def _curve(curve: LoadCurve, told: str) -> dict[str, Any]:
    points = curve.series.points
    promised = curve.series.settings.get("slo") or {}
    return {
        "axis": curve.series.axis,
        "unit": _UNITS[curve.series.axis],
        "told": told,
        "points": [_point(point) for point in points],
        "energy": _lines(points, _ENERGY),
        "latency": [{**line, "promised": promised.get(line["name"])} for line in _lines(points, _LATENCY)],
        "highest_kept": curve.highest_kept,
        "knees": {"latency": curve.latency_knee.asked, "energy": curve.energy_knee.asked},
        "remarks": [f"{remark.label}: {remark.text}" for remark in remarks_of(curve)],
    }


def _point(point: LoadPoint) -> dict[str, Any]:
    return {
        "asked": point.asked,
        "came": sum(run.arrived_per_second for run in point.runs) / len(point.runs),
        "n": len(point.runs),
        "overloaded": not point.is_steady,
        "slo_met": point.slo_met,
    }


def _lines(points: Sequence[LoadPoint], names: dict[str, str]) -> list[dict[str, Any]]:
    """Figures over the points, null where a point has none; one that no point has is left out."""
    lines = []
    for name, label in names.items():
        means = [point.mean(name) for point in points]
        if any(mean is not None for mean in means):
            lines.append(
                {
                    "name": name,
                    "label": label,
                    "values": [None if mean is None else mean.value for mean in means],
                    "low": [None if mean is None else mean.low for mean in means],
                    "high": [None if mean is None else mean.high for mean in means],
                }
            )
    return lines
