"""``llem config``."""

import json
from collections.abc import Callable

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.results.showing.lines import LABEL
from tests.fakes.command import Ran


def test_it_shows_gpus_engines_energy_sensors_and_models(llem: Callable[..., Ran]) -> None:
    ran = llem("config", "--verbose")
    assert (ran.code, ran.err) == (0, "")
    labels = [line[:LABEL].strip() for line in ran.out.splitlines()]
    for label in ("llem", "machine", "CPU computes", "engine pytorch", "energy auto", "packaged model", "package"):
        assert label in labels
    assert [name for name in labels if name.startswith("energy ")] == [
        "energy zeus", "energy nvml", "energy rapl", "energy hwmon", "energy codecarbon", "energy auto",
    ]  # fmt: skip
    assert any(name.startswith("GPU") for name in labels)
    # Whatever is not usable says why, and what is was read.
    assert all(len(part.split("not usable: ")[1]) > 10 for part in ran.out.splitlines() if "not usable" in part)
    assert all(
        " over 0.5 s" in part for part in ran.out.splitlines() if part.startswith("energy ") and "usable (" in part
    )


def test_json_has_all_that_it_shows(llem: Callable[..., Ran]) -> None:
    ran = llem("config", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert {"environment", "engines", "sensors", "packaged_models", "user_file", "defaults", "advice"} <= set(found)
    sensors = {each["name"]: each for each in found["sensors"]}
    assert list(sensors) == ["zeus", "nvml", "rapl", "hwmon", "codecarbon"]
    assert all(each["read_w"] is None for each in sensors.values() if each["problem"] is not None)
    assert {each["name"] for each in found["engines"]} >= {"pytorch", "vllm", "llamacpp"}
    assert found["environment"]["tool_version"]
    assert {"n", "backend"} <= {each["name"] for each in found["defaults"]}


def test_wrong_defaults_are_a_line_and_hide_nothing_else(
    llem: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLEM_NN", "3")
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    assert "LLEM_NN: nn: unknown key; did you mean 'n'?" in ran.out
    assert "energy auto" in ran.out
    found = json.loads(llem("config", "--json").out)
    assert (found["defaults"], "LLEM_NN" in found["defaults_problem"]) == ([], True)


def test_the_schema_describes_every_field_and_takes_a_dataset_by_name(llem: Callable[..., Ran]) -> None:
    ran = llem("config", "--schema")
    schema = json.loads(ran.out)
    assert (ran.code, schema["$schema"]) == (0, "https://json-schema.org/draft/2020-12/schema")
    assert set(schema["properties"]) == set(ExperimentConfig.model_fields)
    assert all(p.get("description") for p in schema["properties"].values())
    assert {"type": "string"} in schema["properties"]["dataset"]["anyOf"]
