"""Runs that are far from the others on their card."""

from collections.abc import Sequence

from llenergymeasure.results.cards.where import Where, cards
from llenergymeasure.results.statistics import outliers


def outliers_on_cards(values: Sequence[float], places: Sequence[Where]) -> tuple[int, ...]:
    """Which of [n] runs are outliers among those on the same card, as another card's runs are no outliers.

    Raises:
        ValueError: a value is no finite number above zero.
    """
    numbers = cards(places)
    found: list[int] = []
    for card in dict.fromkeys(numbers):
        of_card = [place for place, number in enumerate(numbers) if number == card]
        found += [of_card[place] for place in outliers([values[place] for place in of_card])]
    return tuple(sorted(found))
