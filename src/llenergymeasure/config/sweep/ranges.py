"""Ranges of numbers as the values of a field: ``{from: 1, to: 16, scale: pow2}``."""

import itertools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from llenergymeasure.config.base import nearest
from llenergymeasure.exceptions import ConfigError

MOST_VALUES = 100_000
_KEYS = ("from", "to", "num", "scale")
_SCALES = ("linear", "log", "pow2")
# Of a double, the digits that rounding in a power leaves alone.
_SURE_DIGITS = 12


def is_range(value: Any) -> bool:
    """Whether this is meant as a range."""
    return isinstance(value, Mapping) and ("from" in value or "to" in value)


def values_of(given: Mapping[str, Any]) -> list[int | float]:
    """The numbers of a range, ``from`` first and ``to`` last; whole ones where both of these are whole.

    ``linear`` (the default) and ``log`` give ``num`` numbers, ``pow2`` every power of two. Halves are rounded up.

    Raises:
        ConfigError: it is no range, or two of its numbers come out equal.
    """
    for key in given:
        if key not in _KEYS:
            raise ConfigError(f"unknown key {key!r} of a range; {nearest(str(key), _KEYS)}")
    low, high = _number(given, "from"), _number(given, "to")
    scale = given.get("scale", "linear")
    if scale not in _SCALES:
        raise ConfigError(f"scale: {scale!r} is none of {', '.join(_SCALES)}")
    if low >= high:
        raise ConfigError(f"from: {low} is not below to: {high}")
    if scale == "pow2":
        return _powers(low, high, given)
    num = _count(given)
    if scale == "log" and low <= 0:
        raise ConfigError(f"from: {low} must be above 0 on a log scale")
    whole = isinstance(low, int) and isinstance(high, int)
    between = _log if scale == "log" else _linear
    numbers = [low, *(between(low, high, step, num - 1) for step in range(1, num - 1)), high]
    twice = next((second for first, second in itertools.pairwise(numbers) if first == second), None)
    if twice is not None:
        unless = "; or write from: with a decimal point, for numbers that are not whole" if whole else ""
        raise ConfigError(f"the range gives {twice} twice; lower num{unless}")
    return numbers


def _linear(low: float, high: float, step: int, n_steps: int) -> int | float:
    """The number so many equal steps on; decimals are taken as they are written, so that 0.1 to 0.5 has 0.3."""
    if isinstance(low, int) and isinstance(high, int):
        return low + (2 * step * (high - low) + n_steps) // (2 * n_steps)
    start, end = Fraction(str(low)), Fraction(str(high))
    return float(start + (end - start) * Fraction(step, n_steps))


def _log(low: float, high: float, step: int, n_steps: int) -> int | float:
    """The number so many equal factors on."""
    power = math.exp(math.log(low) + (math.log(high) - math.log(low)) * step / n_steps)
    sure = float(f"{power:.{_SURE_DIGITS}g}")
    return math.floor(sure + 0.5) if isinstance(low, int) and isinstance(high, int) else sure


def _powers(low: float, high: float, given: Mapping[str, Any]) -> list[int | float]:
    if given.get("num") is not None:
        raise ConfigError("scale: pow2 takes every power of two; remove num")
    for name, value in (("from", low), ("to", high)):
        if not isinstance(value, int) or value < 1 or value & (value - 1):
            raise ConfigError(f"{name}: {value} is no power of two (1, 2, 4, ...)")
    return [1 << exponent for exponent in range(int(low).bit_length() - 1, int(high).bit_length())]


def _number(given: Mapping[str, Any], name: str) -> int | float:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_as_float(value)):
        raise ConfigError(f"a range is {{from: 1, to: 16, num: 4, scale: linear, log or pow2}}; {name} is no number")
    return value


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _count(given: Mapping[str, Any]) -> int:
    num = given.get("num")
    if isinstance(num, bool) or not isinstance(num, int) or not 2 <= num <= MOST_VALUES:  # noqa: PLR2004 - two ends
        raise ConfigError(f"num: give how many numbers the range has, 2 to {MOST_VALUES}")
    return num
