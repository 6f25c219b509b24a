"""The settings of a run by their dotted names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llenergymeasure.config.engines import ENGINE_SECTIONS

# Where a result lies and what it is called changes nothing in it.
NO_SETTINGS = ("name", "output_dir")


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says, without names and places: {dotted name: value}, a list being one value."""
    flat: dict[str, Any] = {}
    _flatten(config, "", flat)
    for name in NO_SETTINGS:
        flat.pop(name, None)
    return flat


def _flatten(section: Mapping[str, Any], prefix: str, into: dict[str, Any]) -> None:
    for name, value in section.items():
        if type(value) is dict:
            _flatten(value, f"{prefix}{name}.", into)
        else:
            into[prefix + name] = value


def same(ours: object, theirs: object) -> bool:
    """Whether two settings are the same; in Python true would be 1."""
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


def differing(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The dotted names of the settings that are not the same in [n] configurations, in the order of their fields.

    One that is not there and one that is null are alike: not set.
    """
    base: dict[str, Any] | None = None
    names: dict[str, bool] = {}
    for config in configs:
        flat = flat_settings(config)
        base = flat if base is None else base
        for name in dict.fromkeys([*base, *flat]):
            names[name] = names.get(name, False) or not same(base.get(name), flat.get(name))
    return [name for name, differs in names.items() if differs]


def telling(names: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names without fields of an engine that differ only because other engines have no such field.

    These are of an engine's section, and have their default wherever that engine is used.

    Args:
        names: dotted names of settings that differ.
        configs: [n] configurations by these names; a setting that is not there is not set.
    """
    return [name for name in names if not _is_a_default(name, configs)]


def following_from_engine(names: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Of each engine, the names of its fields that are the same wherever it is used, beside other engines.

    A row that says its engine says these too.

    Args:
        names: dotted names of settings that differ.
        configs: [n] configurations by these names; a setting that is not there is not set.
    """
    found: dict[str, list[str]] = {}
    if "backend" not in names:
        return found
    for name in names:
        engine, _, field = name.partition(".")
        section = ENGINE_SECTIONS.get(engine)
        if section is None or field not in section.model_fields:
            continue
        values = [config.get(name) for config in configs if config.get("backend") == engine]
        if values and all(same(value, values[0]) for value in values):
            found.setdefault(engine, []).append(name)
    return found


def shortened(names: Sequence[str]) -> list[str]:
    """The last part of each dotted name, where no other ends so."""
    ends = [name.rpartition(".")[2] for name in names]
    return [end if ends.count(end) == 1 else name for name, end in zip(names, ends, strict=True)]


def _is_a_default(name: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    engine, _, field = name.partition(".")
    section = ENGINE_SECTIONS.get(engine)
    if section is None or field not in section.model_fields:
        return False
    default = section.model_fields[field].default
    used = [config for config in configs if config.get("backend") == engine]
    return bool(used) and all(same(config.get(name), default) for config in used)
