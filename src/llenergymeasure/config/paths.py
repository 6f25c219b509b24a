"""Texts and paths in a configuration: what can be named at all, and by which name it is kept."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from llenergymeasure._paths import HALF_A_CHARACTER, expanded_text, is_under_home, is_whole, shortened, unnameable

_MOST_LEVELS = 60
# As of a number in a file.
_MOST_BITS = 256


def _nameable(text: str) -> str:
    problem = unnameable(text)
    if problem is not None:
        raise ValueError(problem)
    return text


# A text that is the path of a file or folder, or else a short name such as a hub id.
PathText = Annotated[str, AfterValidator(_nameable)]


def kept(value: Any, level: int = 0) -> Any:
    """A value of a configuration as it is kept: paths under the home directory begin with ``~``.

    Raises:
        ValueError: it is, or holds, half a character or an endless number, or is a path that no file system can have.
    """
    if isinstance(value, Path):
        return Path(shortened(_nameable(str(value))))
    if isinstance(value, str):
        if not is_whole(value):
            raise ValueError(HALF_A_CHARACTER)
        # A default that gives way to another is more than a text.
        return shortened(value) if type(value) is str else value
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError("this is a number of too many digits")
    if isinstance(value, dict) and level < _MOST_LEVELS:
        return {key: kept(inner, level + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple) and level < _MOST_LEVELS:
        return type(value)(kept(inner, level + 1) for inner in value) if type(value) in (list, tuple) else value
    return value


def put_on_disk(value: str | Path) -> str | Path:
    """The path with ``~`` put in place, where a text is one; any other text as it is."""
    if isinstance(value, Path):
        return Path(expanded_text(os.fspath(value)))
    return expanded_text(value) if is_under_home(value) else value
