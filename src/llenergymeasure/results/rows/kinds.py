"""What a column or a setting may hold, by the table of columns and the models of the configuration."""

import functools
from typing import Literal

from llenergymeasure.config.introspection import field_constraints, field_kinds
from llenergymeasure.results.rows.columns import FIXED, SETTINGS
from llenergymeasure.results.rows.settings import NO_SETTINGS

# ``any``: it takes values of several kinds, or of one that needs no care; ``section``: it has settings inside.
Kind = Literal["number", "flag", "time", "section", "any"]

_PREFIX = "effective_config."
_OF_COLUMNS: dict[str, Kind] = {"integer": "number", "number": "number", "time": "time", "text": "any"}
_NUMBERS = {"integer", "number"}


def kind_of(name: str) -> Kind | None:
    """Of what kind the values under a name are; None for a name that only the rows can know.

    Such are the settings of other distributions' engines, and what an engine is handed through.
    """
    return _kinds().get(name)


def known_settings() -> tuple[str, ...]:
    """Every setting that the configuration of this version has, by the name that rows have it under."""
    fixed = {column.name for column in FIXED}
    return tuple(name for name, kind in _kinds().items() if name not in fixed and kind != "section")


@functools.cache
def _kinds() -> dict[str, Kind]:
    fixed = {column.name: _OF_COLUMNS[column.kind] for column in FIXED}
    shown_otherwise = {*NO_SETTINGS, *(column.name for column in SETTINGS)}
    choices = {name: {type(each) for each in rules.get("choices", ())} for name, rules in field_constraints().items()}
    found: dict[str, Kind] = {}
    for name, kinds in field_kinds().items():
        section, *inner = name.split(".")
        # How an experiment is carried out is in no result.
        if name in shown_otherwise or section == "execution":
            continue
        found[f"{_PREFIX}{name}" if name in fixed else name] = _kind(set(kinds), choices[name])
        above = section
        for part in inner:
            found.setdefault(above, "section")
            above = f"{above}.{part}"
    return found | fixed


def _kind(kinds: set[str], choices: set[type]) -> Kind:
    if kinds == {"mapping"}:
        return "section"
    if kinds <= _NUMBERS and choices <= {int, float}:
        return "number"
    return "flag" if kinds == {"true or false"} and not choices else "any"
