"""What a shell can be offered, from the commands themselves; written by ``generated_docs.py``."""

import json
from functools import cache
from typing import Any

import click

from llenergymeasure.cli import cli
from llenergymeasure.config.introspection import experiment_schema, field_descriptions

# Options that take a file's path, a folder's or a word.
_MAY_BE_A_PATH = ("model", "dataset")


def words() -> str:
    """JSON with the arguments and options of every command."""
    context = click.Context(cli, info_name="llem")
    found = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert not isinstance(command, click.Group), "commands of commands are not written"
        found[name] = {
            "arguments": [_described(each) for each in command.params if isinstance(each, click.Argument)],
            "options": [_of_option(each) for each in command.params if isinstance(each, click.Option)],
        }
    return _text(found)


def _of_option(option: click.Option) -> dict[str, Any]:
    return {"names": [*option.opts, *option.secondary_opts], **_described(option), "help": option.help or ""}


def _described(parameter: click.Parameter) -> dict[str, Any]:
    many = parameter.nargs == -1 or parameter.multiple
    return {"takes": _takes(parameter), "many": many}


def _takes(parameter: click.Parameter) -> str | list[str]:
    """What can stand there: nothing, a path, any text, or one of some words."""
    if getattr(parameter, "is_flag", False):
        return "nothing"
    if isinstance(parameter.type, click.Path) or parameter.name in _MAY_BE_A_PATH:
        return "path"
    if isinstance(parameter.type, click.Choice):
        return [str(choice) for choice in parameter.type.choices]
    if parameter.name == "settings":
        return list(field_descriptions())
    # An option that is a field of an experiment takes what the field does.
    return list(_fields().get(str(parameter.name), {}).get("enum", [])) or "text"


@cache
def _fields() -> dict[str, Any]:
    fields: dict[str, Any] = experiment_schema()["properties"]
    return fields


def _text(found: dict[str, Any]) -> str:
    """A line for each argument and option, so that a change of one is a line of a diff."""
    commands = []
    for name, parts in found.items():
        lists = [
            f'  "{kind}": [' + ",".join(f"\n   {json.dumps(each)}" for each in entries) + "]"
            for kind, entries in parts.items()
        ]
        commands.append(f' "{name}": {{\n' + ",\n".join(lists) + "\n }")
    return "{\n" + ",\n".join(commands) + "\n}\n"
