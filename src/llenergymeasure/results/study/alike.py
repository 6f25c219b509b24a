"""Whether figures of runs are the same thing, so that they have a mean or a ratio."""

from collections.abc import Iterable, Mapping, Sequence

from llenergymeasure.results.study.circumstances import OF_JOULES, PLACES
from llenergymeasure.results.study.rows import SlotRow

_Kinds = dict[str, frozenset[str]]


def value_in(row: SlotRow, metric: str) -> float | None:
    """A metric of a run; None where it has none."""
    value = row.values.get(metric)
    return float(value) if isinstance(value, (int, float)) else None


def kinds_in(metric: str, runs: Iterable[SlotRow]) -> _Kinds:
    """What a metric is in those of the runs that have it: in words, by what would make it another thing."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if value_in(run, metric) is not None:
            for what, kind in _kinds(metric, run).items():
                found.setdefault(what, set()).add(kind)
    return {what: frozenset(kinds) for what, kinds in found.items()}


def _kinds(metric: str, run: SlotRow) -> Mapping[str, str]:
    behind = run.circumstances
    kinds = {
        "their windows are different parts of a run": str(run.values["measurement_methodology"]),
        "it is counted in different ways": behind.counted_by.get(metric, "not known"),
        "it is worked out by different definitions": ", ".join(
            f"{place} {behind.definitions.get(place, 'not known')}" for place in PLACES[metric]
        ),
    }
    if metric in OF_JOULES:
        kinds["their energy was read by different sensors"] = ", ".join(behind.sensors) or "unknown"
        kinds["their energy covers different things"] = ", ".join(behind.scopes) or "unknown"
    return kinds


def unlike(several: Sequence[_Kinds]) -> str | None:
    """Why a metric is not the same thing in all of these; None where it is."""
    all_of: dict[str, set[str]] = {}
    for kinds in several:
        for what, of in kinds.items():
            all_of.setdefault(what, set()).update(of)
    reasons = [f"{what}: {' / '.join(sorted(of))}" for what, of in all_of.items() if len(of) > 1]
    return "; ".join(reasons) or None
