"""Results of every shape, and raw results to aggregate."""

import types
import typing
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import strategies as st
from pydantic import BaseModel

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.testing import fake_process_result

T = TypeVar("T")

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: _JSON,
    str: st.text(max_size=8),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


def values_of(annotation: type[T]) -> st.SearchStrategy[T]:
    """Values of a type with every field of it filled in, numbers finite."""
    return _values_of(annotation)


def _values_of(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return st.sampled_from(arguments)
    inner = [_values_of(a) for a in arguments if a is not ...]
    if origin in (typing.Union, types.UnionType):
        return st.one_of(inner)
    if origin is dict:
        return st.dictionaries(inner[0], inner[1], max_size=2)
    if origin is list or ... in arguments:
        return st.lists(inner[0], max_size=2).map(origin)
    if origin is tuple:
        return st.tuples(*inner)
    known = is_dataclass(annotation) or issubclass(annotation, BaseModel) or hasattr(annotation, "_fields")
    assert known, annotation
    hints = typing.get_type_hints(annotation)
    hints.pop("model_config", None)
    fields = {
        name: hint
        for name, hint in hints.items()
        if typing.get_origin(hint) is not typing.ClassVar and not name.startswith("_")
    }
    return st.builds(annotation, **{name: _values_of(hint) for name, hint in fields.items()})


@pytest.fixture
def raw_of() -> Callable[..., RawProcessResult]:
    """Makes the raw result of one process of one experiment, with the fields given."""
    plan = ExperimentPlan.of(ExperimentConfig(model="a/model"))

    def make(**fields: Any) -> RawProcessResult:
        return fake_process_result(plan).model_copy(update=fields)

    return make


@pytest.fixture
def result(raw_of: Callable[..., RawProcessResult]) -> ExperimentResult:
    """A small result without energy."""
    return ExperimentResult.from_processes([raw_of()])
