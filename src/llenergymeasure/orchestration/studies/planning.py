"""What a study becomes before it is run: every configuration settled, and every run in its place."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from llenergymeasure._version import __version__
from llenergymeasure.config.models import StudyConfig, measurement_config_hash
from llenergymeasure.config.sweep.chosen import reference_of
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.study.plan import PlannedConfiguration, StudyPlan, slots_in_order, with_sentinel


def plan_of(
    config: StudyConfig, chosen: Sequence[Settled], created: datetime, working_directory: str | None = None
) -> StudyPlan:
    """The plan of a study.

    Args:
        config: the study.
        chosen: what it carries out (``config.sweep.chosen``), the sentinel last, with nothing left to the machine.
        created: when, in UTC.
        working_directory: where its paths are read from, where that matters.
    """
    configurations = tuple(
        PlannedConfiguration(
            values=each.config.resolved(),
            config_hash=measurement_config_hash(each.config),
            as_given=dict(each.as_given),
        )
        for each in chosen
    )
    n, execution = len(config.experiments), config.execution
    slots = slots_in_order(n, config.most_cycles, config.order, execution.seed)
    return StudyPlan(
        study_id=uuid.uuid4().hex,
        name=config.name,
        created=created,
        tool_version=__version__,
        order=config.order,
        seed=execution.seed,
        execution=execution,
        configurations=configurations,
        slots=slots if execution.sentinel is None else with_sentinel(slots, n),
        reference=reference_of(config),
        working_directory=working_directory,
    )
