"""Which settings two saved runs differ in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    a, b = load_result(first), load_result(second)
    ours, theirs = (
        dict(_flat(r.effective_config)) | {name: getattr(r, name) for name in _WEIGHTS if getattr(r, name) is not None}
        for r in (a, b)
    )
    return [
        SettingDifference(name=name, first=ours.get(name), second=theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
        if name not in _NO_SETTINGS and not _same(ours.get(name), theirs.get(name))
    ]


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names with their values."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _same(ours: object, theirs: object) -> bool:
    """Whether two settings are; in Python true would be 1."""
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)
