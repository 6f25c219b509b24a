"""Combinations of a study's grammar that are not run, and why."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, JsonValue
from pydantic_core import to_jsonable_python

from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.reading.yaml_file import printable

_IN_WORDS = {"invalid": "cannot be", "excluded": "excluded", "equal": "equal to another"}


class LeftOut(ConfigModel):
    """A combination that the grammar names and the study does not run."""

    kind: Literal["invalid", "excluded", "equal"] = Field(
        description="invalid: it cannot be; excluded: the file says so; equal: it would be run like another."
    )
    settings: dict[str, JsonValue] = Field(description="What was varied in it, by dotted name.")
    reason: str = Field(min_length=1, description="Why it is not run.")
    equal_to: int | None = Field(
        default=None, ge=0, description="Index of the experiment it equals, from 0; null unless it equals one."
    )
    dormant: tuple[str, ...] = Field(
        default=(), description="Fields in which it differs from that one and that change nothing."
    )

    @property
    def in_words(self) -> str:
        """One line: its settings, and why it is left out."""
        settings = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in self.settings.items())
        return f"{settings or 'nothing varied'}: {self.reason}"


def counted(left_out: Sequence[LeftOut]) -> str:
    """How many of each kind, such as "3 (2 cannot be, 1 excluded)"."""
    kinds = [(sum(each.kind == kind for each in left_out), words) for kind, words in _IN_WORDS.items()]
    return f"{len(left_out)} ({', '.join(f'{n} {words}' for n, words in kinds if n)})"


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        try:
            found[name] = to_jsonable_python(value, fallback=str, inf_nan_mode="strings")
        except ValueError:  # a list that holds itself
            found[name] = printable(str(value))
    return found
