"""Numbers as people read them."""

from string import ascii_uppercase

NONE = "-"
_THOUSAND = 1e3
# The digits of a float say nothing from about here on, and fill the line.
_HUGE = 1e15


def seconds(value: float | None) -> str:
    """Seconds with four or more significant digits."""
    return NONE if value is None else f"{value:.4f}" if value < 1 else f"{value:.3f}"


def number(value: float | None) -> str:
    """A number with four significant digits, or thousands; powers of ten below 1e-4 and from 1e15 on."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if _THOUSAND <= abs(value) < _HUGE else f"{value:,.4g}"


def share_pct(share: float) -> str:
    """A share from 0 to 1 as percent with two decimals; what is not all of it is never called that."""
    return f"{100 * share if share == 1 else min(100 * share, 99.99):.2f} %"


def letter(place: int) -> str:
    """A to Z, then AA, AB and so on."""
    more, own = divmod(place, len(ascii_uppercase))
    return (letter(more - 1) if more else "") + ascii_uppercase[own]


def duration(seconds: float) -> str:
    """A length of time in words, such as ``12 min``: in the largest unit of which there are two."""
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
