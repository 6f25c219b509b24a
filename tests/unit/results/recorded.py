"""What a revision of the file format is, written down beside its golden results so that a change of it is seen.

``python -m tests.unit.results.recorded`` writes the lists of the present revision anew. That is for a revision that no
version was published with; after that the revision is raised first.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llenergymeasure.domain.meaning.fields import FORMULAS
from llenergymeasure.domain.meaning.schema import classes_of
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult

GOLDEN = Path(__file__).parents[2] / "golden"


def fields() -> list[str]:
    """Every field of a result and of what is in it, with what it may hold."""
    schema = ExperimentResult.model_json_schema(mode="serialization")
    return sorted(
        f"{kind}.{name}: {shape(field)}"
        for kind, part in classes_of(schema).items()
        for name, field in part["properties"].items()
    )


def definitions() -> list[str]:
    """Every formula: its place, the revisions in which its versions came, and the text of the last."""
    return [
        f"{place} {formula.version} (revision {', '.join(map(str, formula.since))}): {formula.text}"
        for place, formula in sorted(FORMULAS.items())
    ]


def list_of(kind: str, revision: int = SCHEMA_REVISION) -> Path:
    """The file with the ``fields``, ``columns`` or ``definitions`` of a revision."""
    return GOLDEN / f"{kind}-of-revision-{revision}.txt"


def names_of_fields(revision: int) -> set[str]:
    """The names of the fields of a revision; before 5 nobody wrote down what they may hold."""
    return {line.partition(":")[0] for line in list_of("fields", revision).read_text(encoding="utf-8").splitlines()}


def hidden_changes(before: Mapping[str, tuple[int, str]], now: Mapping[str, tuple[int, str]]) -> list[str]:
    """Places whose formula is another one although its version is the same, or whose version went back or away."""
    changed = []
    for place, (version, text) in before.items():
        version_now, text_now = now.get(place, (0, ""))
        if version_now < version or (version_now == version and text_now != text):
            changed.append(place)
    return changed


def versions_of(lines: list[str]) -> dict[str, tuple[int, str]]:
    """Lines of ``definitions`` as {place: (version, formula)}."""
    found = {}
    for line in lines:
        head, _, text = line.partition(": ")
        place, version = head.split(" ")[:2]
        found[place] = (int(version), text)
    return found


def shape(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words: ``number | null``."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(map(shape, schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        items = [shape(item) for item in schema.get("prefixItems", [])] or [f"{shape(schema['items'])}, ..."]
        return f"[{', '.join(items)}]"
    if schema.get("type") == "object":
        inner = schema["additionalProperties"]
        return f"{{{'anything' if inner is True else shape(inner)}}}"
    return " ".join(_plain(schema)) or "anything"


def _plain(schema: Mapping[str, Any]) -> Iterator[str]:
    if "type" in schema:
        yield schema["type"]
    if "format" in schema:
        yield schema["format"]


if __name__ == "__main__":
    for name, lines in (("fields", fields()), ("definitions", definitions())):
        list_of(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
