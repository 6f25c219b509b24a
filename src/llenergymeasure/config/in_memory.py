"""Prompts that are given in Python as a list: a configuration knows them by number and digest, a file has them."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from llenergymeasure._paths import HALF_A_CHARACTER, shortened
from llenergymeasure.exceptions import first_line

# What is kept and hashed of them; a file has them as "prompts-", so many digits of the digest, and ".jsonl".
_KEPT = ("n", "sha256")
_DIGITS_IN_A_NAME = 16
_DIGEST = re.compile(r"[0-9a-f]{64}")
ONLY_IN_PYTHON = (
    'a list of prompts can be given in Python only; write them into a file with a line {"prompt": "..."} for each, '
    "and give its path, such as ./prompts.jsonl; several datasets that are to be compared stand under 'sweep:'"
)


class PromptsInMemory:
    """``n`` prompts, by the SHA-256 of them as JSON lines, in hex.

    ``content`` are these lines, None where only the digest is known; ``file`` is a file that has them. ``problem`` says
    why they can be no prompts. None of the three is part of what the prompts are, nor is it kept.
    """

    # No dataclass, which pydantic would write out with all its prompts.
    __slots__ = ("content", "file", "n", "problem", "sha256")

    def __init__(
        self,
        n: int,
        sha256: str,
        content: bytes | None = None,
        file: Path | None = None,
        problem: str | None = None,
    ) -> None:
        """Prompts that are known already; ``of`` takes a list."""
        self.n, self.sha256, self.content, self.file, self.problem = n, sha256, content, file, problem

    @classmethod
    def of(cls, rows: Sequence[Any]) -> "PromptsInMemory":
        """The prompts of a list: texts, or mappings such as a line of a JSONL file has.

        In which order a mapping has its keys makes no difference, nor do those of its messages; tool calls are kept as
        they are, for a template shows them so.
        """
        try:
            lines = [_line(row, number) for number, row in enumerate(rows, 1)]
            if not lines:
                raise ValueError("this list is empty; give one prompt at least")
        except ValueError as error:
            return cls(0, "", problem=str(error))
        content = "".join(lines).encode()
        return cls(len(lines), hashlib.sha256(content).hexdigest(), content)

    @property
    def file_name(self) -> str:
        """What a file of them is called."""
        return f"prompts-{self.sha256[:_DIGITS_IN_A_NAME]}.jsonl"

    def lying_at(self, file: Path) -> "PromptsInMemory":
        """The same prompts, where others find them."""
        return PromptsInMemory(self.n, self.sha256, self.content, file, self.problem)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same prompts."""
        return isinstance(other, PromptsInMemory) and (self.n, self.sha256) == (other.n, other.sha256)

    def __hash__(self) -> int:
        """Of the digest."""
        return hash((self.n, self.sha256))

    def __repr__(self) -> str:
        """Nothing of what stands in them."""
        return f"prompts in memory ({self.n}, SHA-256 {self.sha256[:_DIGITS_IN_A_NAME]})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Written as JSON they are number and digest, and the file where they lie for a process that is to run them."""
        return core_schema.no_info_plain_validator_function(
            cls._taken,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._as_json, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors: what a result has."""
        kinds = {"n": {"type": "integer", "minimum": 1}, "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}
        return {"type": "object", "properties": kinds, "required": list(_KEPT), "additionalProperties": False}

    @classmethod
    def _taken(cls, value: Any) -> "PromptsInMemory":
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(ONLY_IN_PYTHON)
        n, sha256, file = value.get("n"), value.get("sha256"), value.get("file")
        if (
            not (isinstance(n, int) and not isinstance(n, bool) and n >= 1)
            or not (isinstance(sha256, str) and _DIGEST.fullmatch(sha256))
            or not isinstance(file, str | None)
            or value.keys() - {*_KEPT, "file"}
        ):
            raise ValueError("of prompts in memory a file has n and sha256, as a result has them, and nothing else")
        return cls(n, sha256, file=None if file is None else Path(file))

    def _as_json(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in _KEPT}
        return kept if self.file is None else {**kept, "file": shortened(str(self.file))}


def as_kept(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset as plain values without the place of prompts from memory; where they are not given, without a word."""
    values = dict(dataset)
    prompts = values.pop("in_memory", None)
    return values if prompts is None else {**values, "in_memory": {name: prompts[name] for name in _KEPT}}


def taken_in(fields: Any) -> Any:
    """Fields of an experiment in which a list of prompts is what it is known by; anything else as it is."""
    if not isinstance(fields, Mapping) or "dataset" not in fields:
        return fields
    dataset = taken_from(fields["dataset"])
    return fields if dataset is fields["dataset"] else {**fields, "dataset": dataset}


def taken_from(dataset: Any) -> Any:
    """A dataset, given as a list of prompts or with one in it, as its full form; anything else as it is."""
    if isinstance(dataset, list | tuple):
        return {"in_memory": PromptsInMemory.of(dataset)}
    if isinstance(dataset, Mapping) and isinstance(dataset.get("in_memory"), list | tuple):
        return {**dataset, "in_memory": PromptsInMemory.of(dataset["in_memory"])}
    return dataset


def taken_in_study(fields: Any) -> Any:
    """The same of a study in the grammar of a file: of what its experiments share, of each of them, of what varies."""
    fields = taken_in(fields)
    if not isinstance(fields, Mapping):
        return fields
    found = dict(fields)
    if isinstance(fields.get("experiments"), list | tuple):
        found["experiments"] = [taken_in(each) for each in fields["experiments"]]
    for name in {"sweep", "zip"} & fields.keys():
        given = fields[name]
        found[name] = [_taken_in_axes(each) for each in given] if isinstance(given, list) else _taken_in_axes(given)
    return found


def _taken_in_axes(axes: Any) -> Any:
    """Lists of values by field, in which each list of prompts is what it is known by."""
    values = axes.get("dataset") if isinstance(axes, Mapping) else None
    return {**axes, "dataset": [taken_from(each) for each in values]} if isinstance(values, list | tuple) else axes


def lists_in(fields: Mapping[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Where lists of prompts stand in the fields of an experiment or a study."""
    if taken_in(fields) is not fields:
        yield ("dataset",)
    experiments = fields.get("experiments")
    for number, each in enumerate(experiments if isinstance(experiments, list | tuple) else ()):
        if taken_in(each) is not each:
            yield ("experiments", number, "dataset")
    zipped = fields.get("zip")
    groups = [(("zip", number), each) for number, each in enumerate(zipped)] if isinstance(zipped, list) else []
    for at, group in ((("sweep",), fields.get("sweep")), (("zip",), zipped), *groups):
        varied = group.get("dataset") if isinstance(group, Mapping) else None
        if isinstance(varied, list | tuple) and any(taken_from(each) is not each for each in varied):
            yield (*at, "dataset")


def _line(row: Any, number: int) -> str:
    """A row as a line of a file.

    Raises:
        ValueError: it can be none.
    """
    given = {"prompt": row} if isinstance(row, str) else row
    if not isinstance(given, Mapping):
        raise ValueError(
            f'row {number}: a prompt is a text, or a mapping such as {{"prompt": "..."}} or {{"messages": [...]}}; '
            f"this is of type {type(row).__name__}"
        )
    try:
        text = json.dumps({name: _sorted_within(given[name]) for name in sorted(given, key=str)}, ensure_ascii=False,
                          allow_nan=False)  # fmt: skip
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"row {number}: {HALF_A_CHARACTER}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"row {number}: it holds what JSON does not have: {first_line(error)}") from None
    return f"{text}\n"


def _sorted_within(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    return [
        {name: each[name] for name in sorted(each, key=str)} if isinstance(each, Mapping) else each for each in value
    ]
