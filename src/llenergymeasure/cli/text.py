"""Labels, lines and numbers of the tables."""

import textwrap

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.in_figures import NONE, letter, number, seconds

__all__ = ["LABEL", "NONE", "WIDTH", "environment_line", "letter", "number", "seconds", "wrapped"]

WIDTH = 110
LABEL = 22


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
