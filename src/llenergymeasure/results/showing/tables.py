"""Rows and columns, as text for a terminal and in Markdown."""

from collections.abc import Sequence
from typing import Literal

from tabulate import tabulate

Side = Literal["left", "right"]


def plain(headers: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[Side]) -> str:
    """A table of text as narrow as it can be; tabulate leaves room beside headers.

    Args:
        headers: [columns].
        rows: [n][columns] cells.
        sides: [columns] to which side cells go.
    """
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    cells = [headers, ["-" * width for width in widths], *rows]
    to_side = [str.ljust if side == "left" else str.rjust for side in sides]
    return "\n".join(
        "  ".join(put(cell, width) for put, cell, width in zip(to_side, line, widths, strict=True)).rstrip()
        for line in cells
    )


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[Side]) -> str:
    """The same as GitHub shows it; what is special in cells is escaped already."""
    # Of no rows it has no columns to align.
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=sides if rows else None)


def width_of(table: str) -> int:
    """Columns of a terminal that a table takes."""
    return max(map(len, table.splitlines()))
