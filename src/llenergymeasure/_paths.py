"""Paths: what can be one, and the home directory by its short name.

Results are published, and whose home it was is nobody's business.
"""

import functools
import os
import re
from pathlib import Path

HALF_A_CHARACTER = "it holds half a character, a byte that is no UTF-8 or a lone surrogate; write it in UTF-8"
_SHORT = "~"
# Of Linux (limits.h) and, in bytes or characters, of every file system in use; a whole path may have 4096.
_MOST_BYTES_OF_A_NAME, _MOST_BYTES_OF_A_PATH = 255, 4096


def unnameable(text: str) -> str | None:
    """Why no file system can have a path of this name; None if one can."""
    if "\0" in text:
        return "it holds a NUL character, which no name can have"
    if not is_whole(text):
        return HALF_A_CHARACTER
    if any(len(part.encode()) > _MOST_BYTES_OF_A_NAME for part in text.split("/")):
        return f"a part of this path has more than {_MOST_BYTES_OF_A_NAME} bytes, which no file's name may have"
    if len(text.encode()) > _MOST_BYTES_OF_A_PATH:
        return f"this path has more than {_MOST_BYTES_OF_A_PATH} bytes, which no path may have"
    return None


def is_whole(text: str) -> bool:
    """Whether a text has no lone surrogate, which stands for a byte that is no UTF-8 or for half a character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def expanded(path: str | Path) -> Path:
    """The path with ``~`` put in place; one that names a user who does not exist is left as it is."""
    return Path(expanded_text(os.fspath(path)))


def expanded_text(text: str) -> str:
    """The same of a text, whose other parts stay as they were written."""
    try:
        return os.path.expanduser(text)  # noqa: PTH111 - of Path it loses ./ and a trailing slash, and may raise
    except ValueError:  # a NUL byte in the name of a user
        return text


def is_there(text: str) -> bool:
    """Whether something on the disk has this text as its path."""
    try:
        return os.path.lexists(expanded_text(text))
    except (OSError, ValueError):
        return False


def is_under_home(text: str) -> bool:
    """Whether a text is a path that is written from the user's home on: ``~/...`` or ``~user/...``."""
    return text.startswith(_SHORT) and "/" in text


def shortened(text: str) -> str:
    """A path under the home directory as ``~/...``; any other text as it is."""
    for home in _homes():
        if text == home:
            return f"{_SHORT}/"
        if text.startswith(f"{home}/"):
            return _SHORT + text[len(home) :]
    return text


def shortened_within(text: str) -> str:
    """A text with ``~`` for the home directory wherever a path in it begins with that."""
    for home in _homes():
        if home in text:
            text = _within(home).sub(_SHORT, text)
    return text


def _homes() -> tuple[str, ...]:
    """The names of the home directory, as it is given and without symbolic links; none where it is the root."""
    return _names_of(expanded_text(_SHORT))


@functools.lru_cache(maxsize=4)
def _names_of(home: str) -> tuple[str, ...]:
    names = {name.rstrip("/") for name in (home, os.path.realpath(home)) if name.startswith("/")}
    return tuple(sorted(names - {""}, key=len, reverse=True))


@functools.lru_cache(maxsize=8)
def _within(home: str) -> re.Pattern[str]:
    # /mnt/home/me and /home/me.old are other folders than /home/me.
    return re.compile(rf"(?:(?<=file://)|(?<![\w.~/-])){re.escape(home)}(?![\w-]|\.\w)")
