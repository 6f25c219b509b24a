"""Which settings two runs differ in."""

from dataclasses import dataclass
from typing import Any

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.rows.settings import flat_settings, same

_WEIGHTS = ("model_revision", "weights_digest", "adapter_digest", "draft_digest")


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A setting by its dotted name, and what each run has; None is not set."""

    name: str
    first: Any
    second: Any


def differing_settings(first: ExperimentResult, second: ExperimentResult) -> list[SettingDifference]:
    """Settings of two runs that are not the same, in the order of the configuration; then their weights."""
    ours, theirs = settings_of(first), settings_of(second)
    return [
        SettingDifference(name=name, first=ours.get(name), second=theirs.get(name))
        for name in dict.fromkeys([*ours, *theirs])
        if not same(ours.get(name), theirs.get(name))
    ]


def settings_of(result: ExperimentResult) -> dict[str, Any]:
    """The settings of a run by their dotted names, in the order of the configuration; then its weights."""
    weights = {name: getattr(result, name) for name in _WEIGHTS if getattr(result, name) is not None}
    return flat_settings(result.effective_config) | weights
