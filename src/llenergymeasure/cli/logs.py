"""Status lines on stderr."""

import logging
import warnings
from collections.abc import Iterable

from llenergymeasure.orchestration.status import status_handler


def configure(*, quiet: bool, verbose: bool) -> int:
    """One line per step; only warnings and errors when quiet, everything with where it comes from when verbose.

    Returns:
        The level from which on lines are shown.
    """
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    # A terminal that is gone, or a full disk, costs the line and nothing else.
    logging.raiseExceptions = False
    logger = logging.getLogger("llenergymeasure")
    logger.handlers[:] = [status_handler(level)]
    logger.propagate = False
    logger.setLevel(level)
    if not verbose:
        # Libraries speak to developers there; what a user has to know is in measurement_warnings.
        warnings.simplefilter("ignore")
    return level


def quiet_libraries(loggers: Iterable[str]) -> None:
    """Nothing but errors from these loggers, unless everything is to be seen."""
    if logging.getLogger("llenergymeasure").level > logging.DEBUG:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
