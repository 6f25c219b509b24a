"""Which rows of a dataset are run, and no more of them in memory than that."""

import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from llenergymeasure.core.prompts.rows import PromptRow
from llenergymeasure.exceptions import ConfigError

# The most rows that an order is drawn over, which takes 8 bytes and half a microsecond for each.
MOST_SHUFFLED_ROWS = 2**25

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The first ``n`` rows, None being all, of an order that ``random_seed`` draws; None is the dataset's own order."""

    n: int | None = None
    random_seed: int | None = None

    def places(self, n_rows: int, where: str) -> list[int]:
        """The places, from 0, of the chosen ones among ``n_rows`` rows, in the order in which they are taken.

        Raises:
            ConfigError: there are too many rows to draw an order over.
        """
        if self.random_seed is None:
            return list(range(n_rows if self.n is None else min(self.n, n_rows)))
        if n_rows > MOST_SHUFFLED_ROWS:
            raise ConfigError(
                f"{where}: there are {n_rows:,} rows, and an order is drawn over at most {MOST_SHUFFLED_ROWS:,}; "
                "set dataset.order: as_is, or give a part of it"
            )
        order = array("Q", range(n_rows))
        random.Random(self.random_seed).shuffle(order)
        return order[: self.n].tolist()


@dataclass(frozen=True)
class ChosenRows:
    """Rows in the order in which they are run, the place of each in its dataset, and how many rows were found.

    In the dataset's own order nobody looks further than asked, so there may be more than were found.
    """

    rows: list[PromptRow]
    places: list[int]
    n_found: int


def chosen_of(read: Callable[[], Iterable[PromptRow]], choice: Choice, where: str) -> ChosenRows:
    """The chosen ones of rows that can be read from the beginning more than once.

    For a drawn order all are read twice, once to count them: none but the chosen ones is kept.

    Args:
        read: begins anew each time.
        choice: which ones.
        where: what they are called in an error.
    """
    if choice.random_seed is None:
        rows = list(islice(read(), choice.n))
        return ChosenRows(rows, list(range(len(rows))), len(rows))
    n_rows = sum(1 for _ in read())
    places = choice.places(n_rows, where)
    return ChosenRows(picked(read(), places), places, n_rows)


def picked(values: Iterable[T], places: Sequence[int]) -> list[T]:
    """The values at [n] different places, in the order of ``places``; what comes after the last is not read."""
    found = dict(values_at(enumerate(values), sorted(places)))
    return [found[place] for place in places]


def values_at(numbered: Iterator[tuple[int, T]], places: Sequence[int]) -> Iterator[tuple[int, T]]:
    """Those of values with their places that are at [n] rising places."""
    wanted = iter(places)
    next_place = next(wanted, None)
    if next_place is None:
        return
    for place, value in numbered:
        if place == next_place:
            yield place, value
            next_place = next(wanted, None)
            if next_place is None:
                return
