"""How the meaning of a field is written down."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Formula:
    """How a figure is worked out of others, in the names of the result.

    ``since`` has the revision of the file format in which each version of the formula came, so that it counts them and
    says which one a file of any revision has. Where a formula changes, the present revision is added to it.
    """

    text: str
    since: tuple[int, ...] = (1,)

    @property
    def version(self) -> int:
        """The version that is in use, from 1."""
        return len(self.since)

    def version_in(self, revision: int) -> int | None:
        """The version that files of a revision have; None where they have none of it."""
        return sum(came <= revision for came in self.since) or None


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a field of a result is; ``unit`` is empty for what is no quantity, ``formula`` None for what is read."""

    text: str
    unit: str = ""
    formula: Formula | None = None


# The fields of one class, in the order of the page.
Meanings = Mapping[str, Meaning]


def read(text: str, unit: str = "") -> Meaning:
    """A field that is read, counted or given."""
    return Meaning(text=text, unit=unit)


def derived(text: str, unit: str, formula: str, *since: int) -> Meaning:
    """A field that is worked out; ``since`` as in ``Formula``, by default the first revision."""
    return Meaning(text=text, unit=unit, formula=Formula(text=formula, since=since or (1,)))
