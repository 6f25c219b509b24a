"""The examples load, and those with a packaged model would run here."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from llenergymeasure.config.loader import load_experiment_config, load_study_config
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.yaml_file import read_config_file
from llenergymeasure.config.sweep.looks import is_study
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS
from tests.fakes.command import Ran

ROOT = Path(__file__).parents[2]
# Others are for schedulers (tests/unit/test_cluster_examples.py).
EXAMPLES = [
    path
    for path in sorted((ROOT / "examples").rglob("*.y*ml"))
    if "apiVersion" not in yaml.safe_load(path.read_text(encoding="utf-8"))
]


def experiments_of(path: Path) -> list[ExperimentConfig]:
    if is_study(read_config_file(path).values):
        return load_study_config(path).experiments
    return [load_experiment_config(path)]


def uses_packaged_models(path: Path) -> bool:
    return all(experiment.model in PACKAGED_MODELS for experiment in experiments_of(path))


def example(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_an_example_with_a_packaged_model() -> None:
    assert any(map(uses_packaged_models, EXAMPLES))


@pytest.mark.parametrize("name", ["quickstart", "laptop"])
def test_a_first_measurement_fits_any_processor_and_has_whole_batches(name: str) -> None:
    [experiment] = experiments_of(ROOT / "examples" / f"{name}.yaml")
    assert experiment.precision == "auto"
    assert experiment.pytorch is not None
    assert experiment.n % experiment.pytorch.batch_size == 0


@pytest.mark.parametrize("path", EXAMPLES, ids=example)
def test_the_example_loads(path: Path) -> None:
    assert experiments_of(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=example)
def test_the_example_keeps_to_the_schema_that_its_first_line_names(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if is_study(read_config_file(path).values):
        assert "yaml-language-server" not in text
        return
    schema_line = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert schema_line is not None
    schema = json.loads((path.parent / schema_line[1]).read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(yaml.safe_load(text))


@pytest.mark.parametrize("path", EXAMPLES, ids=example)
def test_every_line_that_says_something_new_is_explained(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert sum("#" in line for line in lines) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=example)
def test_a_packaged_example_lacks_nothing_but_packages(path: Path, llem: Callable[..., Ran], folder: Path) -> None:
    if not uses_packaged_models(path):
        pytest.skip("its model does not come in a package")
    ran = llem("run", path, "--dry-run")
    if ran.code:
        assert ran.code == 1
        assert all("pip install" in line for line in ran.err.splitlines()), ran.err
    assert list(folder.iterdir()) == []
