"""Configurations of a study against one of them."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.domain.study.summary import RatioSummary
from llenergymeasure.results.ratios import Judgement, Ratio, judged, paired, unpaired
from llenergymeasure.results.study.alike import kinds_in, unlike, value_in
from llenergymeasure.results.study.rows import SlotRow

# What is compared; each is a family of its own, as in ``llem compare``.
COMPARED = ("energy_per_output_token_j", "tokens_per_second", "ttft_p50_s")


_Runs = tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True)
class Side:
    """The runs of a configuration on one kind of machine."""

    configuration: int
    machine: str | None
    runs: tuple[SlotRow, ...]

    @functools.cached_property
    def which(self) -> _Runs:
        """Which runs these are: two sides of which it is equal have the same figures."""
        return tuple((run.slot, run.done) for run in self.runs)


class Comparing:
    """Compares again and again while runs come in; ratios of runs that it has seen are not worked out once more."""

    def __init__(self, *, in_blocks: bool) -> None:
        """Begin with nothing seen.

        Args:
            in_blocks: whether runs of one block are pairs; else Welch's t is taken.
        """
        self._in_blocks = in_blocks
        self._known: dict[tuple[str, int, str | None], tuple[tuple[_Runs, _Runs], Ratio | str]] = {}

    def against(self, metric: str, references: Sequence[Side], others: Sequence[Side]) -> list[RatioSummary]:
        """A metric of [n] rows over that of the reference on the same machine, as one family held to Holm's procedure.

        Args:
            metric: its name.
            references: the rows of the reference, one for each kind of machine that it was run on.
            others: the rows that are compared.
        """
        of_machine = {side.machine: side for side in references}
        ratios = [self._ratio(metric, of_machine.get(side.machine), side) for side in others]
        judgements = iter(judged([ratio for ratio in ratios if isinstance(ratio, Ratio)], plans=False))
        return [
            RatioSummary(reason=ratio)
            if isinstance(ratio, str)
            else _summed_up(ratio, next(judgements), _notes(metric, of_machine[side.machine], side, ratio))
            for ratio, side in zip(ratios, others, strict=True)
        ]

    def _ratio(self, metric: str, reference: Side | None, other: Side) -> Ratio | str:
        """The other's runs over the reference's, or why there is no such ratio."""
        if reference is None:
            return "the reference has no run on this machine"
        key, of = (metric, other.configuration, other.machine), (reference.which, other.which)
        known = self._known.get(key)
        if known is None or known[0] != of:
            known = self._known[key] = (of, _ratio(metric, reference, other, in_blocks=self._in_blocks))
        return known[1]


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
        ours, theirs = (_values(metric, side) for side in (reference, other))
        return unpaired(theirs, ours) if ours and theirs else "no run of both has it"
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
        return "no block has a run of both" + (" on the same card" if len(pairs) < len(blocks) else "")
    return paired([theirs for theirs, _ in known], [ours for _, ours in known])


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
    return tuple(notes)


def largest_bound_pct(metric: str, runs: Sequence[SlotRow]) -> float | None:
    """What the readings of a run leave open of a metric at most, in percent; None where it is not known of each."""
    bounds = [run.circumstances.bounds_pct.get(metric) for run in runs if value_in(run, metric) is not None]
    known = [bound for bound in bounds if bound is not None]
    return max(known) if known and len(known) == len(bounds) else None
