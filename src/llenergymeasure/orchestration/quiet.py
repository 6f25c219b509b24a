"""Libraries in processes of ours print errors only: what matters to a user is in the warnings."""

import logging
import warnings
from collections.abc import MutableMapping

from llenergymeasure._telling import TellingFormatter
from llenergymeasure.core.backends import loggers_of
from llenergymeasure.core.backends.base import EngineBase


def keep_quiet(engine: EngineBase, environ: MutableMapping[str, str]) -> None:
    """Have the libraries of an engine print errors only, by their variables and loggers.

    Args:
        engine: whose libraries.
        environ: the environment of this process, in which nothing is changed that the user set.
    """
    for name, value in engine.variables.items():
        environ.setdefault(name, value)
    for name in loggers_of(engine):
        logging.getLogger(name).setLevel(logging.ERROR)


def quieten_others(level: int | None) -> None:
    """Libraries print errors, and more where everything is to be seen; as a terminal, and others, may have them.

    Args:
        level: from which on the user wants to see lines; None: nothing.
    """
    if level is None or level > logging.DEBUG:
        warnings.simplefilter("ignore")
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR if level is None else max(level, logging.WARNING))
    handler.setFormatter(TellingFormatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
