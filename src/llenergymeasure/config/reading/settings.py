"""Single settings, from the command line (``a.b=c``) or the environment, as nested fields."""

from collections.abc import Iterable, Sequence
from typing import Any

from llenergymeasure._paths import is_there
from llenergymeasure._secrets import is_of_a_secret
from llenergymeasure.config.reading.yaml_file import parse_value, printable
from llenergymeasure.config.sweep.axes import twice
from llenergymeasure.config.sweep.keys import OF_THE_STUDY, kind_of
from llenergymeasure.exceptions import ConfigError


def parse_settings(settings: Iterable[str], given_by: str = "--set") -> dict[str, Any]:
    """The nested mapping of [n] settings ``a.b=c``; values are read as YAML reads them, the last of equals wins.

    Args:
        settings: the texts.
        given_by: what they are given by, for errors.

    Raises:
        ConfigError: one has no ``=``, an empty name, a value that is no YAML, or a field that is already a value.
    """
    parsed = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        parts = name.strip().split(".")
        # A value that is to be kept secret is not repeated.
        called = f"{given_by} {printable(name if is_of_a_secret(name) else setting)}"
        if not equals or not all(parts):
            raise ConfigError(f"{called}: write it as field=value or section.field=value")
        parsed.append((called, parts, text))
    return nested(parsed)


def with_axes(settings: Iterable[str]) -> tuple[list[str], dict[str, list[Any]]]:
    """Of settings ``a.b=c`` those of one value, and those of several, ``a.b=1,2``, by dotted name.

    A comma stands between values where a list is not what the field itself takes, no file has the text as its name,
    and it is not in quotes or brackets. Of settings of the same field the last wins.

    Raises:
        ConfigError: a value is there twice.
    """
    single: dict[str, list[str]] = {}
    axes: dict[str, list[Any]] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        name = name.strip()
        values = several(text, name)
        if values is None:
            axes.pop(name, None)
            single.setdefault(name, []).append(setting)
        else:
            single.pop(name, None)
            axes[name] = values
    return [setting for each in single.values() for setting in each], axes


def several(text: str, name: str) -> list[Any] | None:
    """The values of a field between commas; None where the text is a single value.

    Raises:
        ConfigError: one of them is there twice.
    """
    key = tuple(name.split("."))
    kind = kind_of(key) if "," in text and key[0] not in OF_THE_STUDY else None
    if kind is None or kind.takes_list or is_there(text):
        return None
    try:
        values = parse_value(f"[{text}]", name)
    except ConfigError:
        return None  # told as a single value
    if not isinstance(values, list) or len(values) < 2:  # noqa: PLR2004 - several
        return None
    again = twice(values)
    if again is not None:
        raise ConfigError(f"{printable(name)}={printable(text)}: {printable(str(again))} is there twice")
    return values


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
