"""Labels, lines and numbers of the tables."""

import textwrap
from string import ascii_uppercase

from llenergymeasure.domain.environment import EnvironmentSnapshot

WIDTH = 110
LABEL = 22
NONE = "-"
_THOUSAND = 1e3
# The digits of a float say nothing from about here on, and fill the line.
_HUGE = 1e15


def wrapped(label: str, text: str) -> str:
    """A labelled text, broken into lines under each other."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{label:<{LABEL}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def environment_line(environment: EnvironmentSnapshot) -> str:
    """The machine in one line."""
    memory = "" if environment.memory_total_mb is None else f", {environment.memory_total_mb / 1000:.0f} GB"
    gpus = ", ".join(gpu.name for gpu in environment.gpus) or "no GPU"
    driver = f", driver {environment.driver_version}" if environment.driver_version else ""
    return (
        f"{environment.cpu_model or 'unknown CPU'}, {environment.n_cpus} CPUs{memory}, {gpus}{driver}, "
        f"Python {environment.python_version}"
    )


def seconds(value: float | None) -> str:
    """Seconds with four or more significant digits."""
    return NONE if value is None else f"{value:.4f}" if value < 1 else f"{value:.3f}"


def number(value: float | None) -> str:
    """A number with four significant digits, or thousands; powers of ten below 1e-4 and from 1e15 on."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if _THOUSAND <= abs(value) < _HUGE else f"{value:,.4g}"


def letter(place: int) -> str:
    """A to Z, then AA, AB and so on."""
    more, own = divmod(place, len(ascii_uppercase))
    return (letter(more - 1) if more else "") + ascii_uppercase[own]
