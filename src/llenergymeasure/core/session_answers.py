"""What an engine is asked beside inference: facts of its machine, description, weights, FLOPs, memory, warnings.

Each is optional: what it does not tell, or fails to, is None or nothing, and a warning says so.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.foreign import checked
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.window.meter import Window
from llenergymeasure.core.window.work import Work
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity
from llenergymeasure.domain.metrics import FlopsResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError, contained, in_one_line

_Value = TypeVar("_Value")


def or_unavailable(what: str, call: Callable[[], _Value], warnings: list[MeasurementWarning]) -> _Value | None:
    """The value of optional measuring work; if it raises, None and a warning."""
    try:
        with contained():
            return call()
    except Exception as error:  # noqa: BLE001 - engines and sensors raise whatever their libraries raise
        warnings.append(MeasurementWarning(f"{what}_unavailable", in_one_line(error)))
        return None


def said(
    what: str, call: Callable[[], Iterable[MeasurementWarning | str]], warnings: list[MeasurementWarning]
) -> tuple[MeasurementWarning, ...]:
    """What an engine says; one from elsewhere may say it as text. If it raises, nothing and a warning."""
    return or_unavailable(what, lambda: MeasurementWarning.all_of(call()), warnings) or ()


def snapshot(engine: EngineBase, instruments: Instruments, warnings: list[MeasurementWarning]) -> EnvironmentSnapshot:
    """The machine and its software, with what the engine knows of them."""
    facts = or_unavailable("engine_environment", lambda: _texts(engine.environment()), warnings) or {}
    return replace(instruments.snapshot(), engine=facts)


def _texts(facts: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in facts.items()}


def described(model: LoadedModelBase, template_use: str | None) -> ModelDescription:
    """The loaded model, and to which prompts its chat template was applied, where somebody else did that.

    Raises:
        ExperimentError: it cannot be described.
    """
    try:
        with contained():
            description = checked(ModelDescription, model.describe())
    except Exception as error:  # engines raise whatever their libraries raise
        raise ExperimentError(f"the engine cannot describe the model that it loaded: {in_one_line(error)}") from error
    # Of an engine that tokenises itself only the engine knows.
    return description if template_use is None else replace(description, chat_template=template_use)


def identify(
    model: LoadedModelBase, description: ModelDescription, warnings: list[MeasurementWarning]
) -> ModelIdentity:
    """Commit and digests of what was loaded.

    Before warm-up, because it may read all of the weights: nothing of that is left in the window, and no measurement
    is lost when somebody ends it.
    """
    identity = (
        or_unavailable("weights_digest", lambda: checked(ModelIdentity, model.identity()), warnings) or ModelIdentity()
    )
    warnings.extend(identity.warnings)
    is_told = description.weights is not None or "weights_digest_unavailable" in {w.flag for w in warnings}
    if identity == ModelIdentity() and not is_told:
        warnings.append(
            MeasurementWarning("weights_digest_unavailable", "the engine does not tell which weights it read")
        )
    return identity


def uncut_prompts(work: Work, window: Window) -> list[MeasurementWarning]:
    """Prompts that an engine, told to cut them, read in full."""
    limits = {request.index: request.max_input_tokens for request in work.requests}
    longer = [
        output.index
        for output in window.output.requests
        if (most := limits.get(output.index)) is not None and output.input_tokens > most
    ]
    if not longer:
        return []
    told = f"the engine tokenises itself and left {len(longer)} prompts longer; the first is {longer[0]}"
    return [MeasurementWarning("prompts_not_truncated", told, "raise max_input_tokens, or give shorter prompts")]


def peak_memory_mb(model: LoadedModelBase, warnings: list[MeasurementWarning]) -> float | None:
    """Memory that the engine held, in MB; None, and why, where it does not tell."""

    def told() -> float | None:
        given = model.peak_memory_mb()
        if given is not None and not (math.isfinite(given) and given >= 0):
            raise ValueError(f"{given!r} MB is no amount of memory")
        return given

    found = or_unavailable("peak_memory", told, warnings)
    if found is None and "peak_memory_unavailable" not in {warning.flag for warning in warnings}:
        warnings.append(MeasurementWarning("peak_memory_unavailable", "the engine does not tell it"))
    return found


def flops(model: LoadedModelBase, window: Window, warnings: list[MeasurementWarning]) -> FlopsResult | None:
    """Floating-point operations of the window; of parts of requests nobody has counted any yet."""
    if window.in_flight is not None:
        warnings.append(
            MeasurementWarning(
                "flops_unavailable",
                "the window began or ended with requests in flight",
                "" if window.load is not None else "measurement.methodology: total has their FLOPs",
            )
        )
        return None

    def count() -> FlopsResult | None:
        found = model.flops(window.output)
        return None if found is None else checked(FlopsResult, found)

    result = or_unavailable("flops", count, warnings)
    if result is None and "flops_unavailable" not in {warning.flag for warning in warnings}:
        warnings.append(MeasurementWarning("flops_unavailable", "the engine does not count them for this model"))
    return result
