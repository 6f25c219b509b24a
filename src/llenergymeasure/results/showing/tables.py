"""Rows and columns, as text for a terminal and in Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

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
    to_side = _to(sides)
    return "\n".join(
        "  ".join(put(cell, width) for put, cell, width in zip(to_side, line, widths, strict=True)).rstrip()
        for line in cells
    )


def _to(sides: Sequence[Side]) -> list[Callable[[str, int], str]]:
    return [str.ljust if side == "left" else str.rjust for side in sides]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], sides: Sequence[Side]) -> str:
    """The same as GitHub shows it; what is special in cells is escaped already."""
    return "\n".join(markdown_lines(headers, lambda: rows, sides))


def markdown_lines(
    headers: Sequence[str], rows: Callable[[], Iterable[Sequence[str]]], sides: Sequence[Side]
) -> Iterator[str]:
    """Its lines, one by one: the text of thousands of rows is larger than they are.

    Args:
        headers: [columns].
        rows: gives [n][columns] cells, each time that it is called.
        sides: [columns] to which side cells go.
    """
    widths = [len(header) + 2 for header in headers]
    for row in rows():
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    to_side = _to(sides)

    def line(cells: Sequence[str]) -> str:
        padded = (put(cell, width) for put, cell, width in zip(to_side, cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    yield line(headers)
    yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    yield from map(line, rows())


def width_of(table: str) -> int:
    """Columns of a terminal that a table takes."""
    return max(map(len, table.splitlines()))
