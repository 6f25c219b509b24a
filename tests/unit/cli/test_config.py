"""``llem config``."""

import json
from collections.abc import Callable

from llenergymeasure.config.models import ExperimentConfig
from tests.fakes.command import Ran


def test_it_shows_gpus_engines_energy_sensors_and_models(llem: Callable[..., Ran]) -> None:
    ran = llem("config", "--verbose")
    assert (ran.code, ran.err) == (0, "")
    labels = [line[:22].strip() for line in ran.out.splitlines()]
    for label in ("machine", "engine pytorch", "energy auto", "packaged model", "package"):
        assert label in labels
    assert [name for name in labels if name.startswith("energy ")] == [
        "energy zeus", "energy nvml", "energy rapl", "energy hwmon", "energy codecarbon", "energy auto",
    ]  # fmt: skip
    assert any(name.startswith("GPU") for name in labels)
    # Whatever is not usable says why.
    assert all(len(part.split("not usable: ")[1]) > 10 for part in ran.out.splitlines() if "not usable" in part)


def test_the_schema_describes_every_field_and_takes_a_dataset_by_name(llem: Callable[..., Ran]) -> None:
    ran = llem("config", "--schema")
    schema = json.loads(ran.out)
    assert (ran.code, schema["$schema"]) == (0, "https://json-schema.org/draft/2020-12/schema")
    assert set(schema["properties"]) == set(ExperimentConfig.model_fields)
    assert all(p.get("description") for p in schema["properties"].values())
    assert {"type": "string"} in schema["properties"]["dataset"]["anyOf"]
