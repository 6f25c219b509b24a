"""Sections of engines that other distributions bring."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError

from llenergymeasure.config.engines import ENGINE_SECTIONS, registry
from llenergymeasure.config.introspection import experiment_schema, field_defaults
from llenergymeasure.config.loader import Overrides, load_config, load_experiment_config, load_study_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.config.reading.settings import parse_settings
from llenergymeasure.config.reading.sources import environment_source
from llenergymeasure.config.sweep.looks import GRAMMAR
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import WriteConfig
from tests.unit.conftest import Install, WriteUserFile

pytestmark = pytest.mark.usefixtures("toy")


def errors_of(path: Path, **overrides: Any) -> list[str]:
    with pytest.raises((ConfigError, ValidationError)) as caught:
        load_experiment_config(path, overrides)
    lines = str(caught.value).splitlines() if isinstance(caught.value, ConfigError) else caught.value.__notes__
    return [line.removeprefix(f"{path}:") for line in lines]


def test_a_section_is_read_from_a_file_with_its_defaults(write_config: WriteConfig) -> None:
    config = load_experiment_config(write_config("model: m\nbackend: toy\ntoy:\n  label: a\n"))
    assert config.section_of("toy").model_dump() == {"n_tokens": 4, "label": "a"}
    assert config.resolved()["toy"] == {"n_tokens": 4, "label": "a"}
    assert not {"pytorch", "vllm"} & config.resolved().keys()


def test_every_error_in_it_has_its_line_beside_those_of_other_fields(write_config: WriteConfig) -> None:
    path = write_config("model: m\nn: 0\nbackend: toy\ntoy:\n  n_tokns: 3\n  n_tokens: 65\n  label: 3\n")
    assert errors_of(path) == [
        "2: n: Input should be greater than or equal to 1, got 0",
        "5: toy.n_tokns: unknown key; did you mean 'toy.n_tokens'?",
        "6: toy.n_tokens: Input should be less than or equal to 64, got 65",
        "7: toy.label: Input should be a valid string, got 3",
    ]


def test_wrong_values_alone_are_an_error_of_pydantic_with_lines(write_config: WriteConfig) -> None:
    path = write_config("model: m\nbackend: toy\ntoy: {n_tokens: 0}\n")
    with pytest.raises(ValidationError) as caught:
        load_experiment_config(path)
    assert caught.value.__notes__ == [f"{path}:3: toy.n_tokens: Input should be greater than or equal to 1, got 0"]


def test_a_section_that_is_no_mapping_is_told_as_such(write_config: WriteConfig) -> None:
    assert errors_of(write_config("model: m\nbackend: toy\ntoy: 3\n")) == [
        "3: toy: Input should be a mapping of fields, got 3"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: m\nbackend: tox\n", "2: backend: no engine is called 'tox'; did you mean 'toy'?, got 'tox'"),
        ("model: m\ntoyy: {}\n", "2: toyy: unknown key; did you mean 'toy'?"),
        ("model: m\ntoy: {}\n", "2: toy: section 'toy' belongs to another engine than backend 'pytorch'; remove the "
         "section or set backend: toy"),
        ("model: m\nbackend: toy\nprecision: bf16\n", "3: precision: precision bf16 cannot go with backend: toy, which "
         "has fp32, fp16; change one of them, got 'bf16'"),
        ("model: m\nbackend: toy\npassthrough_kwargs: {label: a}\n", "3: passthrough_kwargs.label: label is set by the "
         "field toy.label; give it there and remove it here"),
    ],
)  # fmt: skip
def test_names_are_hinted_at_and_rules_of_sections_hold(write_config: WriteConfig, text: str, said: str) -> None:
    assert errors_of(write_config(text)) == [said]


def test_the_precision_that_was_not_written_is_that_of_the_engine() -> None:
    assert ExperimentConfig(model="m", backend="toy").precision == "fp32"
    assert ExperimentConfig(model="m").precision == "bf16"
    assert ExperimentConfig.model_validate({"model": "m", "backend": "toy"}).display_name == "m-toy-fp32"


def test_settings_and_variables_reach_it(
    write_config: WriteConfig, write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_user_file("measurement:\n  toy:\n    label: of the user\n    n_tokens: 1\n")
    monkeypatch.setenv("LLEM_TOY__N_TOKENS", "2")
    path = write_config("model: m\nbackend: toy\n")
    assert load_experiment_config(path).section_of("toy").model_dump() == {"n_tokens": 2, "label": "of the user"}
    over = Overrides(fields=parse_settings(["toy.n_tokens=3"]))
    config = load_config(path, over)
    assert isinstance(config, ExperimentConfig)
    assert config.section_of("toy").model_dump() == {"n_tokens": 3, "label": "of the user"}
    # What the environment says of another engine concerns no experiment on this one, and is looked at all the same.
    assert load_experiment_config(write_config("model: m\n")).backend == "pytorch"
    with pytest.raises(ConfigError, match=r"LLEM_TOY__N_TOKNS: toy\.n_tokns: unknown key; did you mean 'toy.n_tokens'"):
        environment_source({"LLEM_TOY__N_TOKNS": "2"})


def test_a_study_has_experiments_on_both(write_config: WriteConfig) -> None:
    study = load_study_config(
        write_config("experiments:\n- model: m\n  backend: toy\n  toy: {n_tokens: 2}\n- model: m\n"),
        {"toy": {"label": "a"}},
    )
    assert study.experiments[0].section_of("toy").model_dump() == {"n_tokens": 2, "label": "a"}
    assert study.experiments[1].backend == "pytorch"
    assert study.model_dump(mode="json", exclude_unset=True)["experiments"][0]["toy"] == {"n_tokens": 2, "label": "a"}
    assert StudyConfig.model_validate_json(study.model_dump_json()) == study
    path = write_config("experiments:\n- model: m\n  backend: toy\n  toy: {n_tokns: 2}\n")
    with pytest.raises(
        ConfigError, match=r":4: experiments\.0\.toy\.n_tokns: unknown key; did you mean 'toy.n_tokens'"
    ):
        load_study_config(path)


def test_it_is_in_the_hash_of_its_own_engine_and_of_no_other() -> None:
    plain = ExperimentConfig(model="m", backend="toy")
    written = ExperimentConfig.model_validate({"model": "m", "backend": "toy", "toy": {"n_tokens": 4}})
    other = ExperimentConfig.model_validate({"model": "m", "backend": "toy", "toy": {"n_tokens": 5}})
    assert measurement_config_hash(plain) == measurement_config_hash(written) != measurement_config_hash(other)
    assert plain.equivalent_to(written)
    assert not plain.equivalent_to(other)
    before = measurement_config_hash(ExperimentConfig(model="m"))
    assert "toy" not in ExperimentConfig(model="m").resolved()
    registry.look_again()
    assert measurement_config_hash(ExperimentConfig(model="m")) == before


def test_a_configuration_survives_being_handed_over() -> None:
    config = ExperimentConfig.model_validate({"model": "m", "backend": "toy", "toy": {"n_tokens": 5}})
    plan = ExperimentPlan.of(config)
    kind = TypeAdapter(ExperimentPlan)
    assert kind.validate_json(kind.dump_json(plan)) == plan
    assert type(config) is type(ExperimentConfig.model_validate(config.resolved()))
    assert isinstance(config, ExperimentConfig)


def test_schema_and_defaults_have_it_where_they_are_asked_for_it() -> None:
    schema = experiment_schema(["toy"])
    jsonschema.validate({"model": "m", "backend": "toy", "toy": {"n_tokens": 3}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"model": "m", "backend": "toy", "toy": {"n_tokens": 65}}, schema)
    assert "toy" not in json.dumps(experiment_schema())
    config = ExperimentConfig(model="m", backend="toy")
    assert field_defaults(type(config))["toy.n_tokens"] == 4
    assert "toy.n_tokens" not in field_defaults()


def test_nothing_that_is_installed_is_looked_at_while_every_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> Any:
        raise AssertionError("the installed distributions were looked at")

    registry.look_again()
    monkeypatch.setattr(importlib.metadata, "distributions", asked)
    config = ExperimentConfig.model_validate({"model": "m", "pytorch": {"batch_size": 2}, "energy": {"backend": None}})
    assert measurement_config_hash(config)
    assert load_config(None, Overrides(fields={"model": "m"}))


def test_no_engine_takes_the_name_of_a_field() -> None:
    fields = {*ExperimentConfig.model_fields, *StudyConfig.model_fields} - set(ENGINE_SECTIONS)
    assert fields | {*GRAMMAR, "auto", "output"} == registry.RESERVED


BROKEN = "import a_library_that_is_not_there\n"


@pytest.mark.parametrize(
    ("modules", "points", "said"),
    [
        ({"llem_bad": BROKEN}, {"bad": "llem_bad:Engine"},
         "the engine 'bad' of llem-bad 1.0 cannot be loaded: ModuleNotFoundError: No module named "
         "'a_library_that_is_not_there'"),
        ({"llem_bad": "raise SystemExit(3)"}, {"bad": "llem_bad:Engine"},
         "the engine 'bad' of llem-bad 1.0 cannot be loaded: SystemExit: 3"),
        ({"llem_bad": "class Engine: name = 'worse'"}, {"bad": "llem_bad:Engine"},
         "the engine 'bad' of llem-bad 1.0 calls itself 'worse'; both names must be the same"),
        ({"llem_bad": "class Engine: section = int"}, {"bad": "llem_bad:Engine"},
         "the engine 'bad' of llem-bad 1.0 has a section that does not derive from EngineSection"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_loaded_is_told_where_it_was_asked_for(
    modules: dict[str, str], points: dict[str, str], said: str, install: Install, write_config: WriteConfig
) -> None:
    install(modules, points, "llem-bad")
    assert errors_of(write_config("model: m\nbackend: bad\nbad: {x: 1}\n")) == [
        f"2: backend: {said}, got 'bad'",
        f"3: bad: {said}",
    ]
    assert load_experiment_config(write_config("model: m\nbackend: toy\n")).backend == "toy"


def test_two_distributions_of_one_name_are_both_named(install: Install) -> None:
    install({"llem_other": "class Engine: pass"}, {"toy": "llem_other:Engine"}, "llem-other")
    with pytest.raises(ValidationError, match=r"of llem-.* 1\.0 and llem-.* 1\.0 is brought by both of them"):
        ExperimentConfig(model="m", backend="toy")


def test_metadata_that_is_none_takes_no_engine_down(install: Install, tmp_path: Path) -> None:
    install({}, {}, "llem-torn")
    (tmp_path / "llem-torn" / "llem_torn-1.0.dist-info" / "entry_points.txt").write_bytes(b"\xff[what\nis this")
    registry.look_again()
    assert ExperimentConfig(model="m", backend="toy").backend == "toy"


def test_an_engine_of_ours_goes_before_another_of_its_name(install: Install) -> None:
    install({"llem_ours": "class PyTorchBackend: pass"}, {"pytorch": "llem_ours:PyTorchBackend"}, "llem-ours")
    found = registry.find("pytorch")
    assert found is not None
    assert found.origin == ""
    assert registry.names() == (
        "pytorch",
        "vllm",
        "llamacpp",
        "ctranslate2",
        "onnxruntime",
        "sglang",
        "tensorrt",
        "server",
        "toy",
    )


def test_a_flag_goes_to_every_engine_that_auto_may_become(write_config: WriteConfig) -> None:
    path = write_config("model: m\nbackend: auto\n")
    config = load_config(path, Overrides(engine_fields={"n_tokens": 3}))
    assert isinstance(config, ExperimentConfig)
    assert config.section_of("toy").model_dump()["n_tokens"] == 3
    assert config.gives("toy")
    assert not config.gives("pytorch")
    with pytest.raises(ConfigError, match="--n-tokns: the engine 'auto' has no field n_tokns"):
        load_config(path, Overrides(engine_fields={"n_tokns": 3}))
