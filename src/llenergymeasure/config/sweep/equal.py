"""Configurations that would be run alike, of which one is run."""

from collections.abc import Mapping, Sequence
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.sweep.left_out import LeftOut, plain


def distinct(
    given: Sequence[tuple[ExperimentConfig, Mapping[str, Any]]],
) -> tuple[list[ExperimentConfig], list[LeftOut]]:
    """The configurations that are run, each once, and those that would be run like one of them.

    Args:
        given: configurations, each with what was varied in it.
    """
    experiments: list[ExperimentConfig] = []
    first: dict[str, int] = {}
    equal = []
    for config, settings in given:
        index = first.setdefault(config.awake(), len(experiments))
        if index == len(experiments):
            experiments.append(config)
        else:
            equal.append(_equal(experiments[index], config, index, settings))
    return experiments, equal


def _equal(first: ExperimentConfig, second: ExperimentConfig, index: int, settings: Mapping[str, Any]) -> LeftOut:
    asleep = second.dormant_fields() | first.dormant_fields()
    differing = {name: why for name, why in asleep.items() if _value(first, name) != _value(second, name)}
    reasons = [f"{name} changes nothing: {why}" for name, why in differing.items()]
    if not reasons:
        reasons = ["they differ in nothing that is measured; execution.cycles runs one several times"]
    return LeftOut(
        kind="equal",
        settings=plain(settings),
        reason=f"it would be run like experiment {index + 1}: {'; '.join(reasons)}",
        equal_to=index,
        dormant=tuple(differing),
    )


def _value(config: ExperimentConfig, name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def flat(fields: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested fields by dotted name."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found
