"""What a worker says of an attempt before its folder does, and what it does where another took over meanwhile."""

import contextlib
from pathlib import Path

from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.studies.claiming.claim import Claim
from llenergymeasure.orchestration.studies.claiming.files import Manner
from llenergymeasure.results.attempts import DAMAGED_FILE

# Of an attempt whose worker said that it had ended, and stood still before anything else said so.
OVERDUE = "its worker gave no sign of life before it was whole, and another took over; it counts no more"


class SupersededError(ExperimentError):
    """Another worker took over what this one was doing."""

    def __init__(self) -> None:
        """Every one says the same."""
        super().__init__("another worker took over while this one stood still")


def refuse_superseded(claim: Claim) -> None:
    """Raise where a claim is another worker's by now.

    Raises:
        SupersededError: it is.
    """
    if claim.is_superseded():
        raise SupersededError


def say(claim: Claim, manner: Manner, attempt: Path | None) -> None:
    """Say how an attempt ended, before its folder does.

    Raises:
        SupersededError: another worker took over.
        OSError: it cannot be said.
    """
    if not claim.end(manner, None if attempt is None else attempt.name):
        raise SupersededError


def take_back(claim: Claim, attempt: Path) -> None:
    """Its folder will not say how an attempt ended, so that nobody needs to wait for that."""
    if claim.has_ended:
        with contextlib.suppress(OSError):
            claim.end("given_back", attempt.name)


def counts_no_more(claim: Claim, attempt: Path) -> bool:
    """Whether another took over after it had been said that an attempt was whole, and before it was."""
    try:
        return claim.is_superseded() or (attempt / DAMAGED_FILE).exists()
    except OSError:
        return False
