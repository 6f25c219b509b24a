"""A plan carries its configuration's hash and an id of its own."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan


def test_every_plan_has_an_id_of_its_own_and_the_hash_of_its_configuration() -> None:
    one, other = (ExperimentPlan.of(ExperimentConfig(model="m", name=name)) for name in ("a", "b"))
    assert one.experiment_id != other.experiment_id
    assert one.config_hash == other.config_hash != ExperimentPlan.of(ExperimentConfig(model="k")).config_hash
    assert (one.config.name, other.config.name) == ("a", "b")
    assert len(one.config_hash) == 16


def test_a_plan_writes_nothing_and_names_no_device_until_it_is_told_to() -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="m"))
    assert (plan.output_dir, plan.baseline_cache, plan.devices, plan.show_progress) == (None, None, (), False)
    told = ExperimentPlan.of(
        ExperimentConfig(model="m"), output_dir=Path("o"), baseline_cache=Path("b"), show_progress=True
    )
    assert (told.output_dir, told.baseline_cache, told.show_progress) == (Path("o"), Path("b"), True)


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        ExperimentPlan.of(ExperimentConfig(model="m")).devices = ("GPU-a",)  # type: ignore[misc]
