"""A configuration as it is used: the home directory and the values of variables in the place of their names.

What is kept, hashed and shown are the names; this copy lives where a library takes it, and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from llenergymeasure._paths import is_there
from llenergymeasure._secrets import MissingVariablesError, put_in_place
from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.names.paths import is_of_paths, names_paths, put_on_disk
from llenergymeasure.exceptions import PreFlightError

_Model = TypeVar("_Model", bound=ConfigModel)


def in_use(config: _Model) -> _Model:
    """The configuration with variables put in place, and ``~`` in paths.

    Raises:
        PreFlightError: variables are not set; one line for each field that names some.
    """
    use = _Use()
    copy = use.of_model(config)
    if use.problems:
        raise PreFlightError("\n".join(use.problems))
    return copy


def path_in_use(path: Path, called: str) -> Path:
    """A path with variables and ``~`` put in place.

    Args:
        path: as it is given or kept.
        called: what an error calls it.

    Raises:
        PreFlightError: a variable is not set.
    """
    use = _Use()
    found: Path = use.of_value(path, called, is_path=True)
    if use.problems:
        raise PreFlightError("\n".join(use.problems))
    return found


def relative_in(config: ConfigModel) -> list[str]:
    """Paths of a configuration that are found from the working directory on, and are there; not that of its results.

    Raises:
        PreFlightError: as ``in_use``.
    """
    found = _Relative()
    found.of_model(in_use(config))
    return found.names


@dataclass
class _Use:
    """Puts values in place and keeps what is missing."""

    problems: list[str] = field(default_factory=list)

    def of_model(self, model: _Model, location: str = "") -> _Model:
        changed = dict(self._changed(model, location))
        return model.model_copy(update=changed) if changed else model

    def _changed(self, model: ConfigModel, location: str) -> Iterator[tuple[str, Any]]:
        for name in type(model).model_fields:
            value = getattr(model, name)
            used = self.of_value(value, f"{location}{name}", is_of_paths(type(model), name))
            if used is not value:
                yield name, used

    def of_value(self, value: Any, location: str, is_path: bool) -> Any:
        """The value as it is used, where its texts are paths or not; itself where nothing in it is a name."""
        if isinstance(value, ConfigModel):
            return self.of_model(value, f"{location}.")
        if isinstance(value, str | Path):
            return self._of_text(value, location, is_path)
        if isinstance(value, dict):
            items = {k: self.of_value(v, f"{location}.{k}", is_path or names_paths(k)) for k, v in value.items()}
            return items if any(items[key] is not value[key] for key in value) else value
        if isinstance(value, list | tuple):
            parts = [self.of_value(inner, f"{location}.{index}", is_path) for index, inner in enumerate(value)]
            return type(value)(parts) if any(a is not b for a, b in zip(parts, value, strict=True)) else value
        return value

    def _of_text(self, value: str | Path, location: str, is_path: bool) -> Any:
        try:
            text = put_in_place(str(value))
        except MissingVariablesError as error:
            names = ", ".join(f"${{{name}}}" for name in error.names)
            self.problems.append(f"{location}: {names} is named and not set; export it before the run")
            return value
        used = put_on_disk(type(value)(text) if isinstance(value, Path) else text, is_path)
        return value if used == value else used


@dataclass
class _Relative(_Use):
    """Puts nothing in place and keeps which paths are relative."""

    names: list[str] = field(default_factory=list)

    def _of_text(self, value: str | Path, location: str, is_path: bool) -> Any:
        text = str(value)
        if is_path and location != "output_dir" and not Path(text).is_absolute() and is_there(text):
            self.names.append(text)
        return value
