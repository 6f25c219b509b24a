"""The JSON schema of ``result.json``, with what every field means."""

import re
from collections.abc import Iterator
from typing import Any

from llenergymeasure.domain.meaning.base import Meaning
from llenergymeasure.domain.meaning.fields import FIELDS, FORMULAS
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult

_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def result_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``result.json`` as this version writes it.

    Beside the keywords of the draft a property has ``description``, ``unit`` where it is a quantity, and, where it is
    worked out, ``formula`` and ``definition``, the version of that.
    """
    found = {"$schema": _DIALECT, **ExperimentResult.model_json_schema(mode="serialization")}
    for kind, schema in classes_of(found).items():
        # What is no field is not documented either.
        schema["additionalProperties"] = False
        schema["required"] = list(schema["properties"])
        for name, field in schema["properties"].items():
            field.pop("title", None)
            field.pop("default", None)
            field.update(_keywords(FIELDS[kind][name]))
    found["description"] = "One measured experiment."
    found["properties"]["schema_revision"]["const"] = SCHEMA_REVISION
    # A result of before that something was joined to keeps the versions that it was made with.
    versions = {
        place: {"type": "integer", "minimum": 1, "maximum": formula.version} for place, formula in FORMULAS.items()
    }
    found["properties"]["definitions"].update(properties=versions, additionalProperties=False)
    return found


def classes_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of a schema of results that have fields, by the names of their classes; the result is the first."""
    inner = {kind: part for kind, part in schema.get("$defs", {}).items() if "properties" in part}
    return {ExperimentResult.__name__: schema, **inner}


def places_of(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Where in a result its classes stand, by their names: ``{"Distribution": ["latency_stats.ttft_s", ...], ...}``."""
    classes, places = classes_of(schema), dict[str, list[str]]()
    open_ = [("", ExperimentResult.__name__)]
    while open_:
        place, kind = open_.pop(0)
        for name, field in classes[kind]["properties"].items():
            for inner in classes_in(field):
                places.setdefault(inner, []).append(f"{place}{name}")
                open_.append((f"{place}{name}.", inner))
    return places


def classes_in(field: Any) -> Iterator[str]:
    """The classes that the schema of a field refers to."""
    if isinstance(field, dict):
        if "$ref" in field:
            yield field["$ref"].rpartition("/")[2]
        field = list(field.values())
    if isinstance(field, list):
        for part in field:
            yield from classes_in(part)


def _keywords(meaning: Meaning) -> dict[str, Any]:
    keywords: dict[str, Any] = {"description": _without_links(meaning.text)}
    if meaning.unit:
        keywords["unit"] = meaning.unit
    if meaning.formula is not None:
        keywords |= {"formula": _without_links(meaning.formula.text), "definition": meaning.formula.version}
    return keywords


def _without_links(text: str) -> str:
    """A text for who has no page to click on: ``[its time](methodology.md#time)`` is ``its time``."""
    return _LINK.sub(
        r"\1", text.replace("[below]", "[docs/metrics.md]").replace("[methodology]", "[docs/methodology.md]")
    )
