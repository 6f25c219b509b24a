"""A row of a table out of what a ``result.json`` has in it, without building the whole result.

Building and checking all of a result takes many times as long as reading its JSON; of thousands of files a table wants
a few dozen values each. What is taken here has the kind that its field has; a test holds that it is what the whole
result says.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from llenergymeasure.domain.energy.provenance import energy_origin, is_modelled
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import flag_of, validity_of_energy
from llenergymeasure.results.persistence import SCHEMA_VERSION, as_written, name_model_facts
from llenergymeasure.results.rows.columns import FIGURES, FIXED, SETTINGS, Value
from llenergymeasure.results.rows.settings import differing, flat_settings

# Columns by the object that they have their values in.
_SECTIONS = [
    (place, tuple(columns))
    for place, columns in groupby(
        sorted((c for c in (*SETTINGS, *FIGURES) if c.path), key=lambda c: c.path[:-1]), key=lambda c: c.path[:-1]
    )
]
# What a value of a kind is in JSON, where nothing has to be looked at.
_TYPES = {"text": str, "integer": int, "number": None, "time": None}
# Columns with yes or no, by where a file has true or false.
_ANSWERS = {"overloaded": ("load", "overload", "overloaded"), "slo_met": ("load", "slo", "met")}
_FIXED_NAMES = frozenset(column.name for column in FIXED)
_SETTING_NAMES = frozenset(column.name for column in SETTINGS)
_DEVICES = TypeAdapter(tuple[DeviceEnergy, ...])
_FIELDS_OF_A_DEVICE = frozenset(field.name for field in fields(DeviceEnergy))


class NoResultError(ValueError):
    """What was read is no result that this version can put into a table; says why."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One result in a table: values of ``SETTINGS`` and ``FIGURES`` by name, other settings, and its folder.

    ``digest`` is the SHA-256 of its file, None where it was read from none.
    """

    values: dict[str, Value]
    settings: dict[str, Any]
    folder: str | None
    digest: str | None = None


def row_of(result: ExperimentResult) -> ResultRow:
    """The row of a result, as if it were read from the file that it is written to."""
    return row_in(as_written(result), None if result.folder is None else str(result.folder))


def row_in(content: str | bytes, folder: str | None, digest: str | None = None) -> ResultRow:
    """The row of the result that a ``result.json`` has in it.

    Raises:
        NoResultError: it is torn, of another schema, or no result at all.
    """
    try:
        # What is the same in thousands of results is kept once.
        written = from_json(content, allow_inf_nan=False, cache_strings=True)
    except ValueError as error:
        raise NoResultError(f"this is no JSON: {error}") from None
    if not isinstance(written, dict):
        raise NoResultError(f"this is no result of schema {SCHEMA_VERSION}: it is no object")
    version = written.get("schema_version")
    if version != SCHEMA_VERSION:
        raise NoResultError(
            f"its schema_version is {version!r:.40}, and this version reads {SCHEMA_VERSION!r}; "
            "use the version of llenergymeasure that wrote it"
        )
    name_model_facts(written)
    values = _taken(written)
    values |= _about_the_energy(written, values)
    values["model_flops"] = _model_flops(written)
    values["gpus"] = _gpus(written)
    for name, place in _ANSWERS.items():
        values[name] = _yes_or_no(_section(written, place[:-1]).get(place[-1]), place)
    return ResultRow(values, settings_under_their_names(written["effective_config"]), folder, digest)


def settings_under_their_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a configuration that have no column of their own, by the names that rows have them under."""
    flat = flat_settings(config)
    for name in _FIXED_NAMES & flat.keys():
        value = flat.pop(name)
        if name not in _SETTING_NAMES:
            flat[f"effective_config.{name}"] = value
    return flat


def setting_columns(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of the settings that differ in [n] configurations, by the names that rows have them under."""
    names = (name for name in differing(configs) if name not in _SETTING_NAMES)
    return [f"effective_config.{name}" if name in _FIXED_NAMES else name for name in names]


def _taken(written: Mapping[str, Any]) -> dict[str, Value]:
    """The values that stand in the file as they are."""
    values: dict[str, Value] = {}
    for place, columns in _SECTIONS:
        section = _section(written, place)
        for column in columns:
            key = column.path[-1]
            value: Any = section.get(key)
            if value is None:
                if column.required:
                    raise _wrong(column.path, "is missing")
                value = column.default
            elif type(value) is not _TYPES[column.kind]:
                value = _CHECKS[column.kind](value, column.path)
            values[column.name] = value
    return values


def _section(written: Mapping[str, Any], place: Sequence[str]) -> Mapping[str, Any]:
    """The object in which columns have their values; an empty one where there is none."""
    section: Any = written
    for part in place:
        section = section.get(part)
        if section is None:
            return {}
        if type(section) is not dict:
            raise _wrong(place, "is no object")
    return section  # type: ignore[no-any-return]


def _as_text(value: object, path: Sequence[str]) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "is no text")
    return value


def _as_integer(value: object, path: Sequence[str]) -> int:
    if type(value) is not int:
        raise _wrong(path, "is no whole number")
    return value


def _as_number(value: object, path: Sequence[str]) -> float:
    if type(value) is not float and type(value) is not int:
        raise _wrong(path, "is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(path, "is no finite number")
    return number


def _as_time(value: object, path: Sequence[str]) -> str:
    try:
        found = datetime.fromisoformat(_as_text(value, path))
        # A time that is none in UTC, such as the first of all in the east, is none in a table.
        found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
        return found.isoformat()
    except (ValueError, OverflowError):
        raise _wrong(path, "is no time") from None


_CHECKS = {"text": _as_text, "integer": _as_integer, "number": _as_number, "time": _as_time}


def _wrong(path: Sequence[str], what: str) -> NoResultError:
    return NoResultError(f"this is no result of schema {SCHEMA_VERSION}: {'.'.join(path)}: it {what}")


def _about_the_energy(written: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Value]:
    """Where the joules come from and whether they may be cited, by the rules of the whole result."""
    devices = _devices(written.get("energy_devices"))
    said = written.get("measurement_warnings")
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise _wrong(("measurement_warnings",), "is no list of texts")
    total_j, sensor = values["total_energy_j"], values["energy_backend"]
    found = validity_of_energy(said, total_j, modelled=is_modelled(devices))
    return {
        **_interval(written.get("energy_interval_j")),
        "energy_origin": energy_origin(str(sensor) if total_j is not None and sensor is not None else None, devices),
        "validity": found.verdict,
        "validity_flags": "; ".join(found.decided_by),
        "warnings": "; ".join(map(flag_of, said)),
    }


def _devices(written: Any) -> tuple[DeviceEnergy, ...]:
    try:
        return _DEVICES.validate_python(written)
    except ValidationError:
        pass
    try:
        # A later revision may know more of a device.
        known = [{name: row[name] for name in row.keys() & _FIELDS_OF_A_DEVICE} for row in written]
        return _DEVICES.validate_python(known)
    except (ValidationError, TypeError, AttributeError):
        raise _wrong(("energy_devices",), "cannot be understood") from None


def _interval(written: Any) -> dict[str, Value]:
    names = ("energy_interval_low_j", "energy_interval_high_j")
    if written is None:
        return dict.fromkeys(names)
    if not isinstance(written, list) or len(written) != len(names):
        raise _wrong(("energy_interval_j",), "is no pair of numbers")
    return {name: _as_number(end, ("energy_interval_j",)) for name, end in zip(names, written, strict=True)}


def _yes_or_no(value: object, path: Sequence[str]) -> str | None:
    """A truth as people read it; None where it is not known."""
    if value is not None and not isinstance(value, bool):
        raise _wrong(path, "is neither true nor false")
    return None if value is None else "yes" if value else "no"


def _model_flops(written: Mapping[str, Any]) -> float | None:
    """What the model did in prefill and in decode; None where part of it is not known."""
    total = 0.0
    for phase in ("prefill", "decode"):
        place = ("flops_result", phase)
        terms = [_section(written, place).get(term) for term in ("linear", "attention", "head")]
        if None in terms:
            return None
        total += sum(_as_number(term, place) for term in terms)
    return total


def _gpus(written: Mapping[str, Any]) -> str | None:
    """The GPUs of the machine by name, such as ``2 x NVIDIA H200``; None where there are none."""
    environment = written.get("environment_snapshot")
    gpus = environment.get("gpus") if isinstance(environment, dict) else None
    if not gpus:
        return None
    try:
        names = [_as_text(gpu["name"], ("environment_snapshot", "gpus")) for gpu in gpus]
    except (TypeError, KeyError):
        raise _wrong(("environment_snapshot", "gpus"), "cannot be understood") from None
    each = {name: names.count(name) for name in dict.fromkeys(names)}
    return ", ".join(name if n == 1 else f"{n} x {name}" for name, n in each.items())
