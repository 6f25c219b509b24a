"""The reference of a study, and its sentinel, as a file or a flag names them."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.loader import Overrides, load_config, study_config
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.config.sweep.chosen import carried_out, reference_of, sentinel_of
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import WriteConfig

# fp32 with 1 and 4, then bf16 with 1 and 4.
SWEPT = {"model": "m", "n": 3, "sweep": {"precision": ["fp32", "bf16"], "pytorch.batch_size": [1, 4]}}


def swept(**execution: Any) -> StudyConfig:
    return study_config({**SWEPT, "execution": execution})


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, 0),
        ("precision=bf16,pytorch.batch_size=1", 2),
        (" pytorch.batch_size = 4 , precision=fp32", 1),
        ({"precision": "bf16", "pytorch.batch_size": 4}, 3),
        ({"precision": "bf16", "pytorch": {"batch_size": 4}}, 3),
        # A whole number is also the one with a point, and what all have may be said too.
        ("precision=bf16,pytorch.batch_size=4.0,n=3,lora=null,decoder.do_sample=false", 3),
        ("precision=bf16,pytorch.batch_size=4,dataset=mixed", 3),
    ],
)
def test_a_reference_is_the_configuration_with_its_settings(given: Any, place: int) -> None:
    assert reference_of(swept(reference=given)) == place


def test_a_comma_may_stand_in_a_value() -> None:
    study = study_config({"execution": {"reference": "model=a/x,y,n=2"},
                          "experiments": [{"model": "a/x,y", "n": 1}, {"model": "a/x,y", "n": 2}]})  # fmt: skip
    assert reference_of(study) == 1


def test_settings_are_those_of_the_file_with_what_is_left_to_the_machine() -> None:
    study = study_config({"model": "m", "sweep": {"precision": ["fp32", "auto"]},
                          "execution": {"reference": "precision=auto"}})  # fmt: skip
    assert reference_of(study) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "precision=bf16",
            "execution.reference: 2 of 4 configurations have precision: bf16, and it takes a single one; "
            "name one of the settings that tell them apart: pytorch.batch_size (1, 4)",
        ),
        (
            "n=3",
            "execution.reference: 4 of 4 configurations have n: 3, and it takes a single one; name one of the settings "
            "that tell them apart: precision (fp32, bf16), pytorch.batch_size (1, 4)",
        ),
        (
            {"pytorch.batch_size": 8},
            "execution.reference: none of 4 configurations has pytorch.batch_size: 8; they differ in "
            "precision (fp32, bf16), pytorch.batch_size (1, 4)",
        ),
        ("lora.path=null,n=2", "execution.reference: none of 4 configurations has lora.path: null, n: 2; they differ"),
        ("precison=bf16", "execution.reference.precison: unknown key; did you mean 'precision'?"),
        ("bf16", "execution.reference bf16: write it as field=value or section.field=value"),
        ("pytorch.batch_size=", "execution.reference: none of 4 configurations has pytorch.batch_size: null;"),
    ],
)
def test_settings_of_none_or_of_several_are_refused_with_what_tells_them_apart(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        swept(reference=given)


def test_experiments_that_are_alike_cannot_be_told_apart() -> None:
    with pytest.raises(
        ConfigError, match="2 of 2 configurations have n: 1, and it takes a single one; nothing tells them apart"
    ):
        study_config({"experiments": [{"model": "m", "n": 1}] * 2, "execution": {"reference": {"n": 1}}})


def test_a_flag_takes_the_place_of_what_the_file_names(write_config: WriteConfig) -> None:
    file = write_config(
        "model: m\nsweep: {precision: [fp32, bf16], n: [1, 2]}\n"
        "execution:\n  reference: {precision: fp32, n: 2}\n"
    )  # fmt: skip
    study = load_config(file, Overrides())
    assert isinstance(study, StudyConfig)
    assert reference_of(study) == 1
    flag = Overrides(fields={"execution": {"reference": "precision=bf16,n=1"}}, origin="command line")
    study = load_config(file, flag)
    assert isinstance(study, StudyConfig)
    assert reference_of(study) == 2


def test_what_is_wrong_is_told_with_its_place(write_config: WriteConfig) -> None:
    text = "model: m\nsweep: {precision: [fp32, bf16]}\nexecution:\n  reference: {n: 1}\n"
    with pytest.raises(ConfigError, match=r"^.*:4: execution\.reference: none of 2 configurations has n: 1; "):
        load_config(write_config(text), Overrides())
    flag = Overrides(fields={"execution": {"reference": "n=1"}}, origin="command line")
    with pytest.raises(ConfigError, match=r"^command line: execution\.reference: none of 2 "):
        load_config(write_config(text), flag)


@pytest.mark.parametrize("given", ["", {}])
def test_a_reference_without_a_setting_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError, match="this names no setting"):
        swept(reference=given)


@pytest.mark.parametrize(
    ("given", "reference", "expected"),
    [
        (True, None, ("fp32", 1, 3)),
        ({}, "precision=bf16,pytorch.batch_size=4", ("bf16", 4, 3)),
        ({"n": 5, "pytorch.batch_size": 2}, None, ("fp32", 2, 5)),
        ("n=5,pytorch.batch_size=2", "precision=bf16,pytorch.batch_size=4", ("bf16", 2, 5)),
    ],
)
def test_a_sentinel_is_the_reference_with_its_settings_over_it(given: Any, reference: Any, expected: Any) -> None:
    study = swept(sentinel=given, reference=reference)
    sentinel = sentinel_of(study)
    assert sentinel is not None
    assert (sentinel.precision, sentinel.pytorch and sentinel.pytorch.batch_size, sentinel.n) == expected
    assert sentinel.name == "sentinel"
    assert carried_out(study) == [*study.carried_out, sentinel]
    assert len(study.experiments) == 4


def test_a_sentinel_is_carried_out_as_the_others() -> None:
    study = swept(sentinel=True, timeout_s=7)
    assert [each.execution for each in carried_out(study)] == [ExecutionConfig(timeout_s=7)] * 5
    assert carried_out(swept()) == swept().carried_out
    assert sentinel_of(swept(sentinel=False)) is None


def test_a_sentinel_may_be_of_another_engine() -> None:
    sentinel = sentinel_of(swept(sentinel={"backend": "vllm", "vllm.max_num_seqs": 2}))
    assert sentinel is not None
    assert (sentinel.backend, sentinel.vllm and sentinel.vllm.max_num_seqs, sentinel.pytorch) == ("vllm", 2, None)


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        ({"sentinel": {"precison": "fp32"}}, "execution.sentinel.precison: unknown key; did you mean 'precision'?"),
        ({"sentinel": "n"}, "execution.sentinel n: write it as field=value"),
        ({"sentinel": {"execution": {"timeout_s": 1}}}, "execution is said once for the whole study"),
    ],
)
def test_a_sentinel_of_no_setting_is_refused(execution: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        swept(**execution)


def test_a_wrong_value_of_a_sentinel_is_told_as_one_of_it() -> None:
    with pytest.raises(ValidationError) as caught:
        swept(sentinel={"n": 0})
    assert caught.value.__notes__ == ["execution.sentinel.n: Input should be greater than or equal to 1, got 0"]


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
def test_where_there_are_no_blocks_there_is_no_sentinel(order: str) -> None:
    with pytest.raises(ValidationError, match=f"order: {order} has none; give order: blocks"):
        swept(sentinel=True, order=order)


def test_a_list_that_is_run_as_it_stands_has_no_blocks() -> None:
    listed = {"experiments": [{"model": "m", "n": 1}, {"model": "m", "n": 2}]}
    with pytest.raises(ConfigError, match=r"listed and run once keep their order; give execution\.order: blocks"):
        study_config({**listed, "execution": {"sentinel": True}})
    assert sentinel_of(study_config({**listed, "execution": {"sentinel": True, "order": "blocks"}})) is not None
    assert sentinel_of(study_config({**listed, "execution": {"sentinel": True, "cycles": 2}})) is not None


@pytest.mark.parametrize("execution", [{"cycles": 2}, {"order": "blocks"}, {"cycles": 2, "sentinel": True}])
def test_no_other_experiment_of_blocks_is_called_like_the_sentinel(execution: dict[str, Any]) -> None:
    # By this name alone a result is known to be the sentinel's.
    given = {"execution": execution, "experiments": [{"model": "m"}, {"model": "m", "n": 2, "name": "sentinel"}]}
    with pytest.raises(ValidationError, match="experiment 1 has the name sentinel, which in a study of blocks"):
        study_config(given)
    study_config({**given, "execution": {"order": "sequential"}})
