"""Which rows of devices make a total."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure.results.verification.tables import Row


def counted(rows: Sequence[Row]) -> list[Row]:
    """The rows that make the total: of the first kind that there is, but for those that are no part of it."""
    open_to_it = [row for row in rows if row.get("headline") is not False]
    for kind in ("gpu", "cpu", "soc", "host"):
        of_kind = [row for row in open_to_it if row["kind"] == kind]
        if of_kind:
            return of_kind
    return []


def total(values: Sequence[Any]) -> float | None:
    """The sum of values; None where one is missing, or there are none."""
    return None if not values or None in values else float(sum(values))
