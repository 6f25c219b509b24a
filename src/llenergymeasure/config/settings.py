"""Single settings, from the command line (``a.b=c``) or the environment, as nested fields."""

from collections.abc import Iterable, Sequence
from typing import Any

from llenergymeasure.config.yaml_file import parse_value, printable
from llenergymeasure.exceptions import ConfigError


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """The nested mapping of [n] settings ``a.b=c``; values are read as YAML reads them, the last of equals wins.

    Raises:
        ConfigError: one has no ``=``, an empty name, a value that is no YAML, or a field that is already a value.
    """
    parsed = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        parts = name.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set {printable(setting)}: write it as field=value or section.field=value")
        parsed.append((f"--set {printable(setting)}", parts, text))
    return nested(parsed)


def nested(settings: Iterable[tuple[str, Sequence[str], str]]) -> dict[str, Any]:
    """The nested mapping of settings, each with what it is called, its path and its value as YAML text.

    Raises:
        ConfigError: a value that is no YAML, or a field that is already a value.
    """
    result: dict[str, Any] = {}
    for called, parts, text in settings:
        place = result
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{called}: {printable(part)} was set to a value before; it has no fields then")
        place[parts[-1]] = parse_value(text, called)
    return result
