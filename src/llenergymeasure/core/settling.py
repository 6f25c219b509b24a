"""What an experiment leaves to the machine, ``auto``, settled before there is a plan and a hash of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.engines import registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.exceptions import BackendError, LLEMError, PreFlightError, contained


@dataclass(frozen=True)
class Settled:
    """A configuration in which nothing is ``auto``, and how the fields were given that had been."""

    config: ExperimentConfig
    as_given: Mapping[str, str]


def settled(config: ExperimentConfig, engine: EngineBase | None = None) -> Settled:
    """The configuration as if what the machine chooses had been written; one that leaves nothing open is itself.

    Args:
        config: the experiment.
        engine: what will run it; None is what it names, or the first installed one for ``backend: auto``.

    Raises:
        ConfigError: no such engine, or one that this version cannot run.
        PreFlightError: no engine is installed that could be chosen, or a variable that is named is not set.
        BackendError: an engine of another distribution fails when it is asked.
        ValidationError: the rest does not go with what was chosen (pydantic's).
    """
    if config.is_settled:
        return Settled(config, {})
    chosen = engine or (_first_installed(config) if config.backend == registry.AUTO else get_backend(config.backend))
    values = config.model_dump(exclude_unset=True)
    as_given = {}
    if config.backend == registry.AUTO:
        as_given["backend"] = registry.AUTO
        others = config.section_names() - {chosen.name}
        values = {name: value for name, value in values.items() if name not in others} | {"backend": chosen.name}
    if config.precision == registry.AUTO:
        as_given["precision"] = registry.AUTO
        # What it is asked about has to be a configuration of its own.
        values["precision"] = chosen.section.default_precision
        values["precision"] = _native_precision(_checked(values), chosen)
    return Settled(_checked(values), as_given)


def _checked(values: Mapping[str, Any]) -> ExperimentConfig:
    return ExperimentConfig.model_validate(values)


def _native_precision(config: ExperimentConfig, engine: EngineBase) -> str:
    try:
        # One that is not installed cannot look at a device; that it is not, preflight tells.
        with contained():
            return (
                config.precision
                if engine.installation_problem() is not None
                else engine.native_precision(in_use(config))
            )
    except LLEMError:
        raise
    except Exception as error:  # another distribution's engine raises what it will
        raise BackendError(failed_when_asked(engine.name, error)) from error


def _first_installed(config: ExperimentConfig) -> EngineBase:
    """The first engine that is installed; of those that have a section, where some do."""
    with_a_section = [name for name in config.section_names() if config.gives(name)]
    reasons = []
    for name in [name for name in engine_names() if not with_a_section or name in with_a_section]:
        try:
            engine = get_backend(name)
            with contained():
                problem = engine.installation_problem()
        except LLEMError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will; the next is asked
            problem = failed_when_asked(name, error)
        if problem is None:
            return engine
        reasons.append(problem)
    among = f" with a section ({', '.join(sorted(with_a_section))})" if with_a_section else ""
    raise PreFlightError(
        f"backend: auto: no engine{among} can be run here: {'; '.join(reasons) or 'none of them is known to run'}"
    )
