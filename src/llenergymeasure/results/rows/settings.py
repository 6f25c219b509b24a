"""The settings of a run by their dotted names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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


def telling(names: Iterable[str], flat: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of some settings that tell [n] configurations apart, which ``flat`` has by their dotted names.

    Configurations of two engines differ in every field of their sections. One that is the same wherever its engine runs
    says no more than the engine's name does.
    """

    def tells(name: str) -> bool:
        engine = name.partition(".")[0]
        values = [config.get(name) for config in flat if config.get("backend") == engine]
        return not values or any(not same(values[0], other) for other in values)

    return [name for name in names if tells(name)]


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
