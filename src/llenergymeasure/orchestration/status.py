"""Lines that tell where a measurement stands: on stderr for whoever waits, in ``log.txt`` for whoever asks later."""

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path

from llenergymeasure._telling import TellingFormatter


def status_handler(level: int) -> logging.Handler:
    """Lines of this level or above on stderr; where each comes from, too, where everything is to be seen."""
    handler = logging.StreamHandler()
    handler.setLevel(level)
    detailed = level <= logging.DEBUG
    handler.setFormatter(TellingFormatter("%(levelname)s %(name)s: %(message)s" if detailed else "llem: %(message)s"))
    return handler


def file_handler(path: Path) -> logging.Handler:
    """Lines with their times in a file; nothing where it cannot be written."""
    handler: logging.Handler = logging.NullHandler()
    with contextlib.suppress(OSError):
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(TellingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


class HeldLines(logging.handlers.MemoryHandler):
    """Passes lines on at once, but keeps them while it holds: nothing is written beside a measurement."""

    def __init__(self, target: logging.Handler) -> None:
        super().__init__(sys.maxsize, target=target)
        # Whoever passes lines on asks for no level.
        self.setLevel(target.level)
        self._passed_to = target
        self._holds = False

    def hold(self, holds: bool) -> None:
        """Keep what comes from now on, or pass it on with what was kept."""
        self._holds = holds
        if not holds:
            self.flush()

    def shouldFlush(self, record: logging.LogRecord) -> bool:  # noqa: ARG002, N802 - logging's signature
        """Whether this line, and what was kept, is passed on now."""
        return not self._holds

    def close(self) -> None:
        """Pass on what is left, and end."""
        super().close()
        self._passed_to.close()
