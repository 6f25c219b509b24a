"""Read configuration files, and say where in the file an error is.

Wrong keys, or a file that is no configuration at all, are one ``ConfigError`` with a line
``file:line: field: what is wrong`` for every error, wrong values included. Right keys with
wrong values let pydantic's ``ValidationError`` through, with the same lines as notes.
"""

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig, StudyConfig
from llenergymeasure.exceptions import ConfigError

_Model = TypeVar("_Model", ExperimentConfig, StudyConfig)
_MAX_FILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class ConfigFile:
    """A parsed file: its values, and the line of each of them."""

    path: Path
    values: dict[str, Any]
    lines: Mapping[tuple[str | int, ...], int]

    @property
    def is_study(self) -> bool:
        """Whether the file lists experiments."""
        return "experiments" in self.values

    def line_of(self, location: Sequence[str | int]) -> int:
        """The line of a field, or of the nearest thing around it that the file has."""
        for length in range(len(location), -1, -1):
            line = self.lines.get(tuple(location[:length]))
            if line is not None:
                return line
        return 1


def load_experiment_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """The experiment in a YAML file.

    Args:
        path: the file.
        overrides: fields that win over the file; a nested mapping changes only what it names.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = read_config_file(path)
    if file.is_study:
        raise ConfigError(f"{file.path}: this is a study (it has 'experiments:'); run it with run_study")
    return _validate(file, ExperimentConfig, merged(file.values, overrides or {}))


def load_study_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study in a YAML file; overrides go into each of its experiments.

    Raises:
        ConfigError: as for an experiment, or the file is a single experiment.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = read_config_file(path)
    if not file.is_study:
        raise ConfigError(f"{file.path}:1: experiments: a study needs a list of experiments; this file has none")
    values = dict(file.values)
    if overrides and isinstance(values["experiments"], list):
        values["experiments"] = [
            merged(item, overrides) if isinstance(item, dict) else item for item in values["experiments"]
        ]
    return _validate(file, StudyConfig, values)


def read_config_file(path: str | Path) -> ConfigFile:
    """Parse a YAML file with the line of every value.

    Raises:
        ConfigError: missing, unreadable, too large, not YAML, or not a mapping.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: this is not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}:1: this is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict) or root is None:
        found = "empty" if values is None else f"a {type(values).__name__}"
        raise ConfigError(f"{path}:1: a configuration is a mapping of fields, this file is {found}")
    lines: dict[tuple[str | int, ...], int] = {}
    _collect_lines(root, (), lines, set())
    return ConfigFile(path, values, lines)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, section by section."""
    result = dict(base)
    for key, given in over.items():
        value = given
        below = result.get(key)
        if key == "dataset" and isinstance(below, str):
            below = DatasetConfig.from_shorthand(below)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(below, value)
        result[key] = value
    return result


def error_lines(error: ValidationError, file: ConfigFile | None = None) -> list[str]:
    """One line per error: ``file:line: field: what is wrong``; without a file no place."""
    model = StudyConfig if error.title == "StudyConfig" else ExperimentConfig
    return [_error_line(detail, model, file) for detail in error.errors(include_url=False)]


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint naming the closest known word, or all of them when none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _validate(file: ConfigFile, model: type[_Model], values: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = error_lines(error, file)
        if any(detail["type"] == "extra_forbidden" for detail in error.errors()):
            raise ConfigError("\n".join(lines)) from None
        for line in lines:
            error.add_note(line)
        raise


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(f"{path}: too large for a configuration (over {_MAX_FILE_BYTES // 2**20} MiB)")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}:1: this is not a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None


def _collect_lines(
    node: yaml.Node,
    location: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
    above: set[int],
) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if id(node) in above:  # an anchor that contains itself
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*location, str(key.value))
            lines[below] = key.start_mark.line + 1
            _collect_lines(value, below, lines, above | {id(node)})
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*location, index), lines, above | {id(node)})


def _error_line(detail: ErrorDetails, model: type[BaseModel], file: ConfigFile | None) -> str:
    location = detail["loc"]
    field = ".".join(str(part) for part in location) or "configuration"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = f"unknown key; {nearest(str(location[-1]), _known_keys(model, location[:-1]))}"
    elif detail["type"] != "missing" and not isinstance(detail["input"], dict | BaseModel):
        message = f"{message}, got {detail['input']!r}"
    place = f"{file.path}:{file.line_of(location)}: " if file else ""
    return f"{place}{field}: {message}"


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _model_in(field.annotation) if field else None
    return list(current.model_fields) if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list):
        return next((m for m in map(_model_in, typing.get_args(annotation)) if m), None)
    return None
