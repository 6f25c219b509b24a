"""What a reader of ratios has to know beside them."""

import math
from collections.abc import Iterator, Mapping, Sequence

from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.cards.spread import Spread, spread
from llenergymeasure.results.cards.where import cards, machines
from llenergymeasure.results.comparing.alike import unlike
from llenergymeasure.results.comparing.facts import kind_of, where_of
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.metrics import METRICS, Metric
from llenergymeasure.results.statistics import LEAST_RUNS, drift, runs

# What drifts, and what cards differ in, is looked for in these; among thirty figures one would always seem to.
_WATCHED = ("energy_per_output_token_j", "tokens_per_second")
_S_PER_H = 3600
# What is left of equal figures.
_NOTHING = 1e-9


def cautions(groups: Sequence[Group], different: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    """What a reader of ratios has to know.

    Args:
        groups: that are compared, each with the first.
        different: by metric, the ratios of those groups that are called different, by their labels.
    """
    said = []
    digests = [[r.inputs_digest or r.prompts_digest for r in group.results] for group in groups]
    if len({digest for of in digests for digest in of}) > 1:
        said.append("the runs did not all read the same tokens: energy and time are of different work")
    places = [where_of(result) for group in groups for result in group.results]
    if len(set(cards([place for place in places if place.devices]))) > 1:
        said.append("energy was read on different devices: what their sensors are off by does not cancel in a ratio")
    said += [line for group in groups if (line := _validity_line(group)) is not None]
    for other in groups[1:]:
        if _is_one_after_the_other(groups[0], other):
            said.append(
                f"all runs of {groups[0].label} and of {other.label} came one after the other: what changed "
                "meanwhile looks like a difference; run them in randomised blocks"
            )
    said += [line for name in _WATCHED if (line := _drift_line(METRICS[name], groups)) is not None]
    for name in _WATCHED:
        said += _about_cards(METRICS[name], groups, different.get(name, {}))
    return tuple(said)


def _validity_line(group: Group) -> str | None:
    """Why the energy of a group is not, or not quite, fit to be cited."""
    of_energy = [result for result in group.results if result.total_energy_j is not None]
    doubtful = [result for result in of_energy if result.validity != "citable"]
    if not doubtful:
        return None
    flags = dict.fromkeys(flag for result in doubtful for flag in result.validity_flags)
    verdicts = " and ".join(dict.fromkeys(in_words(result.validity) for result in doubtful))
    return f"{group.label}: energy is {verdicts} in {len(doubtful)} of {runs(len(of_energy))} ({', '.join(flags)})"


def _is_one_after_the_other(first: Group, other: Group) -> bool:
    """Whether every run of one was over before any of the other began, by one clock; of single ones one always is."""
    results = [*first.results, *other.results]
    clocks = machines([where_of(result) for result in results])
    n, is_known = len(first.results), False
    for clock in set(clocks):
        times = [result.start_time if of == clock else None for of, result in zip(clocks, results, strict=True)]
        ours, theirs = ([time for time in part if time is not None] for part in (times[:n], times[n:]))
        if min(len(ours), len(theirs)) < LEAST_RUNS:
            continue
        if max(ours) >= min(theirs) and max(theirs) >= min(ours):
            return False
        is_known = True
    return is_known


def _drift_line(metric: Metric, groups: Sequence[Group]) -> str | None:
    """A warning where a metric changed with time, whatever the configuration."""
    # Another definition looks like a drift.
    alike = [group for group in groups if unlike(metric, group.results) is None]
    read = [(number, result, metric.read(result)) for number, group in enumerate(alike) for result in group.results]
    known = [(number, result, value) for number, result, value in read if value and value > 0]
    places = [where_of(result) for _, result, _ in known]
    # So does another card of the same kind.
    kinds = [(number, card) for (number, *_), card in zip(known, cards(places), strict=True)]
    times_s = [result.start_time.timestamp() for _, result, _ in known]
    found = drift([value for *_, value in known], times_s, kinds, machines(places))
    if found is None or not found.warns:
        return None
    return (
        f"{metric.name} changed by {found.change_pct:+.3g} % over {found.session_s / _S_PER_H:.3g} h, whatever was run "
        f"(p {found.p:.2g}); run configurations in randomised blocks"
    )


def _about_cards(metric: Metric, groups: Sequence[Group], different: Mapping[str, float]) -> Iterator[str]:
    """How much cards of one kind differ, and of which groups the difference that is claimed is smaller."""
    known = [
        (group.label, result, value)
        for group in groups
        if unlike(metric, group.results) is None
        for result in group.results
        if (value := metric.read(result)) is not None and 0 < value < math.inf
    ]
    for kind in dict.fromkeys(kind_of(result) for _, result, _ in known):
        of_kind = [each for each in known if kind_of(each[1]) == kind]
        on = cards([where_of(result) for _, result, _ in of_kind])
        found = spread([value for *_, value in of_kind], [label for label, *_ in of_kind], on)
        if found is None:
            continue
        less = [label for label, ratio in different.items() if abs(math.log(ratio)) < math.log(found.value)]
        # What may be chance is told where it is more than what is claimed.
        if less or (found.low is not None and found.low > 1 + _NOTHING):
            yield _in_words(metric, found) + (
                f", more than {' and '.join(less)} from {groups[0].label}" if less else ""
            )


def _in_words(metric: Metric, found: Spread) -> str:
    ends = "" if found.low is None or found.high is None else f"x{found.low:.3f} to x{found.high:.3f} of "
    return f"cards differ by {100 * (found.value - 1):.1f} % in {metric.name} ({ends}{found.n_cards} cards)"
