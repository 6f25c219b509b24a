"""The requests of a load, of which there may be many more than prompts: they take the prompts in turns."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

from llenergymeasure.domain.inference import Request


class Repeated(Sequence[Request]):
    """[n] requests made of fewer when they are asked for; each stands at the place of its index."""

    def __init__(self, originals: Sequence[Request], n: int) -> None:
        """Ready.

        Args:
            originals: at least one request; they are taken in turns.
            n: how many there are to be.
        """
        self._originals, self._n = originals, n

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, place: int) -> Request: ...
    @overload
    def __getitem__(self, place: slice) -> "Sequence[Request]": ...
    def __getitem__(self, place: int | slice) -> "Request | Sequence[Request]":
        if isinstance(place, slice):
            return [self._at(each) for each in range(*place.indices(self._n))]
        if not -self._n <= place < self._n:
            raise IndexError(place)
        return self._at(place % self._n)

    def __iter__(self) -> Iterator[Request]:
        return map(self._at, range(self._n))

    def _at(self, place: int) -> Request:
        return replace(self._originals[place % len(self._originals)], index=place)
