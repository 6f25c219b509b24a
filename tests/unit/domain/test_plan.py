"""A plan carries its configuration's hash and an id of its own."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout, Shown


def test_every_plan_has_an_id_of_its_own_and_the_hash_of_its_configuration() -> None:
    one, other = (ExperimentPlan.of(ExperimentConfig(model="m", name=name)) for name in ("a", "b"))
    assert one.experiment_id != other.experiment_id
    assert one.config_hash == other.config_hash != ExperimentPlan.of(ExperimentConfig(model="k")).config_hash
    assert (one.config.name, other.config.name) == ("a", "b")
    assert len(one.config_hash) == 16


def test_a_plan_writes_nothing_and_names_no_device_until_it_is_told_to() -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="m"))
    assert (plan.output_dir, plan.baseline_cache, plan.devices, plan.shown) == (None, None, (), None)
    told = ExperimentPlan.of(
        ExperimentConfig(model="m"), output_dir=Path("o"), baseline_cache=Path("b"), shown=Shown(kind="bar")
    )
    assert (told.output_dir, told.baseline_cache, told.shown) == (Path("o"), Path("b"), Shown(kind="bar"))


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ExperimentPlan.of(ExperimentConfig(model="m")).devices = ("GPU-a",)  # type: ignore[misc]


def test_one_process_is_no_parallelism() -> None:
    assert ProcessLayout.of(1, "data") == ProcessLayout.of(0, "tensor") == ProcessLayout()
    assert ProcessLayout().in_words == "1 process"
    assert ProcessLayout.of(4, "tensor").in_words == "4 processes (tensor parallel)"


def test_prompts_are_dealt_out_under_data_parallelism_and_given_to_all_under_tensor_parallelism() -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="m", random_seed=2**32 - 1))
    prompts = [Prompt(index=i) for i in range(8)]

    def shares(layout: ProcessLayout) -> list[list[int]]:
        parts = [replace(plan, layout=layout).part(i) for i in range(layout.n_processes)]
        return [[p.index for p in part.share_of(prompts)] for part in parts]

    assert shares(ProcessLayout()) == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert shares(ProcessLayout.of(3, "data")) == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert shares(ProcessLayout.of(2, "tensor")) == [[0, 1, 2, 3, 4, 5, 6, 7]] * 2


def test_only_processes_that_share_the_prompts_draw_other_numbers() -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="m", random_seed=2**32 - 1))
    seeds = [replace(plan, layout=ProcessLayout.of(3, "data")).part(i).seed for i in range(3)]
    assert seeds == [2**32 - 1, 0, 1]  # seeds have 32 bits
    assert {replace(plan, layout=ProcessLayout.of(3, "tensor")).part(i).seed for i in range(3)} == {2**32 - 1}


def test_a_process_has_its_own_gpu_where_there_is_one_for_each() -> None:
    plan = ExperimentPlan.of(
        ExperimentConfig(model="m"),
        layout=ProcessLayout.of(2, "data"),
        devices=("GPU-a", "GPU-b"),
        shown=Shown(kind="bar"),
    )
    first, second = plan.part(0), plan.part(1)
    assert (first.devices, second.devices) == (("GPU-a",), ("GPU-b",))
    assert (first.process_index, second.process_index) == (0, 1)
    assert (first.shown, second.shown) == (Shown(kind="bar"), None)
    assert first.experiment_id == second.experiment_id == plan.experiment_id
    alone = ExperimentPlan.of(ExperimentConfig(model="m"), devices=("GPU-a", "GPU-b")).part(0)
    assert alone.devices == ("GPU-a", "GPU-b")
    assert replace(plan, devices=()).part(1).devices == ()
