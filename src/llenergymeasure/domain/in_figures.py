"""Numbers as people read them."""

import math
from string import ascii_uppercase

NONE = "-"
# What measurements of this kind can tell; files have all digits.
DIGITS = 3
_THOUSAND = 1e3
# Below and above these the zeros say nothing and fill the line.
_TINY, _HUGE = 1e-4, 1e15
# A ratio in this range has decimals: of 1.002 three digits would leave nothing.
_NEAR_ONE = (0.1, 10.0)
# From here on the two sides of an interval are told: they are not alike.
_WIDE = 0.25
_MOST_DIGITS = 6
_MOST_DECIMALS = 9
_NOTHING = 1e-9


def number(value: float | None) -> str:
    """A figure with three significant digits, from 1,000 on in whole numbers; a count (an int) with all of them.

    Powers of ten below 1e-4 and from 1e15 on.
    """
    if value is None:
        return NONE
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < _HUGE else f"{value:.{DIGITS - 1}e}"
    if not value:
        return "0"
    rounded = float(f"{value:.{DIGITS}g}")
    if not _TINY <= abs(rounded) < _HUGE:
        return f"{value:.{DIGITS - 1}e}"
    return f"{rounded:,.{max(DIGITS - 1 - math.floor(math.log10(abs(rounded))), 0)}f}"


def bounded(value: float | None, bound: float | None) -> str:
    """A figure and how far it may be off, such as ``50.0 +-0.5``."""
    return number(value) if bound is None else f"{number(value)} +-{bound:.2g}"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A mean with its interval, such as ``0.139 +- 0.004``: the larger side of it, rounded up."""
    if value is None or low is None or high is None:
        return number(value)
    half = max(high - value, value - low)
    if half > _WIDE * value:
        # As short as a table needs it: what has such intervals is positive.
        return f"{number(value)} ({number(low)}-{number(high)})"
    if half < _NOTHING * value:
        return f"{number(value)} +- 0"
    decimals = _decimals(value, half)
    if decimals > _MOST_DECIMALS:
        return f"{number(value)} +- {half:.1g}"
    unit = 10.0**-decimals
    # Rounding leaves something of what is a whole number of units.
    rounded_up = math.ceil(half / unit - _NOTHING) * unit
    return f"{value:,.{decimals}f} +- {rounded_up:,.{decimals}f}"


def _decimals(value: float, half: float) -> int:
    """How many decimals tell the half of an interval: one digit of it, or two where the first is 1."""
    place = math.floor(math.log10(half))
    digits = 2 if half < 2 * 10.0**place else 1
    known = _MOST_DIGITS - 1 - math.floor(math.log10(value))
    return max(0, min(digits - 1 - place, known))


def ratio(value: float) -> str:
    """A ratio with three decimals, or as a figure where it is far from 1."""
    low, high = _NEAR_ONE
    return f"{value:.3f}" if low <= abs(value) < high else number(value)


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
