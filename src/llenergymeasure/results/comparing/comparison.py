"""Groups of repeated runs against the first of them, metric by metric."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ComparisonRefusedError, config_error
from llenergymeasure.results.cards.far_off import outliers_on_cards
from llenergymeasure.results.cards.strata import ConfoundedError, within_cards
from llenergymeasure.results.cards.where import strata
from llenergymeasure.results.comparing.alike import unlike
from llenergymeasure.results.comparing.cautions import cautions
from llenergymeasure.results.comparing.facts import (
    Fact,
    devices_in,
    differing,
    objections,
    of_several_kinds,
    overloaded_at_times,
    where_of,
)
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.metrics import METRICS, Metric
from llenergymeasure.results.ratios import MARGIN, NO_SAMPLE, Judgement, Ratio, exact, judged, paired, unpaired
from llenergymeasure.results.statistics import Summary, summary

BlockOf = Callable[[ExperimentResult], Hashable | None]

_LEAST_GROUPS = 2
_OF_CARDS = "the same configuration on different cards: the ratio is of these cards, with all else that differs"
_EXACT = "repeats give the same figure, so that the verdict is by the ratio alone; of another text it says nothing"


@dataclass(frozen=True, kw_only=True)
class Value:
    """A metric of a group: its ``summary``, or why there is none, such as runs that did not work it out alike.

    ``n_without`` runs have no such figure. ``accuracy_pct`` and ``bound_pct`` are the largest of its runs: what the
    sensor is off by and what readings leave open, which no repeating takes away and which is in no interval.
    ``outliers`` are the runs too far from the others; they are in all figures.
    """

    summary: Summary | None
    why_none: str | None = None
    n_without: int = 0
    accuracy_pct: float | None = None
    bound_pct: float | None = None
    outliers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Against:
    """A group against the first one: ``ratio`` is its value over the first one's, None where there is none.

    ``refused`` is the reason where the two count the metric by different rules, or work it out by different
    definitions.
    """

    ratio: Ratio | None
    judgement: Judgement
    refused: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A metric: its [groups] values, and [groups - 1] of them against the first."""

    metric: Metric
    values: tuple[Value, ...]
    against: tuple[Against, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Groups against the first of them.

    ``differences`` are what else differs. ``cautions`` are what a reader of the ratios has to know, refusals that were
    overruled first.
    """

    groups: tuple[Group, ...]
    margin: float
    rows: tuple[Row, ...]
    differences: tuple[Fact, ...]
    cautions: tuple[str, ...]

    def row(self, name: str) -> Row | None:
        """The row of a metric; None where no group has it."""
        return next((row for row in self.rows if row.metric.name == name), None)


def compare(
    groups: Sequence[Group], *, margin: float = MARGIN, block_of: BlockOf | None = None, anyway: bool = False
) -> Comparison:
    """Compare each group with the first, for every metric that one of them has.

    Of three and more groups the verdicts of a metric are one family, held to Holm's procedure; metrics are none.

    Args:
        groups: two or more.
        margin: what is too little to matter, a fraction.
        block_of: the block that a run was in; runs of one block are then compared with each other alone. None is
            that of its study, where all runs of both groups are of blocks of the same one, and on the same card.
        anyway: compare what is refused otherwise, and say so in ``cautions``, or in ``notes`` of a metric.

    Raises:
        ConfigError: fewer than two groups, a margin that is none, or a block with two runs of one group.
        ComparisonRefusedError: sensors, scopes or windows are of different kinds.
    """
    if len(groups) < _LEAST_GROUPS:
        raise config_error(f"a comparison takes two groups of results, and there is {len(groups)}")
    if not 0 < margin < 1:
        raise config_error(f"margin {margin:g}: this is no fraction between 0 and 1; 0.01 is one percent")
    refused = objections(groups)
    if refused and not anyway:
        raise ComparisonRefusedError("; ".join([*refused, "give --anyway (anyway=True) to compare them all the same"]))
    pairs = [_paired_runs(groups[0], group, block_of) for group in groups[1:]]
    rows = [_row(metric, groups, pairs, margin, anyway) for metric in METRICS.values()]
    there = tuple(row for row in rows if row is not None)
    return Comparison(
        groups=tuple(groups),
        margin=margin,
        rows=there,
        differences=differing(groups),
        cautions=(*(f"compared all the same: {why}" for why in refused), *cautions(groups, _different(there, groups))),
    )


def _different(rows: Sequence[Row], groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """By metric, the ratios of those groups that are called different, by their labels."""
    return {
        row.metric.name: {
            group.label: of.ratio.value
            for of, group in zip(row.against, groups[1:], strict=True)
            if of.ratio is not None and of.judgement.verdict == "different"
        }
        for row in rows
    }


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A metric of a group: [runs] figures and what they come to, and in what way they are not the same thing."""

    group: Group
    figures: tuple[float | None, ...]
    value: Value
    unlike: str | None


_Pairs = list[tuple[int, int]]


def _of_its_study(result: ExperimentResult) -> Hashable | None:
    return None if result.run_key is None else result.run_key.pair


def _ran_in_the_same_blocks(first: Group, other: Group) -> bool:
    """Whether every run is of a block of one study, and no block has two of a group."""
    ours, theirs = ([_of_its_study(result) for result in group.results] for group in (first, other))
    studies = {result.run_key.study_id for group in (first, other) for result in group.results if result.run_key}
    is_whole = None not in ours and None not in theirs and len(studies) == 1
    return is_whole and len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs)


def _paired_runs(first: Group, other: Group, block_of: BlockOf | None) -> _Pairs | None:
    """Places of the runs that are compared with each other; None where they are in no pairs."""
    if block_of is not None:
        return _pairs(first, other, block_of)
    if not _ran_in_the_same_blocks(first, other):
        return None
    # A block that another worker of its study went on with is on two cards.
    return [
        (ours, theirs)
        for ours, theirs in _pairs(first, other, _of_its_study)
        if not where_of(first.results[ours]).is_apart_from(where_of(other.results[theirs]))
    ]


def _pairs(first: Group, other: Group, block_of: BlockOf) -> _Pairs:
    """Places of the runs of each block that both have."""
    ours, theirs = _blocks(first, block_of), _blocks(other, block_of)
    return [(ours[block], theirs[block]) for block in ours if block in theirs]


def _blocks(group: Group, block_of: BlockOf) -> dict[Hashable, int]:
    """{block: place of its run}; runs of no block are left out."""
    found: dict[Hashable, int] = {}
    for place, result in enumerate(group.results):
        block = block_of(result)
        if block is None:
            continue
        if block in found:
            raise config_error(
                f"{group.label}: two of its runs are of block {block}; a block has one of each configuration"
            )
        found[block] = place
    return found


def _row(
    metric: Metric, groups: Sequence[Group], pairs: Sequence[_Pairs | None], margin: float, anyway: bool
) -> Row | None:
    """A metric of all groups; None where none has it."""
    first, *others = (_side(metric, group, anyway) for group in groups)
    if all(figure is None for side in (first, *others) for figure in side.figures):
        return None
    refusals = [_refusal(metric, first, other) for other in others]
    ratios = [
        refusal if refusal is not None and not anyway else _ratio(metric, first, other, of, anyway)
        for refusal, other, of in zip(refusals, others, pairs, strict=True)
    ]
    judgements = iter(judged([ratio for ratio in ratios if isinstance(ratio, Ratio)], margin))
    against = [
        Against(ratio=None, judgement=Judgement(verdict="inconclusive", reason=ratio), refused=refusal)
        if isinstance(ratio, str)
        else Against(
            ratio=ratio,
            judgement=next(judgements),
            refused=refusal,
            notes=(*_overruled(refusal), *([_EXACT] if metric.exact else []), *_notes(first, other, ratio)),
        )
        for refusal, ratio, other in zip(refusals, ratios, others, strict=True)
    ]
    return Row(metric=metric, values=tuple(side.value for side in (first, *others)), against=tuple(against))


def _overruled(refusal: str | None) -> tuple[str, ...]:
    return () if refusal is None else (f"compared all the same: {refusal}",)


def _side(metric: Metric, group: Group, anyway: bool) -> _Side:
    figures = tuple(metric.read(result) for result in group.results)
    kinds = None if metric.exact else of_several_kinds(group.results)
    why = overloaded_at_times(group.results) or kinds or unlike(metric, group.results)
    if why is None or anyway:
        return _Side(group=group, figures=figures, value=_value(metric, group, figures), unlike=why)
    n_without = sum(figure is None for figure in figures)
    value = Value(summary=None, why_none=f"of its own runs, {why}", n_without=n_without)
    return _Side(group=group, figures=figures, value=value, unlike=why)


def _value(metric: Metric, group: Group, figures: Sequence[float | None]) -> Value:
    named = zip(group.runs, group.results, figures, strict=True)
    known = [(run, where_of(result), figure) for run, result, figure in named if figure is not None]
    n_without = len(figures) - len(known)
    if not known:
        return Value(summary=None, why_none="no run has it", n_without=n_without)
    values, places = [figure for *_, figure in known], [where for _, where, _ in known]
    try:
        found, apart = summary(values), () if metric.exact else outliers_on_cards(values, places)
    except ValueError as error:
        return Value(summary=None, why_none=str(error), n_without=n_without)
    if metric.exact:
        found = replace(found, low=None, high=None, why_no_interval=NO_SAMPLE)
    return Value(
        summary=found,
        n_without=n_without,
        accuracy_pct=_largest(metric.accuracy_pct, group),
        bound_pct=_largest(metric.bound_pct, group),
        outliers=tuple(known[place][0] for place in apart),
    )


def _largest(read: Callable[[ExperimentResult], float | None], group: Group) -> float | None:
    """The largest of the runs of a group; None where one has none, for then it is not known."""
    found = [read(result) for result in group.results]
    known = [each for each in found if each is not None]
    return max(known) if known and len(known) == len(found) else None


def _refusal(metric: Metric, first: _Side, other: _Side) -> str | None:
    """Why a metric of two groups, or of one of them alone, is not the same thing."""
    within = [f"{side.group.label}: of its own runs, {side.unlike}" for side in (first, other) if side.unlike]
    return "; ".join(within) or unlike(metric, (*first.group.results, *other.group.results))


def _ratio(metric: Metric, first: _Side, other: _Side, pairs: _Pairs | None, anyway: bool) -> Ratio | str:
    """The other's value over the first one's, or why there is none."""
    for side in (first, other):
        if side.value.summary is None:
            return f"{side.group.label}: {side.value.why_none}"
    try:
        if metric.exact:
            found: Ratio | str = exact(_known(other), _known(first))
        elif pairs is None:
            found = _unpaired(first, other, anyway)
        else:
            found = _paired(first, other, pairs)
    except ValueError as error:
        return str(error)
    in_both = {r.experiment_id for r in first.group.results} & {r.experiment_id for r in other.group.results}
    if not isinstance(found, Ratio) or not in_both:
        return found
    # What is compared with itself scatters by nothing, and that says nothing.
    why = "a run is in both" if len(in_both) == 1 else f"{len(in_both)} runs are in both"
    return Ratio(value=found.value, method=found.method, n=found.n, why_no_interval=why)


def _known(side: _Side) -> list[float]:
    return [figure for figure in side.figures if figure is not None]


def _unpaired(first: _Side, other: _Side, anyway: bool) -> Ratio:
    """Within cards; of one configuration that was on several, cards are what is compared, if on none with the other."""
    sides = (other, first)
    runs = [
        (where_of(result), figure)
        for side in sides
        for result, figure in zip(side.group.results, side.figures, strict=True)
        if figure is not None
    ]
    of_card = strata([where for where, _ in runs])
    placed = [(card, figure) for card, (_, figure) in zip(of_card, runs, strict=True)]
    n = len(_known(other))
    try:
        return within_cards(placed[:n], placed[n:])
    except ConfoundedError as why:
        found = unpaired([figure for _, figure in placed[:n]], [figure for _, figure in placed[n:]])
        hashes = {side.group.results[0].measurement_config_hash for side in sides}
        if anyway:
            return replace(found, notes=(f"compared all the same: {why}",))
        if len(hashes) == 1:
            return replace(found, notes=(_OF_CARDS,))
        return Ratio(value=found.value, method=found.method, n=found.n, why_no_interval=str(why))


def _paired(first: _Side, other: _Side, pairs: _Pairs) -> Ratio | str:
    figures = [(first.figures[a], other.figures[b]) for a, b in pairs]
    known = [(ours, theirs) for ours, theirs in figures if ours is not None and theirs is not None]
    if not known:
        several = len(devices_in(first.group) | devices_in(other.group)) > 1
        return "no block has a run of both" + (" on the same card" if several else "")
    return paired([theirs for _, theirs in known], [ours for ours, _ in known])


def _notes(first: _Side, other: _Side, ratio: Ratio) -> tuple[str, ...]:
    """What stands beside a ratio: what repeats do not take away, and which runs are not in it."""
    apart_pct = 100 * math.expm1(abs(math.log(ratio.value)))
    ours, theirs = first.value, other.value
    notes = []
    if ours.bound_pct is not None and theirs.bound_pct is not None and apart_pct < ours.bound_pct + theirs.bound_pct:
        notes.append(
            f"the difference is within what the readings of each run leave open "
            f"({ours.bound_pct:.2g} % and {theirs.bound_pct:.2g} %)"
        )
    accuracies_pct = (ours.accuracy_pct, theirs.accuracy_pct)
    if all(pct is not None for pct in accuracies_pct) and devices_in(first.group) != devices_in(other.group):
        off_pct = sum(pct or 0.0 for pct in accuracies_pct)
        if apart_pct < off_pct:
            notes.append(
                f"the difference is within what the sensors of different devices may be off by ({off_pct:g} %)"
            )
    if ratio.method == "paired":
        for side in (first, other):
            left = sum(figure is not None for figure in side.figures) - ratio.n[0]
            if left:
                notes.append(f"{left} of {side.group.label} without a partner in their block are not in the ratio")
    return (*notes, *ratio.notes)
