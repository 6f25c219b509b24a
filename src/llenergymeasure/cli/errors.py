"""Errors as text and exit codes."""

import logging

from pydantic import ValidationError

from llenergymeasure._telling import in_a_line
from llenergymeasure.config.errors import error_lines
from llenergymeasure.exceptions import ConfigError, LLEMError

_log = logging.getLogger(__name__)


def describe(error: Exception) -> tuple[str, int]:
    """What to print for an error, and the exit code."""
    if isinstance(error, ValidationError):
        notes = getattr(error, "__notes__", None)
        return "\n".join(notes or error_lines(error)), ConfigError.exit_code
    _log.debug("the error above all", exc_info=error)
    if isinstance(error, LLEMError):
        # Such as what was kept.
        return "; ".join([str(error), *getattr(error, "__notes__", [])]), error.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = in_a_line(f"{error.filename}: ") if error.filename else ""
        return f"{where}{error.strerror}; nothing half-written was kept", 1
    return f"unforeseen {type(error).__name__}: {error}; run again with --verbose for the traceback", 1
