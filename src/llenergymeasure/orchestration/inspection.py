"""What this machine could run."""

from dataclasses import dataclass

from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.models import PACKAGED_MODELS, model_problem


@dataclass(frozen=True)
class Availability:
    """Something by name, and why it cannot be used; None if it can."""

    name: str
    problem: str | None


def engine_status(name: str) -> Availability:
    """Whether an engine is installed."""
    return Availability(name, get_backend(name).installation_problem())


def model_status() -> list[Availability]:
    """Whether the packaged models are installed."""
    return [Availability(name, model_problem(name)) for name in PACKAGED_MODELS]
