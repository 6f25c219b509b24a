"""What a shell is offered while a command is typed: out of a file, so that no command's module is loaded."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click

# Written by `make docs`, and checked by `make check`, from the commands themselves.
WORDS = Path(__file__).parent / "words.json"


def stand_in(name: str, in_short: str) -> click.Command:
    """A command that has the options and arguments of the real one, for whoever completes, and does nothing.

    Args:
        name: of the command; one that the file lacks has neither options nor arguments.
        in_short: what it is for, in a line.
    """
    known = _words().get(name, {"arguments": [], "options": []})
    return click.Command(
        name,
        params=[
            *(_argument(number, each) for number, each in enumerate(known["arguments"])),
            *(_option(each) for each in known["options"]),
        ],
        short_help=in_short,
    )


@cache
def _words() -> Mapping[str, Any]:
    words: Mapping[str, Any] = json.loads(WORDS.read_text(encoding="utf-8"))
    return words


def _argument(number: int, known: Mapping[str, Any]) -> click.Argument:
    return click.Argument([f"argument_{number}"], type=_type(known), nargs=-1 if known["many"] else 1, required=False)


def _option(known: Mapping[str, Any]) -> click.Option:
    if known["takes"] == "nothing":
        return click.Option(known["names"], is_flag=True, help=known["help"])
    return click.Option(known["names"], type=_type(known), multiple=known["many"], help=known["help"])


def _type(known: Mapping[str, Any]) -> click.ParamType[Any]:
    if known["takes"] == "path":
        return click.Path()
    return click.Choice(known["takes"]) if isinstance(known["takes"], list) else click.STRING
