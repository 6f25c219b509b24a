"""Where settings come from beside the experiment's own file: the user's file and the environment."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from llenergymeasure._paths import expanded
from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import validated
from llenergymeasure.config.reading.settings import nested
from llenergymeasure.config.reading.user_file import FootprintConfig, SectionOfAnotherEngine, UserConfig
from llenergymeasure.config.reading.yaml_file import ConfigFile, Location, read_config_file
from llenergymeasure.exceptions import ConfigError

PREFIX = "LLEM_"
_SEPARATOR = "__"
# What the user's file and variables may have beside the fields of an experiment.
_FOOTPRINT, _ENGINES = "footprint", "engines"
# With which variables begin that name the Python of an engine.
ENGINE_VARIABLES = f"{PREFIX}ENGINES{_SEPARATOR}"
_INTENSITIES = ("intensity_g_per_kwh", "country")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Settings from one place, as nested fields of an experiment, with where each was given.

    An ``ambient`` one was not written for the experiment at hand, so what it says of other engines does not concern
    it. ``of_the_file`` are the fields of an experiment or a study in the file that is loaded.
    """

    values: Mapping[str, Any]
    place: Callable[[Location], str]
    ambient: bool = False
    of_the_file: bool = False

    def gives(self, location: Location) -> bool:
        """Whether it sets this field, or a value in place of the section around it."""
        here: Any = self.values
        for part in location:
            if isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            elif not isinstance(here, Mapping):
                return True
            elif part in here:
                here = here[part]
            else:
                return False
        return bool(location)

    def without(self, fields: Iterable[str]) -> Mapping[str, Any]:
        """Its settings except for these fields."""
        left_out = set(fields)
        return {name: value for name, value in self.values.items() if name not in left_out}


def user_file_path() -> Path:
    """Where the user's defaults are looked for: ``~/.config/llenergymeasure/config.yaml`` on Linux."""
    return platformdirs.user_config_path("llenergymeasure") / "config.yaml"


def footprint_terms(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> FootprintConfig:
    """What carbon and cost are worked out with: flags over variables (``LLEM_FOOTPRINT__PUE``) over the user's file.

    An intensity takes the place of a country that was given further below, and a country that of an intensity.

    Args:
        flags: fields that were given on the command line.
        environ: variables; None is the process's own.

    Raises:
        ConfigError: the user's file or the variables have unknown keys, or cannot be read.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = _user_file(user_file_path())
    variables, place_of_variable = _variables(environ)
    layers = [
        Source(values={}, place=nowhere) if file is None else _footprint(file.values, file_place(file)),
        _footprint(variables, place_of_variable),
        Source(values=flags, place=lambda _: "command line"),
    ]
    values: dict[str, Any] = {}
    for layer in layers:
        if any(layer.values.get(name) is not None for name in _INTENSITIES):
            values = {name: value for name, value in values.items() if name not in _INTENSITIES}
        values |= layer.values

    def place(location: Location) -> str:
        return next((layer.place(location) for layer in reversed(layers) if layer.gives(location)), "")

    return validated(FootprintConfig, values, place)


def engine_pythons(environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """The Python of each engine that lives in an environment of its own, by the engine's name.

    Variables (``LLEM_ENGINES__VLLM__PYTHON``) win over the user's file. It is a matter of the machine and of no
    experiment, so what is run from Python reads it too.

    Args:
        environ: variables; None is the process's own.

    Raises:
        ConfigError: the user's file or the variables have unknown keys, or cannot be read.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = _user_file(user_file_path())
    variables, place = _variables(environ)
    section = variables.get(_ENGINES)
    validated(UserConfig, {} if section is None else {_ENGINES: section}, place)
    values = {**({} if file is None else file.values.get(_ENGINES) or {}), **(section or {})}
    found = UserConfig.model_validate({_ENGINES: values}).engines
    return {name: expanded(each.python) for name, each in found.items()}


def _footprint(values: Mapping[str, Any], place: Callable[[Location], str]) -> Source:
    """The section about carbon and cost, from a file or variables, looked at for what is wrong with it alone."""

    def inside(location: Location) -> str:
        return place((_FOOTPRINT, *location))

    section = values.get(_FOOTPRINT)
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{inside(())}: {_FOOTPRINT}: this is a section; give its fields, such as pue")
    validated(FootprintConfig, section or {}, inside)
    return Source(values=section or {}, place=inside)


def _user_file(path: Path) -> ConfigFile | None:
    """The user's file, with nothing wrong in it; None where there is none."""
    if not os.path.lexists(path):
        return None
    file = read_config_file(path, may_be_empty=True)
    validated(UserConfig, file.values, file_place(file))
    return file


def user_source(path: Path | None = None) -> Source:
    """The user's defaults; empty when there is no such file.

    Raises:
        ConfigError: the file cannot be read, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    path = user_file_path() if path is None else path
    file = _user_file(path)
    if file is None:
        return Source(values={}, place=lambda _: str(path), ambient=True)
    given = {section: fields for section, fields in file.values.items() if fields is not None}
    values = {**given.get("measurement", {}), "execution": given.get("execution", {})}
    directory = given.get("output", {}).get("dir")
    if directory is not None:
        values["output_dir"] = directory

    def place(location: Location) -> str:
        inside = ("output", "dir") if location[:1] == ("output_dir",) else ("measurement", *location)
        return file_place(file)(location if location[:1] == ("execution",) else inside)

    return Source(values=values, place=place, ambient=True)


def nowhere(_: Location) -> str:
    """The place of what was given in no file and by no variable: nothing to show."""
    return ""


def environment_source(environ: Mapping[str, str] | None = None) -> Source:
    """The variables ``LLEM_FIELD`` and ``LLEM_SECTION__FIELD``, their values read as YAML; empty ones are unset.

    Raises:
        ConfigError: a value cannot be read, a field is given twice or both whole and in parts, or a key of an engine's
            section or of ``execution`` is unknown.
        ValidationError: a value there is wrong; notes say where.
    """
    values, place = _variables(environ)
    # The parts that a single experiment leaves aside would otherwise never be looked at.
    aside = {name: value for name, value in values.items() if name == "execution" or registry.is_section(name)}
    validated(SectionOfAnotherEngine, aside, place)
    _footprint(values, place)
    of_the_machine = (_FOOTPRINT, _ENGINES)
    return Source(
        values={name: value for name, value in values.items() if name not in of_the_machine}, place=place, ambient=True
    )


def _variables(environ: Mapping[str, str] | None) -> tuple[dict[str, Any], Callable[[Location], str]]:
    """What the variables set, as nested fields, and where each of them was given."""
    environ = os.environ if environ is None else environ
    given: dict[tuple[str, ...], tuple[str, str]] = {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and text.strip():
            path = tuple(name.removeprefix(PREFIX).lower().split(_SEPARATOR))
            if path in given:
                raise ConfigError(f"{given[path][0]} and {name} set the same field; unset one of them")
            given[path] = (name, text)

    def place(location: Location) -> str:
        parts = tuple(map(str, location))
        found = [path for path in given if path[: len(parts)] == parts or parts[: len(path)] == path]
        return " and ".join(sorted(given[path][0] for path in found)) or "environment"

    return nested((name, path, text) for path, (name, text) in sorted(given.items())), place


def file_place(file: ConfigFile) -> Callable[[Location], str]:
    """Gives ``file:line`` of a field."""
    return lambda location: f"{file.path}:{file.line_of(location)}"
