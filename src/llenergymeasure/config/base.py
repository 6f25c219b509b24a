"""The base of all configuration models."""

import difflib
import functools
import json
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from llenergymeasure.config.names.paths import is_of_paths, kept
from llenergymeasure.config.names.secrets import Place, literal_secrets, without
from llenergymeasure.exceptions import ConfigError

# YAML says what is a number: neither true nor "5" is one, and neither 1 nor "yes" is true.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

# What pydantic puts before the words of a ValueError.
VALUE_ERROR = "Value error, "
# The type of the errors that ``conflict`` makes.
CONFLICT = "conflict"
# Where pydantic speaks of its own classes, or of Python.
_OUR_WORDS = {
    "model_type": "Input should be a mapping of fields",
    "dict_type": "Input should be a mapping of fields",
    "model_attributes_type": "Input should be a mapping of fields",
    "string_unicode": "Input should be whole characters; this holds half of one, or a byte that is no UTF-8",
}


def canonical(values: Mapping[str, Any]) -> str:
    """Plain values as text that does not depend on the order of keys."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def conflict(message: str, field: str) -> PydanticCustomError:
    """An error of a section as a whole that is to be told at one of its fields."""
    return PydanticCustomError(CONFLICT, "{message}", {"message": message, "field": field})


def refused(message: str) -> PydanticCustomError:
    """An error of a section as a whole that is told at the section."""
    return PydanticCustomError("value_error", "Value error, {message}", {"message": message})


def in_our_words(error: ValidationError) -> ValidationError:
    """The same error, which sends nobody to the pages of a library for what is wrong with a value."""
    details: list[InitErrorDetails] = []
    for found in error.errors(include_url=False):
        kind, message = found["type"], _OUR_WORDS.get(found["type"], found["msg"])
        # In the message stand values already; a context's are put in once more where it has a {name} in it.
        context = {name: value for name, value in found.get("ctx", {}).items() if f"{{{name}}}" not in message}
        ours = PydanticCustomError(kind, message, context or None)
        details.append({"type": ours, "loc": found["loc"], "input": found["input"]})
    return ValidationError.from_exception_data(error.title, details)


@dataclass(frozen=True)
class Known:
    """In the annotation of a text: the values that this package knows, to which other distributions may add."""

    choices: tuple[str, ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For editors these are all there are."""
        return {**handler(schema), "enum": list(self.choices)}


def nearest(name: str, known: Sequence[str], *, otherwise: str | None = None) -> str:
    """A hint naming the closest known word; when none is close all of them, or what is said ``otherwise``."""
    close = closest(name, known)
    if close is not None:
        return f"did you mean {close!r}?"
    return f"known: {', '.join(sorted(known))}" if otherwise is None else otherwise


def closest(name: str, known: Sequence[str]) -> str | None:
    """The known word that a name was probably meant for; None when none is close."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)


class ConfigModel(BaseModel):
    """Frozen, no unknown keys, no NaN or infinity, documented field by field.

    Values are kept as they are given, but for the home directory in paths, which is ``~``: results are published.
    Secrets are named by variable (``config/names/in_use.py`` puts both in place); one that is written out is a
    ``ConfigError``.

    A model says in two tables how its fields bear on each other:

    - ``conflicts``: ``{field: {earlier field: way out}}``, pairs of which at most one may be on;
    - ``needs``: ``{field: fields}``, a field that changes nothing unless one of ``fields`` is on.

    A field is on when it is neither null nor false; of those in ``one_is_off`` it must exceed 1. The
    other side may be narrower: ``"cache=static|fixed"`` is on when ``cache`` is one of the two.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
    )

    conflicts: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    one_is_off: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        secrets = dict(literal_secrets(data))
        if secrets:
            refusals = _refusals(handler, without(data, secrets))
            # Not pydantic's, which shows what was given.
            told = (f"{'.'.join(map(str, at))}: {secret.told(refusals.get(at, ''))}" for at, secret in secrets.items())
            raise ConfigError("\n".join(told))
        try:
            return handler(data)
        except ValidationError as error:
            raise in_our_words(error) from None

    @field_validator("*")
    @classmethod
    def _as_kept(cls, value: Any, info: ValidationInfo) -> Any:
        return kept(value, is_of_paths(cls, str(info.field_name)))

    @field_validator("*")
    @classmethod
    def _without_conflict(cls, value: Any, info: ValidationInfo) -> Any:
        # On the field, so that each conflict is reported in its own line and beside all other errors.
        name = str(info.field_name)
        found = [
            f"{name} cannot go with {other}: {_plain(info.data[other])}; {way_out}"
            for condition, way_out in cls.conflicts.get(name, {}).items()
            if (other := condition.partition("=")[0]) in info.data
            and cls._is_on(name, value)
            and cls._is_on(condition, info.data[other])
        ]
        if found:
            raise ValueError("; also, ".join(found))
        return value

    def dormant_fields(self) -> dict[str, str]:
        """Fields that were set but change nothing, each with what it would need."""
        return self.dormant_beside(())

    def dormant_beside(self, asleep: Collection[str]) -> dict[str, str]:
        """As ``dormant_fields``, where the fields ``asleep`` change nothing for a reason outside of this model."""
        values, defaults = vars(self), defaults_of(type(self))
        return {
            name: f"it needs {' or '.join(map(in_words, wakers))}"
            for name, wakers in self.needs.items()
            if values[name] != defaults[name] and not self._is_awake(name, asleep)
        }

    def sections(self) -> "Iterator[tuple[str, ConfigModel]]":
        """The models inside of this one by dotted name, each before those that it holds itself."""
        for name, value in vars(self).items():
            kind: Hashable = type(value)
            if _is_section(kind):
                yield name, value
                yield from ((f"{name}.{inner}", model) for inner, model in value.sections())

    def is_on(self, condition: str) -> bool:
        """Whether a field is on, or has one of the values that the condition names."""
        return self._is_on(condition, getattr(self, condition.partition("=")[0]))

    def _is_awake(self, name: str, asleep: Collection[str]) -> bool:
        wakers = self.needs.get(name, ())
        awake = not wakers or any(self.is_on(w) and self._is_awake(w.partition("=")[0], asleep) for w in wakers)
        return awake and name not in asleep

    @classmethod
    def _is_on(cls, condition: str, value: Any) -> bool:
        name, narrower, choices = condition.partition("=")
        if narrower:
            return _plain(value) in choices.split("|")
        if value is None or value is False:
            return False
        return bool(value > 1) if name in cls.one_is_off else True


@functools.cache
def _is_section(kind: Any) -> bool:
    # pydantic looks twice at what is no model, and most values are none.
    return issubclass(kind, ConfigModel)


@functools.cache
def defaults_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """The default of every field, looked up once: studies ask for those of thousands of configurations."""
    return {name: field.default for name, field in model.model_fields.items()}


def _refusals(handler: ModelWrapValidatorHandler[Any], data: Any) -> dict[Place, str]:
    """What is wrong with fields, whatever their secrets are."""
    try:
        handler(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return {_place_of(found["loc"]): found["msg"].removeprefix(VALUE_ERROR) for found in details}
    return {}


def _place_of(location: Place) -> Place:
    """Where a field stands whose name or value is wrong."""
    return location[:-1] if location[-1:] == ("[key]",) else location


def _plain(value: Any) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def in_words(condition: str) -> str:
    """``a=b|c`` as ``a: b or c``."""
    return condition.replace("=", ": ").replace("|", " or ")
