"""Status lines on stderr."""

import logging
import warnings
from collections.abc import Iterable

from llenergymeasure._telling import TellingFormatter


def configure(*, quiet: bool, verbose: bool) -> None:
    """One line per step; only warnings and errors when quiet, everything with where it comes from when verbose."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(TellingFormatter("%(levelname)s %(name)s: %(message)s" if verbose else "llem: %(message)s"))
    logger = logging.getLogger("llenergymeasure")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)
    if not verbose:
        # Libraries speak to developers there; what a user has to know is in measurement_warnings.
        warnings.simplefilter("ignore")


def quiet_libraries(loggers: Iterable[str]) -> None:
    """Nothing but errors from these loggers, unless everything is to be seen."""
    if logging.getLogger("llenergymeasure").level > logging.DEBUG:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
