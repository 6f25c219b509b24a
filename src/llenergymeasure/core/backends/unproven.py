"""What is said of an engine that nobody has run with its library yet."""

from llenergymeasure.config.engines import registry
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.domain.warnings import MeasurementWarning

# As ``llem config`` and the pages say it.
NOT_YET_RUN = "not yet run on hardware"


def unproven(engine: EngineBase) -> tuple[MeasurementWarning, ...]:
    """The warning that goes with everything such an engine gives; nothing for any other."""
    if engine.hardware_proven:
        return ()
    return (
        MeasurementWarning(
            "engine_unproven",
            f"{registry.in_words(engine.name)} is {NOT_YET_RUN}: it was tested against a recorded shape of its "
            "library's API only",
            "hold its tokens, times and joules against those of another engine before any of them is cited",
        ),
    )
