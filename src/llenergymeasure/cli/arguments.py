"""What comes in as an argument."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from llenergymeasure._paths import expanded, is_there, unnameable
from llenergymeasure._telling import in_a_line
from llenergymeasure.exceptions import config_error

_MOST_SHOWN = 80


class Texts(click.types.StringParamType):
    """A text, or several with commas between them: these are a tuple. The path of a file that is there is one text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text, or a tuple of texts."""
        convert = super().convert
        return _one_or_several(value, lambda text: convert(text, param, ctx), lambda why: self.fail(why, param, ctx))


class Integers(click.types.IntParamType):
    """A whole number, or several with commas between them: these are a tuple."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a tuple of numbers."""
        convert: Callable[..., Any] = super().convert
        return _one_or_several(value, lambda text: convert(text, param, ctx), lambda why: self.fail(why, param, ctx))


def _one_or_several(value: Any, convert: Callable[[str], Any], fail: Callable[[str], Any]) -> Any:
    if not isinstance(value, str):
        return value
    texts = [value] if "," not in value or is_there(value) else [text.strip() for text in value.split(",")]
    if len(texts) > 1 and not all(texts):
        return fail(f"{in_a_line(value[:_MOST_SHOWN])!r} has nothing between two commas.")
    values = tuple(convert(text) for text in texts)
    if len(set(values)) < len(values):
        return fail(f"{in_a_line(value[:_MOST_SHOWN])!r} has a value twice.")
    return values[0] if len(values) == 1 else values


class WorkerCount(click.types.StringParamType):
    """How many workers: a whole number, or a word, of which the field says whether it is one."""

    name = "workers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or the word as it is."""
        text = super().convert(value, param, ctx)
        return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text


class TimeLimit(click.types.StringParamType):
    """A length of time, such as 4h, 02:00:00 or a number of minutes; in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds."""
        if isinstance(value, float):
            return value
        # Imported here because most commands have no such option.
        from llenergymeasure.config.cluster import LIMIT_WORDS, seconds_of

        seconds = seconds_of(str(value))
        if seconds is None:
            self.fail(f"{in_a_line(str(value)[:_MOST_SHOWN])!r}: {LIMIT_WORDS}.", param, ctx)
        return seconds


class UserPath(click.Path):
    """A path that a user gives: ``~`` is put in place, and no file system's limits end in a traceback."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            ConfigError: no file can have this name.
        """
        text = str(value)
        problem = unnameable(text)
        if problem is not None:
            called = param.opts[-1] if isinstance(param, click.Option) else "path"
            raise config_error(f"{called} {text[:_MOST_SHOWN]}: {problem}")
        return super().convert(expanded(text), param, ctx)
