"""Single settings, from the command line (``a.b=c``) or the environment, as nested fields."""

from collections.abc import Iterable, Sequence
from typing import Any

from llenergymeasure._secrets import is_of_a_secret
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
        # A value that is to be kept secret is not repeated.
        called = f"--set {printable(name if is_of_a_secret(name) else setting)}"
        if not equals or not all(parts):
            raise ConfigError(f"{called}: write it as field=value or section.field=value")
        parsed.append((called, parts, text))
    return nested(parsed)


def nested(settings: Iterable[tuple[str, Sequence[str], str]]) -> dict[str, Any]:
    """The nested mapping of settings, each with what it is called, its path and its value as YAML text.

    Raises:
        ConfigError: a value that is no YAML, or a field that is already a value.
    """
    result: dict[str, Any] = {}
    for called, parts, text in settings:
        place, value = result, parse_value(text, called)
        (*sections, name), value = _in_full(parts, value)
        for part in sections:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{called}: {printable(part)} was set to a value before; it has no fields then")
        place[name] = value
    return result


def _in_full(parts: Sequence[str], value: Any) -> tuple[Sequence[str], Any]:
    """Shorthand for a section, written out so that its other fields can be set beside it."""
    if tuple(parts) == ("phases",) and isinstance(value, bool):
        return (*parts, "enabled"), value
    if tuple(parts) == ("quality",) and (value is True or isinstance(value, str)):
        return (*parts, "text"), None if value is True else value
    return parts, value
