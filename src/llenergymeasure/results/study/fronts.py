"""Which configurations nothing is better than, in one metric or in two."""

from collections.abc import Mapping, Sequence

from llenergymeasure.domain.study.summary import SummaryRow
from llenergymeasure.results.study.circumstances import OF_JOULES

JOULES = "energy_per_output_token_j"
# 1 where less is better, -1 where more is.
BETTER = {JOULES: 1, "tokens_per_second": -1, "ttft_p50_s": 1}
# What joules per output token are held against.
AGAINST = ("tokens_per_second", "ttft_p50_s")
_WhyUnlike = Mapping[str, str | None]


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of those of [n] points that no other is as good as in both and better than in one; less is better."""
    by_first: dict[float, list[int]] = {}
    for place, (first, _) in enumerate(points):
        by_first.setdefault(first, []).append(place)
    front: list[int] = []
    least = float("inf")
    for first in sorted(by_first):
        there = by_first[first]
        own = min(points[place][1] for place in there)
        if own < least:
            least = own
            front += [place for place in there if points[place][1] == own]
    return sorted(front)


def marks(
    rows: Sequence[SummaryRow], why_unlike: _WhyUnlike
) -> tuple[dict[int, tuple[str, ...]], dict[int, tuple[str, ...]]]:
    """By number of row, the metrics that it is best in, and those of which it is on the front.

    Args:
        rows: the configurations.
        why_unlike: of each metric, why it is not the same thing in all rows and has no best; None where it is.
    """
    best: dict[int, tuple[str, ...]] = {}
    fronts: dict[int, tuple[str, ...]] = {}
    alike = [metric for metric in BETTER if why_unlike[metric] is None]
    for metric in alike:
        known = _known(rows, metric)
        # Where all are alike none is the best.
        if len(set(known.values())) > 1:
            least = min(known.values())
            _add(best, metric, [number for number, value in known.items() if value == least])
    for metric in AGAINST:
        if metric not in alike or JOULES not in alike:
            continue
        joules, others = _known(rows, JOULES), _known(rows, metric)
        both = [number for number in joules if number in others]
        if len(both) > 1:
            on_it = pareto([(joules[number], others[number]) for number in both])
            _add(fronts, metric, [both[place] for place in on_it])
    return best, fronts


def why_no_best(rows: Sequence[SummaryRow], why_unlike: _WhyUnlike) -> list[str]:
    """Of which metrics several rows have a value, and yet none is best."""
    said = []
    for metric in BETTER:
        if sum(row.metrics[metric].value is not None for row in rows) < 2:  # noqa: PLR2004 - two can be held against each other
            continue
        why = why_unlike[metric]
        if why is None and not _known(rows, metric):
            why = "no energy is citable"
        if why is not None:
            said.append(f"{metric}: no row is called best or on a front, because {why}")
    return said


def _known(rows: Sequence[SummaryRow], metric: str) -> dict[int, float]:
    """What each row that counts has of a metric, so that less is better. Joules that nobody may cite do not count."""
    return {
        row.number: BETTER[metric] * value
        for row in rows
        if (value := row.metrics[metric].value) is not None
        and not (metric in OF_JOULES and row.validity == "not_citable")
    }


def _add(into: dict[int, tuple[str, ...]], metric: str, numbers: Sequence[int]) -> None:
    for number in numbers:
        into[number] = (*into.get(number, ()), metric)
