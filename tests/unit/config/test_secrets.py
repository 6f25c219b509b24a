"""Secrets are named by variable; one that is written out is refused, and not repeated."""

import json
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure import run_experiment
from llenergymeasure._secrets import looks_secret
from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.introspection import field_defaults
from llenergymeasure.config.loader import Overrides, load_config, load_experiment_config
from llenergymeasure.config.models import (
    DatasetConfig,
    ExperimentConfig,
    LoRAConfig,
    StudyConfig,
    measurement_config_hash,
)
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.config.reading.settings import parse_settings
from llenergymeasure.config.reading.sources import environment_source
from llenergymeasure.exceptions import ConfigError, PreFlightError
from tests.unit.config.conftest import WriteConfig

SECRET = "hunter2hunter2"

written_out = pytest.mark.parametrize(
    ("passed", "where"),
    [
        ({"proxies": {"https": f"http://me:{SECRET}@proxy:3128"}}, "passthrough_kwargs.proxies.https"),
        ({"proxies": {"https": f"me:{SECRET}@proxy:3128"}}, "passthrough_kwargs.proxies.https"),
        ({"adapter_kwargs": {"token": SECRET}}, "passthrough_kwargs.adapter_kwargs.token"),
        ({"headers": [{"Authorization": f"Bearer {SECRET}"}]}, "passthrough_kwargs.headers.0.Authorization"),
        ({"credentials": {"user": "me", "of": [SECRET]}}, "passthrough_kwargs.credentials.user"),
        ({"where": f"https://host/x?token={SECRET}"}, "passthrough_kwargs.where"),
        ({"anything": f"hf_{SECRET}{SECRET}"}, "passthrough_kwargs.anything"),
        ({"password": 20061999}, "passthrough_kwargs.password"),
    ],
)


@written_out
def test_a_secret_that_is_written_out_is_refused_and_not_repeated(passed: dict[str, Any], where: str) -> None:
    for make in (
        lambda: ExperimentConfig(model="m", passthrough_kwargs=passed),
        lambda: StudyConfig.model_validate({"experiments": [{"model": "m", "passthrough_kwargs": passed}]}),
        lambda: load_experiment_config(None, {"model": "m", "passthrough_kwargs": passed}),
        lambda: run_experiment(model="m", passthrough_kwargs=passed),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        said = str(caught.value)
        assert f"{where}: " in said
        assert "${HF_TOKEN}" in said
        assert SECRET not in said
        assert "20061999" not in said


def test_in_a_file_it_has_its_line_and_all_other_errors_are_told_beside_it(write_config: WriteConfig) -> None:
    text = f"model: m\nn: 0\nmodle: x\npassthrough_kwargs:\n  adapter_kwargs: {{token: {SECRET}}}\n"
    path = write_config(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, Overrides())
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{path}:5: passthrough_kwargs.adapter_kwargs.token: ")
    assert [line.removeprefix(f"{path}:").split(": ")[:2] for line in lines[1:]] == [["2", "n"], ["3", "modle"]]
    assert SECRET not in str(caught.value)


TOKEN = f"hf_{SECRET}{SECRET}"
_NOT_BY_NAME = (
    "passthrough_kwargs.token: this is a token that is written out, which is not shown here; token may not be passed "
    "through: it is found without being named: set the variable HF_TOKEN, or log in with 'hf auth login'"
)


def test_where_a_field_takes_no_secret_by_name_either_that_is_the_only_advice() -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(None, {"model": "m", "passthrough_kwargs": {"token": TOKEN}})
    assert str(caught.value) == _NOT_BY_NAME
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig(model="m", passthrough_kwargs={"token": TOKEN})
    assert str(caught.value) == _NOT_BY_NAME
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(None, {"model": "m", "n": TOKEN})
    assert str(caught.value) == (
        "n: this is a token that is written out, which is not shown here; Input should be a valid integer"
    )


@pytest.mark.parametrize(
    ("variable", "passed", "name"),
    [
        ("MINE", TOKEN, "${MINE}"),
        ("ANOTHER_API_KEY", TOKEN, "${ANOTHER_API_KEY}"),
        ("PROXY_PASSWORD", f"http://me:{TOKEN}@proxy", "http://me:${PROXY_PASSWORD}@proxy"),
    ],
)
def test_one_that_a_variable_has_is_named_by_that(
    variable: str, passed: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, TOKEN)
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(None, {"model": "m", "passthrough_kwargs": {"api_key": passed}})
    assert f"; name it by its variable, {name}, which is put in place" in str(caught.value)
    # What a check says of the value has that name too.
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(None, {"model": "m", "energy": {"backend": passed}})
    assert f"'{name}'" in str(caught.value)
    assert "SECRET}" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [f'password: "{SECRET}\n', f"hf_token: {{{SECRET}\n", f"model: m\napi_key: [{SECRET}\nn: 2\n"]
)
def test_a_file_that_is_no_yaml_is_told_without_it(write_config: WriteConfig, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(text), Overrides())
    assert SECRET not in str(caught.value).replace(f"n: {SECRET}", "")


def test_a_setting_or_a_variable_that_cannot_be_read_is_told_without_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings([f"passthrough_kwargs.token=[{SECRET}"])
    assert "--set passthrough_kwargs.token: " in str(caught.value)
    assert SECRET not in str(caught.value)
    for name in ("LLEM_PASSTHROUGH_KWARGS__API_KEY", "LLEM_PASSTHROUGH_KWARGS__TOKEN"):
        with pytest.raises(ConfigError) as caught:
            environment_source({name: f"[{SECRET}"})
        assert name in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "passed",
    [
        {"use_auth_token": True, "auth": None, "password": ""},
        {"pad_token": "<pad>", "max_tokens": 12000, "eos_token_id": 50256, "stop_token": "</s>"},
        {"proxies": {"https": "http://me:${PW}@proxy"}, "headers": {"Authorization": "Bearer ${TOKEN}"}},
    ],
)
def test_what_is_no_secret_or_only_its_name_is_kept_as_it_is(passed: dict[str, Any]) -> None:
    config = ExperimentConfig(model="m", backend="llamacpp", passthrough_kwargs=passed)
    assert config.passthrough_kwargs == passed
    assert json.loads(json.dumps(config.resolved()))["passthrough_kwargs"] == passed


def test_no_field_of_ours_looks_secret() -> None:
    names = [*field_defaults(ExperimentConfig), *(name for s in ENGINE_SECTIONS.values() for name in s.model_fields)]
    # But the key of a server, which is named by a variable and refused when it is written out.
    assert [name for name in names if any(map(looks_secret, name.split(".")))] == ["server.api_key", "api_key"]


def test_values_are_put_in_place_in_a_copy_and_the_hash_is_over_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_PW", SECRET)
    monkeypatch.setenv("MODELS_HERE", "/data/models")
    passed: dict[str, Any] = {"proxies": {"https": "http://me:${PROXY_PW}@proxy"}, "lists": ["${PROXY_PW}", 1]}
    config = ExperimentConfig(
        model="${MODELS_HERE}/a", lora=LoRAConfig(path="${MODELS_HERE}/b"), passthrough_kwargs=passed
    )
    before = measurement_config_hash(config)
    used = in_use(config)
    assert used.model == "/data/models/a"
    assert used.lora is not None
    assert used.lora.path == "/data/models/b"
    assert used.passthrough_kwargs == {"proxies": {"https": f"http://me:{SECRET}@proxy"}, "lists": [SECRET, 1]}
    assert config.model == "${MODELS_HERE}/a"
    assert SECRET not in config.model_dump_json()
    monkeypatch.setenv("PROXY_PW", "another-password")
    assert measurement_config_hash(config) == before


def test_every_variable_that_is_not_set_is_told_with_its_field() -> None:
    config = ExperimentConfig(model="${NO_SUCH_A}/m", dataset=DatasetConfig(path=Path("${NO_SUCH_B}/${NO_SUCH_C}.txt")))
    with pytest.raises(PreFlightError) as caught:
        in_use(config)
    assert str(caught.value).splitlines() == [
        "model: ${NO_SUCH_A} is named and not set; export it before the run",
        "dataset.path: ${NO_SUCH_B}, ${NO_SUCH_C} is named and not set; export it before the run",
    ]
