"""Telling a study from a single experiment, and from what is neither."""

from collections.abc import Mapping
from typing import Any

from llenergymeasure.config.base import closest
from llenergymeasure.config.execution import ExecutionConfig, StudyExecutionConfig
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.fields import keys_of
from llenergymeasure.config.sweep.keys import Key, kind_of

# The keys of a file that make it a study.
GRAMMAR = ("sweep", "zip", "experiments", "exclude")
# What jobs are made for is a study, also where nothing varies.
_OF_JOBS = "cluster"
# Of ``execution``, what only a study has.
_OF_STUDIES = frozenset(StudyExecutionConfig.model_fields) - frozenset(ExecutionConfig.model_fields)
# What other tools call it.
_CALLED_ELSEWHERE = frozenset({"grid", "matrix", "parameters", "params", "configurations", "configs", "runs", "vary"})
WHAT_A_STUDY_IS = """\
a study has fields that its experiments share, and beside them what varies:
  model: smollm2-135m
  sweep:
    precision: [fp32, bf16]
    pytorch.batch_size: [1, 4, 16]
or 'experiments:', a list of mappings, one for each experiment (docs/studies.md)"""


def is_study(values: Mapping[str, Any]) -> str | None:
    """What makes these fields those of a study, by its key; None where they are those of a single experiment."""
    found = next((key for key in (*GRAMMAR, _OF_JOBS) if key in values), None)
    execution = values.get("execution")
    if found is None and isinstance(execution, Mapping):
        found = next((f"execution.{key}" for key in execution if key in _OF_STUDIES), None)
    return found


def seems_a_study(values: Mapping[str, Any]) -> bool:
    """Whether fields that are wrong for an experiment were meant as a study: lists for values, words like ours."""
    return any(meant_by(name) is not None for name in values) or has_list_for_value(values)


def meant_by(name: str) -> str | None:
    """The key of a study that an unknown one was meant for."""
    if name in keys_of(ExperimentConfig) or name in GRAMMAR or kind_of((name,)) is not None:
        return None
    return "sweep" if name.lower() in _CALLED_ELSEWHERE else closest(name.lower(), GRAMMAR)


def has_list_for_value(values: Any, above: Key = ()) -> bool:
    """Whether a field that takes a single value has a list of several."""
    if not isinstance(values, Mapping):
        return False
    for name, value in values.items():
        if not isinstance(value, list | Mapping):
            continue
        kind = kind_of((*above, str(name)))
        if kind is None:
            continue
        if kind.is_section and has_list_for_value(value, (*above, str(name))):
            return True
        if isinstance(value, list) and len(value) > 1 and not (kind.takes_list or kind.takes_mapping):
            return not kind.is_section and all(isinstance(each, str | int | float) for each in value)
    return False
