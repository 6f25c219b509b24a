"""Which settings two saved runs differ in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.results.persistence import load_result

# Where a result lies and what it is called changes nothing in it.
_NO_SETTINGS = ("name", "output_dir")
_WEIGHTS = ("model_revision", "weights_digest", "adapter_digest", "draft_digest")


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A setting by its dotted name, and what each run has; None is not set."""

    name: str
    first: Any
    second: Any


def differing_settings(first: Path, second: Path) -> list[SettingDifference]:
    """Settings of two saved runs that are not the same, in the order of the configuration; then their weights.

    Args:
        first: folder of a run, or its ``result.json``; of a study the folder of one of its experiments.
        second: the same of the other run.

    Raises:
        ConfigError: a run cannot be read.
    """
    ours, theirs = settings_of(load_result(first)), settings_of(load_result(second))
    return [
        SettingDifference(name=name, first=ours.get(name), second=theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
        if not is_same(ours.get(name), theirs.get(name))
    ]


def settings_of(result: ExperimentResult) -> dict[str, Any]:
    """The settings of a run by their dotted names, in the order of the configuration; then its weights."""
    settings = {name: value for name, value in _flat(result.effective_config) if name not in _NO_SETTINGS}
    return settings | {name: getattr(result, name) for name in _WEIGHTS if getattr(result, name) is not None}


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names with their values."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def is_same(ours: object, theirs: object) -> bool:
    """Whether two settings are; in Python true would be 1."""
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)
