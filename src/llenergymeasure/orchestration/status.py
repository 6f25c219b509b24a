"""Lines that tell where a measurement stands: on stderr for whoever waits, in ``log.txt`` for whoever asks later."""

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any

from llenergymeasure._telling import TellingFormatter
from llenergymeasure.core.progress.shown import beside_progress


def status_handler(level: int) -> logging.Handler:
    """Lines of this level or above on stderr; where each comes from, too, where everything is to be seen."""
    handler = _StatusHandler()
    handler.setLevel(level)
    detailed = level <= logging.DEBUG
    handler.setFormatter(TellingFormatter("%(levelname)s %(name)s: %(message)s" if detailed else "llem: %(message)s"))
    return handler


class _StatusHandler(logging.StreamHandler[Any]):
    """Writes its lines where no bar is in their way."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        with beside_progress():
            super().emit(record)


def file_handler(path: Path) -> logging.Handler:
    """Lines with their times in a file; nothing where it cannot be written."""
    handler: logging.Handler = logging.NullHandler()
    with contextlib.suppress(OSError):
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_timed_lines())
    return handler


def add_to_log(path: Path, message: str) -> None:
    """Add to a log why its process gave no result, if it did not live to tell; a full disk costs the line."""
    line = logging.makeLogRecord({"name": __name__, "levelname": "ERROR", "msg": message})
    with contextlib.suppress(OSError), path.open("a+", encoding="utf-8") as log:
        log.seek(0)
        if message.split("\n", 1)[0] not in log.read():
            log.write(f"{_timed_lines().format(line)}\n")


def _timed_lines() -> logging.Formatter:
    return TellingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


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
