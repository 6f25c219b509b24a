"""What an experiment leaves to the machine, ``auto``, settled before there is a plan and a hash of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from llenergymeasure.config.base import VALUE_ERROR
from llenergymeasure.config.engines import EngineSection, registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.checkpoint.source import is_gguf
from llenergymeasure.exceptions import BackendError, LLEMError, PreFlightError, contained

_Answer = TypeVar("_Answer")
# The engine that runs GGUF files as they are.
_OF_GGUF = "llamacpp"


@dataclass(frozen=True)
class Settled:
    """A configuration in which nothing is ``auto``, and how the fields were given that had been.

    ``why_engine`` says why this engine was chosen; None where it was named.
    """

    config: ExperimentConfig
    as_given: Mapping[str, str]
    why_engine: str | None = None

    @property
    def in_words(self) -> tuple[str, ...]:
        """What each field that was left to the machine is here."""
        return tuple(
            f"{name}: {text} is {getattr(self.config, name)} here"
            + (f", because {self.why_engine}" if name == "backend" and self.why_engine else "")
            for name, text in self.as_given.items()
        )


class AskedHere:
    """What engines answer that are asked in this process."""

    def __init__(self, engine: EngineBase | None = None) -> None:
        """``engine`` is the one to ask, whatever name is given; None is the one of that name."""
        self._engine = engine

    def installation_problem(self, name: str) -> str | None:
        """Why an engine cannot be used at all.

        Raises:
            LLEMError: there is none of this name, or it cannot be asked.
        """
        return self._answer(name, lambda engine: engine.installation_problem())

    def native_precision(self, config: ExperimentConfig) -> str:
        """What the device of ``config`` computes natively; of an engine that is not installed what it has already.

        Raises:
            LLEMError: as above, or a variable that is named is not set.
        """
        # One that is not installed cannot look at a device; that it is not, preflight tells.
        return self._answer(
            config.backend,
            lambda engine: (
                config.precision
                if engine.installation_problem() is not None
                else engine.native_precision(in_use(config))
            ),
        )

    def _answer(self, name: str, ask: Callable[[EngineBase], _Answer]) -> _Answer:
        engine = self._engine or get_backend(name)
        try:
            with contained():
                return ask(engine)
        except LLEMError:
            raise
        except Exception as error:  # another distribution's engine raises what it will
            raise BackendError(failed_when_asked(engine.name, error)) from error


def settled(config: ExperimentConfig, engine: EngineBase | None = None, answers: AskedHere | None = None) -> Settled:
    """The configuration as if what the machine chooses had been written; one that leaves nothing open is itself.

    Args:
        config: the experiment.
        engine: what will run it; None is what it names, or the first installed one for ``backend: auto``.
        answers: how engines are asked; None is in this process.

    Raises:
        ConfigError: no such engine, or one that this version cannot run.
        PreFlightError: no engine is installed that could be chosen, or a variable that is named is not set.
        BackendError: an engine of another distribution fails when it is asked.
        ValidationError: the rest does not go with what was chosen (pydantic's).
    """
    if config.is_settled:
        return Settled(config, {})
    asked, why = answers or AskedHere(engine), None
    name, section = config.backend, registry.section_class(config.backend) or EngineSection
    if engine is not None:
        name, section = engine.name, engine.section
    elif config.backend == registry.AUTO:
        name, why = _chosen_engine(config, asked)
        section = registry.section_class(name) or EngineSection
    as_given = {"backend": registry.AUTO} if config.backend == registry.AUTO else {}
    values = _under(config, name) if as_given else config.model_dump(exclude_unset=True)
    # The chosen engine may leave open itself what was not written.
    if _checked(values).precision == registry.AUTO:
        as_given["precision"] = registry.AUTO
        # What it is asked about has to be a configuration of its own.
        default = section.default_precision
        values["precision"] = section.precisions[0] if default == registry.AUTO else default
        values["precision"] = asked.native_precision(_checked(values))
    return Settled(_checked(values), as_given, why)


def _checked(values: Mapping[str, Any]) -> ExperimentConfig:
    return ExperimentConfig.model_validate(values)


def _under(config: ExperimentConfig, name: str) -> dict[str, Any]:
    """The fields that were written, of an engine and without the sections of others."""
    others = config.section_names() - {name}
    values = config.model_dump(exclude_unset=True)
    return {field: value for field, value in values.items() if field not in others} | {"backend": name}


def _chosen_engine(config: ExperimentConfig, asked: AskedHere) -> tuple[str, str]:
    """The first engine that is installed, and why it is that; of those that have a section, where some do.

    A GGUF file is llama.cpp's own form: other engines make it dense first. Where it could not run the experiment, it
    is as if it came last.
    """
    with_a_section = [name for name in config.section_names() if config.gives(name)]
    names = [name for name in engine_names() if name in with_a_section or not (with_a_section or _only_by_name(name))]
    suits = _OF_GGUF if is_gguf(_model_in_use(config)) else None
    why = "it is the only one with a section" if len(with_a_section) == 1 else "it is the first installed"
    left_for_last: str | None = None
    reasons = []
    for name in sorted(names, key=lambda name: name != suits):
        try:
            problem = asked.installation_problem(name)
        except LLEMError as error:
            problem = str(error)
        if problem is not None:
            reasons.append(problem)
        elif name != suits:
            return name, why if left_for_last is None else f"{left_for_last}, and {why}"
        elif (left_for_last := _not_of_llama_cpp(config, asked)) is None:
            return name, "the model is a GGUF file"
    if left_for_last is not None:
        return _OF_GGUF, why
    among = f" with a section ({', '.join(sorted(with_a_section))})" if with_a_section else ""
    raise PreFlightError(
        f"backend: auto: no engine{among} can be run here: {'; '.join(reasons) or 'none of them is known to run'}"
    )


def _only_by_name(name: str) -> bool:
    section = registry.section_class(name)
    return section is not None and section.only_by_name


def _model_in_use(config: ExperimentConfig) -> str:
    """The model with variables put in place; as it is written where one is not set, which is told before a run."""
    try:
        return in_use(config).model
    except PreFlightError:
        return config.model


def _not_of_llama_cpp(config: ExperimentConfig, asked: AskedHere) -> str | None:
    """Why llama.cpp could not run an experiment with a GGUF file that another engine may; None if it could."""
    if config.lora is not None:
        return "llamacpp takes no lora"
    try:
        candidate = _checked(_under(config, _OF_GGUF))
    except ValidationError as error:
        return f"llamacpp does not go with the rest ({error.errors()[0]['msg'].removeprefix(VALUE_ERROR)})"
    if candidate.precision == registry.AUTO:
        return None
    try:
        held = asked.native_precision(candidate)
    except LLEMError:
        # What is wrong with the file or a variable is told before a run.
        return None
    if held == candidate.precision:
        return None
    return f"llamacpp converts nothing and the file holds {held}, not {candidate.precision}"
