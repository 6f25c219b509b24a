"""Models that have a section for each engine, also for engines that this package has never heard of."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Self, cast

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, create_model, model_validator

from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.engines import registry


class TakesSections(ConfigModel):
    """Sections that are no fields become fields of a class derived for them, as soon as one is named.

    So a section of another distribution is validated, told about and hashed like any other. The derived class has the
    name of its base, and one is made for each set of further engines only.
    """

    def __new__(cls, /, **data: Any) -> Self:
        """A model whose class has a field for each engine that the data name."""
        return super().__new__(cls.for_data(data))

    @classmethod
    def for_data(cls, data: Mapping[Any, Any]) -> type[Self]:
        """The class for these fields: this one, unless they name a further engine."""
        return cls.with_sections(*map(str, data), str(data.get("backend", "")))

    @classmethod
    def with_sections(cls, *names: str) -> type[Self]:
        """The class that also has fields for those of the names that are further engines."""
        further = {name for name in names if name and name not in cls.model_fields}
        found = [engine for name in sorted(further) if (engine := registry.find(name)) is not None]
        return cast("type[Self]", _derived(cls, tuple(found))) if found else cls

    @classmethod
    def section_names(cls) -> frozenset[str]:
        """The fields that are sections of engines."""
        return _sections_in(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _in_the_class_for_the_data(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, Mapping):
            derived = cls.for_data(data)
            if derived is not cls:
                return derived.model_validate(data)
        return handler(data)


@functools.cache
def _sections_in(model: type[TakesSections]) -> frozenset[str]:
    return frozenset(name for name in model.model_fields if registry.is_section(name))


@functools.cache
def _derived(base: type[TakesSections], engines: tuple[registry.FoundEngine, ...]) -> type[TakesSections]:
    fields: dict[str, Any] = {engine.name: _field_of(engine) for engine in engines}
    return create_model(base.__name__, __base__=base, __doc__=base.__doc__, __module__=base.__module__, **fields)


def _field_of(engine: registry.FoundEngine) -> tuple[Any, Any]:
    field = Field(default=None, description=f"Settings of {engine.in_words}.")
    if engine.problem is None:
        return engine.section | None, field
    return Annotated[Any, AfterValidator(functools.partial(_refuse, engine.problem))], field


def _refuse(problem: str, section: Any) -> None:
    if section is not None:
        raise ValueError(problem)
