"""What of an experiment cannot go with a load, and what needs one: validators of its fields."""

from pydantic_core.core_schema import ValidationInfo

from llenergymeasure.config.base import conflict, refused
from llenergymeasure.config.load import LoadConfig, SLOConfig
from llenergymeasure.config.measurement import PhasesConfig


def window_of_its_own(load: LoadConfig | None, info: ValidationInfo) -> LoadConfig | None:
    """The load, whose window follows from what is in flight.

    Raises:
        PydanticCustomError: the measurement has another window, or pauses.
    """
    measurement = info.data.get("measurement")
    if load is not None and measurement is not None and measurement.methodology != "total":
        raise refused(
            f"load cannot go with measurement.methodology: {measurement.methodology}: its window follows from what "
            "is in flight; remove one of them"
        )
    if load is not None and measurement is not None and measurement.dither_s is not None:
        raise refused("load cannot go with measurement.dither_s, which pauses between batches; remove one of them")
    return load


def phases_without_a_load(phases: PhasesConfig, info: ValidationInfo) -> PhasesConfig:
    """The phases, for which fixed batches are run.

    Raises:
        PydanticCustomError: there is a load.
    """
    if phases.enabled and info.data.get("load") is not None:
        raise conflict("enabled: true cannot go with load: pairs of windows need fixed batches; remove one", "enabled")
    return phases


def promises_under_a_load(slo: SLOConfig | None, info: ValidationInfo) -> SLOConfig | None:
    """What is promised to those who send requests.

    Raises:
        PydanticCustomError: nobody sends any.
    """
    if slo is not None and "load" in info.data and info.data["load"] is None:
        raise refused("slo needs load, which says how requests arrive; give it too, or remove slo")
    return slo
