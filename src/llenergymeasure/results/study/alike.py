"""Whether figures of runs are the same thing, so that they have a mean or a ratio."""

from collections.abc import Iterable, Mapping, Sequence

from llenergymeasure.results.study.circumstances import OF_JOULES, PLACES
from llenergymeasure.results.study.rows import SlotRow

_Kinds = dict[str, frozenset[str]]
# A digest is told by so many characters.
_TOLD = 12


def value_in(row: SlotRow, metric: str) -> float | None:
    """A metric of a run; None where it has none."""
    value = row.values.get(metric)
    return float(value) if isinstance(value, (int, float)) else None


def kinds_in(metric: str, runs: Sequence[SlotRow]) -> _Kinds:
    """What a metric is in those runs of a side that have it: in words, by what would make it another thing.

    What two configurations may differ in, and the runs of one may not, is in it only where these runs do.
    """
    known = [run for run in runs if value_in(run, metric) is not None]
    own = _collected(map(_own_kinds, known))
    return _collected(_kinds(metric, run) for run in known) | {what: of for what, of in own.items() if len(of) > 1}


def kinds_of(metric: str, run: SlotRow) -> _Kinds:
    """All by which a metric of a run would have no mean with that of another run of its configuration."""
    machine = {"they were on different machines": machine_of(run) or "unknown"}
    return _collected([{**_kinds(metric, run), **_own_kinds(run), **machine}])


def machine_of(run: SlotRow) -> str | None:
    """What kind of machine a run was on: figures of two kinds have no mean."""
    found, cards = run.values["gpus"] or run.values["cpu_model"], run.circumstances.cards
    if found is None:
        return cards or None
    # Each GPU of a machine may be of another kind, and a run on one of them is not like a run on its neighbour.
    return f"{cards} of {found}" if cards else str(found)


def _collected(several: Iterable[Mapping[str, str]]) -> _Kinds:
    found: dict[str, set[str]] = {}
    for kinds in several:
        for what, kind in kinds.items():
            found.setdefault(what, set()).add(kind)
    return {what: frozenset(kinds) for what, kinds in found.items()}


def _own_kinds(run: SlotRow) -> Mapping[str, str]:
    """What is the same in all runs of one configuration, unless something was changed between them."""
    behind = run.circumstances
    kinds = {
        "their prompts are different": behind.prompts[:_TOLD],
        "their weights are different": _told(behind.weights) or "not known",
        "their engines are different": behind.engine,
    }
    # A queue that grows has no steady state, so it has no mean with one that does not.
    if str(run.values["warnings"] or "").split("; ").count("overloaded"):
        kinds["of some more came than was served"] = "overloaded"
    elif run.values.get("load_kind") is not None:
        kinds["of some more came than was served"] = "steady"
    if behind.inputs:
        kinds["they read different tokens"] = behind.inputs[:_TOLD]
    return kinds


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


def _told(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:_TOLD]}" for name, digest in sorted(digests.items()))


def unlike(several: Iterable[_Kinds]) -> str | None:
    """Why a metric is not the same thing in all of these; None where it is."""
    all_of: dict[str, set[str]] = {}
    for kinds in several:
        for what, of in kinds.items():
            all_of.setdefault(what, set()).update(of)
    reasons = [f"{what}: {' / '.join(sorted(of))}" for what, of in all_of.items() if len(of) > 1]
    return "; ".join(reasons) or None
