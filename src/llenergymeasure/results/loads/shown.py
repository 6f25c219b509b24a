"""A curve over load as people read it, in 80 columns: its points, and what follows from them."""

import itertools
from collections.abc import Sequence

from llenergymeasure.domain.in_figures import NONE, number
from llenergymeasure.domain.phases import Estimate
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.loads.curve import Knee, LoadCurve, curve_of
from llenergymeasure.results.loads.points import FIGURES, LoadPoint, series_of
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import flat_settings
from llenergymeasure.results.showing import tables
from llenergymeasure.results.showing.lines import WIDTH, Remark, filled
from llenergymeasure.results.showing.tables import Side, width_of
from llenergymeasure.results.study.rows import SlotRow

_HEADERS = {"power_w": "W", **{name: METRICS[name].label for name in FIGURES if name != "power_w"}}
# What a table that is too wide goes without, the first of them first.
_LEFT_OUT = ("tokens_per_second", "ttft_p50_s", "in_flight_mean", "e2e_p50_s")


def curves_of(plan: StudyPlan, rows: Sequence[SlotRow]) -> list[LoadCurve]:
    """The curves of a study that varies the load; none of another one."""
    return [curve_of(series) for series in series_of(plan, rows)]


def text(curves: Sequence[LoadCurve]) -> str:
    """[n] curves beneath each other; nothing where there are none."""
    return "\n\n".join(_curve(curve, told) for curve, told in zip(curves, told_of(curves), strict=True))


def told_of(curves: Sequence[LoadCurve]) -> list[str]:
    """What tells each of [n] curves from the others, in words; empty where there is one."""
    settings = [flat_settings(curve.series.settings) for curve in curves]
    names = [
        name
        for name in dict.fromkeys(itertools.chain.from_iterable(settings))
        if len({repr(of.get(name)) for of in settings}) > 1
    ]
    return [", ".join(f"{name} {setting_text(of.get(name)) or NONE}" for name in names) for of in settings]


def _curve(curve: LoadCurve, told: str) -> str:
    points = curve.series.points
    title = f"over {curve.series.axis}{f' ({told})' if told else ''}"
    figures = [name for name in FIGURES if any(point.mean(name) for point in points)]
    table = _table(curve, figures)
    for name in _LEFT_OUT:
        if width_of(table) <= WIDTH:
            break
        figures = [figure for figure in figures if figure != name]
        table = _table(curve, figures)
    return "\n".join([title, table, *(filled(remark) for remark in remarks_of(curve))])


def _table(curve: LoadCurve, figures: Sequence[str]) -> str:
    points = curve.series.points
    with_slo = any(point.slo_met is not None for point in points)
    headers = [curve.series.axis.partition(".")[2], "came", *(_HEADERS[name] for name in figures)]
    headers += ["SLO"] if with_slo else []
    sides: list[Side] = ["right"] * (2 + len(figures))
    if with_slo:
        sides.append("left")
    notes = [_note(point) for point in points]
    if any(notes):
        headers, sides = [*headers, "notes"], [*sides, "left"]
    cells = [
        [
            f"{point.asked:g}",
            number(sum(run.arrived_per_second for run in point.runs) / len(point.runs)),
            *(number(None if (mean := point.mean(name)) is None else mean.value) for name in figures),
            *([{True: "met", False: "NOT met", None: NONE}[point.slo_met]] if with_slo else []),
            *([note] if any(notes) else []),
        ]
        for point, note in zip(points, notes, strict=True)
    ]
    return tables.plain(headers, cells, sides)


def _note(point: LoadPoint) -> str:
    if point.is_steady:
        return ""
    n = len(point.runs)
    return "OVER" if point.n_overloaded == n else f"OVER in {point.n_overloaded} of {n}"


def remarks_of(curve: LoadCurve) -> list[Remark]:
    """What follows from the points of a curve, in words."""
    points = curve.series.points
    said = []
    if any(not point.is_steady for point in points):
        said.append(Remark("OVER", "overloaded, more came than was served; it is in nothing below"))
    if any(point.slo_met is not None for point in points):
        said.append(Remark("highest load within the SLO", _highest(curve)))
    said.append(Remark("knee of latency", f"{_knee(curve.latency_knee)}: beyond it E2E rises faster than the load"))
    said.append(Remark("knee of energy", f"{_knee(curve.energy_knee)}: beyond it J/out tok falls little"))
    if curve.marginal_j is None:
        said.append(Remark("one more request/s", f"not known: {curve.why_no_marginal}"))
    else:
        extra = "; UNRESOLVED: it may be nothing" if curve.marginal_j.unresolved else ""
        said.append(Remark("one more request/s", f"{_estimate(curve.marginal_j)} W, by a line through all runs{extra}"))
    idle = [] if curve.idle_power_w is None else [f"{number(curve.idle_power_w)} W with the model loaded, measured"]
    if curve.at_no_load_w is not None:
        idle.append(f"{_estimate(curve.at_no_load_w)} W where that line meets no load")
    said += [Remark("idle", "; ".join(idle))] if idle else []
    return said


def _highest(curve: LoadCurve) -> str:
    points = curve.series.points
    if curve.highest_kept is None:
        return "none: the least load broke it, or it is not known"
    if curve.highest_kept == points[-1].asked:
        return f"{curve.highest_kept:g}, the highest that was tried"
    beyond = next(point for point in points if point.asked > curve.highest_kept)
    return f"{curve.highest_kept:g}; {beyond.asked:g} was beyond it"


def _knee(found: Knee) -> str:
    return f"none ({found.why_none})" if found.asked is None else f"{found.asked:g}"


def _estimate(found: Estimate) -> str:
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"
