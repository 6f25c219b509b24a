"""Configurations of a study against one of them."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from llenergymeasure.domain.study.summary import RatioSummary
from llenergymeasure.results.cards.strata import within_cards
from llenergymeasure.results.cards.where import strata
from llenergymeasure.results.ratios import Judgement, Ratio, judged, paired
from llenergymeasure.results.study.alike import kinds_in, unlike, value_in
from llenergymeasure.results.study.compact import Named
from llenergymeasure.results.study.rows import SlotRow

# What is compared; each is a family of its own, as in ``llem compare``.
COMPARED = ("energy_per_output_token_j", "tokens_per_second", "ttft_p50_s")
_PLACES = {metric: place for place, metric in enumerate(COMPARED)}
NO_PAIR = "no block has a run of both"
NO_PAIR_ON_A_CARD = f"{NO_PAIR} on the same card"
# The slot of each run and the digest of what it left, one after the other: a tuple for each would be as large again.
WhichRuns = tuple[object, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """The runs of a configuration on one kind of machine.

    ``which`` says which runs these are: two sides of which it is equal have the same figures.
    """

    configuration: int
    machine: str | None
    runs: tuple[SlotRow, ...]
    which: WhichRuns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", tuple(part for run in self.runs for part in (run.slot, run.done)))


class _Known(NamedTuple):
    reference: WhichRuns
    other: WhichRuns
    ratios: tuple[Ratio | str, ...]


class Comparing:
    """Compares again and again while runs come in; ratios of runs that it has seen are not worked out once more."""

    def __init__(self, *, in_blocks: bool) -> None:
        """Begin with nothing seen.

        Args:
            in_blocks: whether runs of one block are pairs; else they are compared within cards, by Welch's t on one.
        """
        self._in_blocks = in_blocks
        self._known: dict[tuple[int, str | None], _Known] = {}
        # What thousands of ratios have alike is there once.
        self._n: dict[tuple[int, int], tuple[int, int]] = {}

    def against(self, references: Sequence[Side], others: Sequence[Side]) -> list[Mapping[str, RatioSummary]]:
        """Metrics of [n] rows over those of the reference on the same machine.

        All rows of a metric are one family, which is held to Holm's procedure.

        Args:
            references: the rows of the reference, one for each kind of machine that it was run on.
            others: the rows that are compared.
        """
        of_machine = {side.machine: side for side in references}
        ratios = [self._ratios(of_machine.get(side.machine), side) for side in others]
        columns = [
            self._column(metric, of_machine, others, [of[place] for of in ratios])
            for place, metric in enumerate(COMPARED)
        ]
        return [Named(_PLACES, of) for of in zip(*columns, strict=True)]

    def _column(
        self, metric: str, of_machine: Mapping[str | None, Side], others: Sequence[Side], ratios: Sequence[Ratio | str]
    ) -> list[RatioSummary]:
        judgements = iter(judged([ratio for ratio in ratios if isinstance(ratio, Ratio)], plans=False))
        return [
            RatioSummary(reason=ratio)
            if isinstance(ratio, str)
            else _summed_up(ratio, next(judgements), _notes(metric, of_machine[side.machine], side, ratio))
            for ratio, side in zip(ratios, others, strict=True)
        ]

    def _ratios(self, reference: Side | None, other: Side) -> tuple[Ratio | str, ...]:
        """The other's runs over the reference's, or why there is no such ratio, metric by metric."""
        if reference is None:
            return ("the reference has no run on this machine",) * len(COMPARED)
        key = (other.configuration, other.machine)
        known = self._known.get(key)
        if known is None or (known.reference, known.other) != (reference.which, other.which):
            found = (_ratio(metric, reference, other, in_blocks=self._in_blocks) for metric in COMPARED)
            known = _Known(reference.which, other.which, tuple(map(self._in_short, found)))
            self._known[key] = known
        return known.ratios

    def _in_short(self, ratio: Ratio | str) -> Ratio | str:
        if isinstance(ratio, str):
            return sys.intern(ratio)
        why = ratio.why_no_interval
        n = self._n.setdefault(ratio.n, ratio.n)
        return replace(ratio, n=n, why_no_interval=None if why is None else sys.intern(why))


def _summed_up(ratio: Ratio, said: Judgement, notes: tuple[str, ...]) -> RatioSummary:
    return RatioSummary(
        value=ratio.value,
        low=ratio.low,
        high=ratio.high,
        method=ratio.method,
        n=ratio.n,
        p=said.p,
        verdict=said.verdict,
        reason=said.reason,
        notes=notes,
    )


def _ratio(metric: str, reference: Side, other: Side, *, in_blocks: bool) -> Ratio | str:
    why = unlike([kinds_in(metric, side.runs) for side in (reference, other)])
    if why is not None:
        return why
    try:
        if in_blocks:
            return _paired(metric, reference, other)
        return _within_cards(metric, reference, other)
    except ValueError as error:
        return str(error)


def _paired(metric: str, reference: Side, other: Side) -> Ratio | str:
    """Over the runs of each block; not of one whose runs were on different cards, where another worker went on."""
    of_block = {run.block: run for run in reference.runs}
    blocks = [(theirs, of_block[theirs.block]) for theirs in other.runs if theirs.block in of_block]
    pairs = [
        (value_in(theirs, metric), value_in(ours, metric))
        for theirs, ours in blocks
        if not theirs.circumstances.where.is_apart_from(ours.circumstances.where)
    ]
    known = [(theirs, ours) for theirs, ours in pairs if theirs is not None and ours is not None]
    if not known:
        return NO_PAIR_ON_A_CARD if len(pairs) < len(blocks) else NO_PAIR
    return paired([theirs for theirs, _ in known], [ours for _, ours in known])


def _within_cards(metric: str, reference: Side, other: Side) -> Ratio | str:
    """Over the runs of each card, which are in no pairs; not where no card has runs of both."""
    ours, theirs = ([run for run in side.runs if value_in(run, metric) is not None] for side in (reference, other))
    if not ours or not theirs:
        return "no run of both has it"
    runs = [*theirs, *ours]
    cards = strata([run.circumstances.where for run in runs])
    known = [(card, value_in(run, metric) or 0.0) for card, run in zip(cards, runs, strict=True)]
    return within_cards(known[: len(theirs)], known[len(theirs) :])


def _values(metric: str, side: Side) -> list[float]:
    return [value for run in side.runs if (value := value_in(run, metric)) is not None]


def _notes(metric: str, reference: Side, other: Side, ratio: Ratio) -> tuple[str, ...]:
    """What repeats do not take away of the difference, and which runs are not in it."""
    notes = []
    bounds_pct = [largest_bound_pct(metric, side.runs) for side in (reference, other)]
    apart_pct = 100 * math.expm1(abs(math.log(ratio.value)))
    if all(bound is not None for bound in bounds_pct) and apart_pct < sum(bound or 0.0 for bound in bounds_pct):
        notes.append("the difference is within what the readings of each run leave open")
    if ratio.method == "paired":
        left = sum(len(_values(metric, side)) - n for side, n in zip((reference, other), ratio.n, strict=True))
        if left:
            notes.append(f"runs without a partner in their block, which are not in the ratio: {left}")
    return (*notes, *ratio.notes)


def largest_bound_pct(metric: str, runs: Sequence[SlotRow]) -> float | None:
    """What the readings of a run leave open of a metric at most, in percent; None where it is not known of each."""
    bounds = [run.circumstances.bounds_pct.get(metric) for run in runs if value_in(run, metric) is not None]
    known = [bound for bound in bounds if bound is not None]
    return max(known) if known and len(known) == len(bounds) else None
