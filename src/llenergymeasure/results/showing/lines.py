"""Labelled texts, broken into lines under each other."""

import textwrap
from typing import NamedTuple

from llenergymeasure._telling import in_a_line

# Columns of a terminal that nobody has made wider.
WIDTH = 80
# Of these is a label with the space behind it, where labels stand in a column of their own.
LABEL = 20
_INDENT = " " * 8


class Remark(NamedTuple):
    """Something that stands beneath a table; what may be searched for or copied is not ``broken`` into lines."""

    label: str
    text: str
    broken: bool = True


def filled(remark: Remark) -> str:
    """A labelled text with its lines under each other."""
    first, *others = (in_a_line(line) for line in remark.text.split("\n"))
    lines = [f"{remark.label}: {first}", *(f"{_INDENT}{line}" for line in others)]
    if not remark.broken:
        return "\n".join(lines)
    return "\n".join(_filled(line, "", _INDENT) for line in lines)


def wrapped(label: str, text: str) -> str:
    """A text beside its label, which is in a column of labels."""
    return _filled(text, f"{label:<{LABEL - 1}} ", " " * LABEL)


def _filled(text: str, before: str, below: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=before, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )
