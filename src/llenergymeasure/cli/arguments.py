"""What comes in as an argument."""

from pathlib import Path
from typing import Any

import click

from llenergymeasure._paths import expanded, unnameable
from llenergymeasure.exceptions import config_error

_MOST_SHOWN = 80


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
