"""What a study says of its cards: how many a configuration was run on, and how much cards of one kind differ."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llenergymeasure.domain.study.summary import CardSpread, RatioSummary
from llenergymeasure.results.cards.spread import Spread, spread
from llenergymeasure.results.cards.strata import CONFOUNDED
from llenergymeasure.results.cards.where import cards
from llenergymeasure.results.statistics import logs
from llenergymeasure.results.study.against import COMPARED, NO_PAIR_ON_A_CARD, Side
from llenergymeasure.results.study.alike import kinds_in, unlike, value_in
from llenergymeasure.results.study.figures import WATCHED
from llenergymeasure.results.study.rows import SlotRow

_NONE: Mapping[str, float] = {}
_SEVERAL = 2
Ratios = Mapping[str, RatioSummary]


def card_ratios(runs: Sequence[SlotRow]) -> tuple[int, Mapping[str, float]]:
    """How many cards [n] runs of a configuration were on, and the largest of the cards' means over the smallest."""
    numbers = cards([run.circumstances.where for run in runs])
    n = len(set(numbers))
    if n < _SEVERAL:
        return n, _NONE
    found = {metric: _furthest(metric, runs, numbers) for metric in WATCHED}
    return n, {metric: ratio for metric, ratio in found.items() if ratio is not None}


def _furthest(metric: str, runs: Sequence[SlotRow], numbers: Sequence[int]) -> float | None:
    if unlike([kinds_in(metric, runs)]) is not None:
        return None
    values: dict[int, list[float]] = {}
    for run, card in zip(runs, numbers, strict=True):
        if (value := value_in(run, metric)) is not None:
            values.setdefault(card, []).append(value)
    try:
        means = [float(logs(of).mean()) for of in values.values()]
    except ValueError:
        return None
    return math.exp(max(means) - min(means)) if len(means) >= _SEVERAL else None


def spreads(sides: Sequence[Side], ratios: Mapping[int, Ratios]) -> tuple[CardSpread, ...]:
    """How much cards of each kind differ, apart from configurations.

    Args:
        sides: of all rows, in their order.
        ratios: by the numbers of rows, what was compared.
    """
    found = []
    for machine in dict.fromkeys(side.machine for side in sides):
        of_kind = [(number, side) for number, side in enumerate(sides, 1) if side.machine == machine]
        if len({run.circumstances.where for _, side in of_kind for run in side.runs}) < _SEVERAL:
            continue
        numbers = [number for number, _ in of_kind]
        for metric in WATCHED:
            seen = _spread(metric, [side for _, side in of_kind], machine)
            if seen is not None:
                claimed = tuple(_claimed_within(seen, {n: ratios[n] for n in numbers if n in ratios}))
                found.append(replace(seen, exceeds=claimed))
    return tuple(found)


def _spread(metric: str, sides: Sequence[Side], machine: str | None) -> CardSpread | None:
    """Of all runs of a kind of machine that have a metric, unless these are not the same thing in a configuration."""
    alike = [side for side in sides if side.runs and unlike([kinds_in(metric, side.runs)]) is None]
    read = [(side.configuration, run, value_in(run, metric)) for side in alike for run in side.runs]
    known = [(kind, run, value) for kind, run, value in read if value is not None and 0 < value < math.inf]
    places = [run.circumstances.where for _, run, _ in known]
    if len(set(places)) < _SEVERAL:
        return None
    numbers = cards(places)
    names = {number: place.label for number, place in zip(numbers, places, strict=True)}
    found = spread([value for *_, value in known], [kind for kind, *_ in known], numbers)
    return None if found is None else _summed_up(found, metric, machine, names)


def _summed_up(found: Spread, metric: str, machine: str | None, names: Mapping[int, str]) -> CardSpread:
    highest, lowest = (next(name for n, name in names.items() if n == card) for card in (found.highest, found.lowest))
    return CardSpread(
        metric=metric,
        machine=machine,
        value=found.value,
        low=found.low,
        high=found.high,
        n_cards=found.n_cards,
        n_runs=found.n_runs,
        highest=highest,
        lowest=lowest,
        why_no_interval=found.why_no_interval,
    )


def _claimed_within(seen: CardSpread, ratios: Mapping[int, Ratios]) -> Iterator[int]:
    """The rows that are called different by less than cards differ."""
    if seen.metric not in COMPARED:
        return
    for number, of in ratios.items():
        ratio = of.get(seen.metric)
        if ratio is None or ratio.value is None or ratio.verdict != "different":
            continue
        if abs(math.log(ratio.value)) < math.log(seen.value):
            yield number


def cautions(found: Sequence[CardSpread], ratios: Mapping[int, Ratios]) -> list[str]:
    """A line for each reason why cards leave no comparison, and for each spread larger than what is claimed.

    Args:
        found: how much cards differ.
        ratios: by the numbers of rows, what was compared.
    """
    without: dict[str, list[int]] = {}
    for number, of in ratios.items():
        for reason in dict.fromkeys(ratio.reason for ratio in of.values()):
            if reason in (CONFOUNDED, NO_PAIR_ON_A_CARD):
                without.setdefault(reason, []).append(number)
    return [
        *(f"{_rows(numbers)} not compared with the reference: {reason}" for reason, numbers in without.items()),
        *(
            f"cards differ by {100 * (each.value - 1):.1f} % in {each.metric}, more than {_rows(each.exceeds)} off the "
            "reference: the difference holds within a card, and another card may be further off than that"
            for each in found
            if each.exceeds
        ),
    ]


def _rows(numbers: Sequence[int]) -> str:
    return f"row {numbers[0]} is" if len(numbers) == 1 else f"rows {_listed(numbers)} are"


def _listed(numbers: Sequence[int], most: int = 10) -> str:
    more = len(numbers) - most
    return ", ".join(map(str, numbers[:most])) + (f" and {more} more" if more > 0 else "")
