"""Texts and paths in a configuration: what can be named at all, and by which name it is kept."""

import functools
import os
import re
import typing
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

from llenergymeasure._paths import HALF_A_CHARACTER, expanded_text, is_under_home, is_whole, shortened, unnameable

# What is nested deeper is no configuration, and is refused as that.
MOST_LEVELS = 60
# As of a number in a file.
_MOST_BITS = 256


def _nameable(text: str) -> str:
    problem = unnameable(text)
    if problem is not None:
        raise ValueError(problem)
    return text


_NAMEABLE = AfterValidator(_nameable)
# A text that is the path of a file or folder, or else a short name such as a hub id.
PathText = Annotated[str, _NAMEABLE]
# Keys of the user's own under which paths stand, in a mapping for an engine.
_OF_PATHS = re.compile(
    r".*(?:path|dir|folder|file|model|tokenizer|adapter|checkpoint)s?|.*director(?:y|ies)", re.IGNORECASE | re.DOTALL
)


@functools.lru_cache(maxsize=4096)
def is_of_paths(model: type[BaseModel], name: str) -> bool:
    """Whether the texts of a field are paths, by its type."""
    field = model.model_fields[name]
    return _NAMEABLE in field.metadata or _has_paths(field.annotation)


def _has_paths(annotation: Any) -> bool:
    return annotation is Path or annotation == _NAMEABLE or any(map(_has_paths, typing.get_args(annotation)))


def names_paths(key: Any) -> bool:
    """Whether the texts under a key of a mapping are paths, by its name."""
    return isinstance(key, str) and _OF_PATHS.fullmatch(key) is not None


def kept(value: Any, is_path: bool = False, level: int = 0) -> Any:
    """A value of a configuration as it is kept: paths under the home directory begin with ``~``.

    ``put_on_disk`` undoes it for whoever uses the configuration: of the same texts, and of no others.

    Args:
        value: that of a field, or what stands in it.
        is_path: its texts are paths.
        level: how deep it stands.

    Raises:
        ValueError: it is, or holds, half a character or an endless number, or is a path that no file system can have.
    """
    if isinstance(value, Path):
        return Path(shortened(_nameable(str(value))))
    if isinstance(value, str):
        if not is_whole(value):
            raise ValueError(HALF_A_CHARACTER)
        # A default that gives way to another is more than a text.
        return shortened(value) if is_path and type(value) is str else value
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError("this is a number of too many digits")
    if isinstance(value, dict) and level < MOST_LEVELS:
        return {key: kept(inner, is_path or names_paths(key), level + 1) for key, inner in value.items()}
    if type(value) in (list, tuple) and level < MOST_LEVELS:
        return type(value)(kept(inner, is_path, level + 1) for inner in value)
    return value


def put_on_disk(value: str | Path, is_path: bool) -> str | Path:
    """The path with ``~`` put in place; a text that is none as it is."""
    if isinstance(value, Path):
        return Path(expanded_text(os.fspath(value)))
    return expanded_text(value) if is_path and is_under_home(value) else value
