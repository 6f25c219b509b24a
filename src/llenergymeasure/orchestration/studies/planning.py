"""What a study becomes before it is run: every configuration settled, and every run in its place."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from llenergymeasure._version import __version__
from llenergymeasure.config.execution import Order
from llenergymeasure.config.models import StudyConfig, measurement_config_hash
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.study.plan import PlannedConfiguration, StudyPlan, slots_in_order


def plan_of(
    config: StudyConfig, chosen: Sequence[Settled], created: datetime, working_directory: str | None = None
) -> StudyPlan:
    """The plan of a study.

    Args:
        config: the study.
        chosen: its experiments, with nothing left to the machine.
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
    order = order_of(config)
    return StudyPlan(
        study_id=uuid.uuid4().hex,
        name=config.name,
        created=created,
        tool_version=__version__,
        order=order,
        seed=config.execution.seed,
        execution=config.execution,
        configurations=configurations,
        slots=slots_in_order(len(configurations), config.most_cycles, order, config.execution.seed),
        working_directory=working_directory,
    )


def order_of(config: StudyConfig) -> Order:
    """In which order a study is run: experiments that were listed and are run once as they were listed."""
    execution = config.execution
    is_a_list = execution.cycles is None and config.most_cycles == 1 and "order" not in execution.model_fields_set
    return "sequential" if is_a_list else execution.order
