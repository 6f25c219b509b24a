"""Which run comes when, and what a plan refuses."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from llenergymeasure.config.execution import ExecutionConfig, Order, StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from llenergymeasure.domain.study.plan import PlannedConfiguration, Slot, StudyPlan, slots_in_order, with_sentinel
from llenergymeasure.exceptions import ConfigError


def order_of(slots: tuple[Slot, ...]) -> list[tuple[int, int, int]]:
    return [(slot.configuration, slot.block, slot.repeat) for slot in slots]


def test_one_after_another() -> None:
    assert order_of(slots_in_order(2, 3, "sequential", 7)) == [
        (0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0), (1, 0, 1), (1, 0, 2),
    ]  # fmt: skip


def test_in_blocks_each_has_every_configuration_once_in_an_order_of_its_own() -> None:
    slots = slots_in_order(8, 50, "blocks", 42)
    assert [slot.slot for slot in slots] == list(range(400))
    blocks = [[slot.configuration for slot in slots if slot.block == block] for block in range(50)]
    assert all(sorted(block) == list(range(8)) for block in blocks)
    assert all(slot.repeat == slot.block for slot in slots)
    # Of 40,320 orders 50 are drawn: two equal ones have a chance of 3 %, and these have none.
    assert len({tuple(block) for block in blocks}) == 50
    # Each comes first about as often as any other: 50 / 8 = 6.25, and 17 would be over four standard deviations.
    assert max(Counter(block[0] for block in blocks).values()) < 17


def test_shuffled_has_as_many_of_each_and_counts_its_repeats() -> None:
    slots = slots_in_order(3, 4, "shuffled", 1)
    assert Counter(slot.configuration for slot in slots) == {0: 4, 1: 4, 2: 4}
    for configuration in range(3):
        assert [s.repeat for s in slots if s.configuration == configuration] == [0, 1, 2, 3]
    assert [s.configuration for s in slots] != sorted(s.configuration for s in slots)
    assert {slot.block for slot in slots} == {0}


@pytest.mark.parametrize("order", ["blocks", "shuffled"])
def test_the_seed_decides_and_nothing_else(order: Order) -> None:
    first = slots_in_order(10, 3, order, 42)
    assert slots_in_order(10, 3, order, 42) == first
    assert slots_in_order(10, 3, order, 43) != first


def test_the_order_of_a_seed_is_the_same_for_ever() -> None:
    # What was drawn when this was written: who repeats a study years later gets its order.
    assert [slot.configuration for slot in slots_in_order(5, 2, "blocks", 42)] == BLOCKS_OF_42


BLOCKS_OF_42 = [2, 1, 4, 3, 0, 0, 4, 2, 3, 1]


def test_a_sentinel_is_run_before_each_block_and_after_the_last_and_changes_no_order() -> None:
    slots = with_sentinel(slots_in_order(5, 2, "blocks", 42), 5)
    assert [slot.configuration for slot in slots] == [5, *BLOCKS_OF_42[:5], 5, *BLOCKS_OF_42[5:], 5]
    assert [slot.slot for slot in slots] == list(range(13))
    assert [(s.slot, s.block, s.repeat, s.closes) for s in slots if s.sentinel] == [
        (0, 0, 0, False), (6, 1, 1, False), (12, 1, 2, True),
    ]  # fmt: skip
    assert [(s.block, s.repeat) for s in slots if not s.sentinel] == [(0, 0)] * 5 + [(1, 1)] * 5


def test_a_sentinel_that_is_compared_and_a_reference_that_is_not_there_are_refused() -> None:
    config = ExperimentConfig(model="m")
    planned = PlannedConfiguration(values=config.resolved(), config_hash=measurement_config_hash(config))
    slots = with_sentinel(slots_in_order(1, 2, "blocks", 1), 1)
    plan = plan_with(slots, configurations=(planned, planned))
    assert (plan.sentinel, plan.compared, plan.n_blocks) == (1, (planned,), 2)
    with pytest.raises(ConfigError, match="the sentinel of the plan is not its last configuration"):
        plan_with(slots, configurations=(planned, planned, planned))
    with pytest.raises(ConfigError, match="the sentinel of the plan is not its last configuration"):
        plan_with((*slots, Slot(slot=5, configuration=1, block=1, repeat=0)), configurations=(planned, planned))
    # The sentinel is no reference either.
    with pytest.raises(ConfigError, match="the reference of the plan is 1, and there are 1 configurations"):
        plan_with(slots, configurations=(planned, planned), reference=1)


def plan_with(slots: tuple[Slot, ...], **fields: Any) -> StudyPlan:
    config = ExperimentConfig(model="m")
    planned = PlannedConfiguration(values=config.resolved(), config_hash=measurement_config_hash(config))
    given: dict[str, Any] = {
        "study_id": "s", "name": "n", "created": datetime(2026, 1, 1, tzinfo=UTC), "tool_version": "2.0.0",
        "order": "blocks", "seed": 1, "execution": StudyExecutionConfig(), "configurations": (planned,),
    }  # fmt: skip
    return StudyPlan(**{**given, **fields}, slots=slots)


def test_a_slot_of_no_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"slot 0 of the plan .* there are 1 configurations"):
        plan_with((Slot(slot=0, configuration=1, block=0, repeat=0),))
    with pytest.raises(ConfigError, match="slot 0"):
        plan_with((Slot(slot=1, configuration=0, block=0, repeat=0),))


def test_a_configuration_is_run_as_planned_or_not_at_all() -> None:
    config = ExperimentConfig(model="m", name="x", n=7, warmup={"cv_threshold": 0.1})  # type: ignore[arg-type]
    planned = PlannedConfiguration(values=config.resolved(), config_hash=measurement_config_hash(config))
    execution = ExecutionConfig(timeout_s=5)
    again = planned.config(execution)
    assert again.resolved() == config.resolved()
    assert again.execution == execution
    edited = PlannedConfiguration(values={**config.resolved(), "n": 8}, config_hash=planned.config_hash)
    with pytest.raises(ConfigError, match=f"configuration {planned.config_hash} of the plan would be run as"):
        edited.config(execution)
    wrong = PlannedConfiguration(values={**config.resolved(), "n": "many"}, config_hash=planned.config_hash)
    with pytest.raises(ConfigError, match="cannot be run"):
        wrong.config(execution)
