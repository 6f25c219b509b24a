"""Files of every revision that was ever written stay readable, and no field comes without a new revision."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.experiment import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.outputs import compare_runs
from llenergymeasure.results.persistence import load_result
from llenergymeasure.testing import fake_process_result

GOLDEN = Path(__file__).parents[2] / "golden"
FOLDERS = sorted(GOLDEN.glob("revision-*/*/"))


def common(read: Any, written: Any) -> Any:
    """What was read, without what a later revision has more."""
    if isinstance(written, dict):
        return {name: common(read[name], value) for name, value in written.items()}
    if isinstance(written, list):
        return [common(*pair) for pair in zip(read, written, strict=True)]
    return read


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_every_golden_result_is_read_without_a_word(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = load_result(folder)
    assert result.schema_revision == int(folder.parent.name.removeprefix("revision-"))
    assert caplog.text == ""
    # Whatever the file says is what is read.
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    again = json.loads(result.model_dump_json())
    assert common(again, written) == written
    # And its tables belong to it.
    assert result.requests is not None
    rows = pq.read_table(folder / result.requests).to_pydict()
    assert (len(rows["index"]), sum(rows["output_tokens"])) == (result.n_requests, result.output_tokens)
    assert compare_runs(folder, folder).n_identical == result.n_requests


def test_the_first_revision_of_a_modelled_run() -> None:
    # Read off the file by eye.
    result = load_result(GOLDEN / "revision-1" / "quickstart")
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (24, 5197, 1468)
    assert result.measurement_config_hash == "e940eb533eabd5ae"
    assert result.total_flops == 1415692068480.0
    assert result.total_energy_j == 1642.5610899345543
    assert (result.validity, result.validity_flags) == ("not_citable", ["energy_modelled"])
    # Among the parameters until revision 3.
    assert result.model.parameters is not None
    assert result.model.batch_size == result.model.parameters["batch_size"] == 8


def test_the_second_revision_of_a_modelled_run() -> None:
    # Read off the file by eye.
    result = load_result(GOLDEN / "revision-2" / "quickstart")
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (16, 3644, 1024)
    assert (result.model.batch_size, result.model.weights, result.model.quantization) == (8, None, None)
    assert result.model.chat_template == "applied to every prompt"


def test_the_third_revision_of_a_modelled_run() -> None:
    # Read off the file by eye: four requests in two batches, of which nobody wrote down what was independent.
    result = load_result(GOLDEN / "revision-3" / "quickstart")
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (4, 256, 32)
    assert result.latency_stats is not None
    assert result.latency_stats.counted_from is None
    assert result.latency_stats.ttft_s is not None
    assert (result.latency_stats.ttft_s.n, result.latency_stats.ttft_s.n_independent) == (4, None)
    assert result.process_results[0].energy_window_s is None


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"batch_size": 4, "adapter": "lora"}, {"batch_size": 4, "adapter": "lora"}),
        ({"batch_size": "dynamic", "quantization": 4, "adapter": True}, {}),
        ({"batch_size": True, "weights": None}, {}),
        ({"chat_template": ["applied to no prompt", "applied to every prompt"]},
         {"chat_template": "applied to no prompt; applied to every prompt"}),
    ],
)  # fmt: skip
def test_a_name_that_an_engine_used_for_something_else_is_left_where_it_is(
    parameters: dict[str, Any], named: dict[str, Any], tmp_path: Path
) -> None:
    written = json.loads((GOLDEN / "revision-2" / "quickstart" / "result.json").read_text(encoding="utf-8"))
    written["model"]["parameters"] = parameters
    (tmp_path / "result.json").write_text(json.dumps(written), encoding="utf-8")
    model = load_result(tmp_path).model
    assert model.parameters == parameters
    facts = ("batch_size", "weights", "quantization", "adapter", "chat_template")
    assert {name: value for name in facts if (value := getattr(model, name)) is not None} == named


def test_the_first_revision_of_a_run_on_two_gpus_with_phases() -> None:
    result = load_result(GOLDEN / "revision-1" / "gpus")
    assert [(d.device, d.kind, d.energy_j) for d in result.energy_devices] == [
        ("GPU-0", "gpu", 600.0), ("GPU-1", "gpu", 600.0), ("package-0", "cpu", 12.5),
    ]  # fmt: skip
    assert (result.total_energy_j, result.duration_sec, result.output_tokens) == (1200.0, 4.0, 32)
    assert result.phases is not None
    assert result.phases.n_pairs == 5
    assert result.thermal_throttle is not None
    assert result.thermal_throttle.power
    assert result.environment_snapshot.gpus[1].compute_capability == (8, 0)
    assert result.validity == "questionable"
    assert result.validity_flags == [
        "aliasing", "short_measurement_duration", "foreign_process", "gpu_throttled",
    ]  # fmt: skip


def fields_of(schema: dict[str, Any]) -> Iterator[str]:
    """Every field of a schema and of what it refers to."""
    yield from (f"ExperimentResult.{name}" for name in schema["properties"])
    for kind, definition in schema["$defs"].items():
        yield from (f"{kind}.{name}" for name in definition.get("properties", {}))


def columns_of(folder: Path) -> list[str]:
    """Every column of the tables beside a result, with its kind."""
    return sorted(
        f"{path.name} {field.name}: {field.type}" for path in folder.glob("*.parquet") for field in pq.read_schema(path)
    )


def test_a_column_that_comes_or_goes_is_a_new_revision(tmp_path: Path) -> None:
    """If this fails, do as below; the columns go into ``columns-of-revision-N.txt``."""
    power = Readings(kind="power", reads=(Reading(10.0, 100.0), Reading(12.0, 100.0)))
    trace = DeviceTrace(device="GPU-0", sensor="nvml", start_s=10.0, end_s=12.0, facts={}, readings=(power,))
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m")))
    write_sidecars(tmp_path, [raw.model_copy(update={"energy": EnergyMeasurement(None, 2.0, 2, trace=(trace,))})])
    recorded = (GOLDEN / f"columns-of-revision-{SCHEMA_REVISION}.txt").read_text(encoding="utf-8").splitlines()
    assert columns_of(tmp_path) == recorded
    # Columns never go.
    names = {line.partition(":")[0] for line in recorded}
    for folder in FOLDERS:
        assert {line.partition(":")[0] for line in columns_of(folder)} <= names


def test_a_field_that_comes_or_goes_is_a_new_revision() -> None:
    """If this fails: raise SCHEMA_REVISION, say there what is new, and keep a golden result of the last one.

    Then write the fields into ``tests/golden/fields-of-revision-N.txt``. Fields never go.
    """
    now = sorted(fields_of(ExperimentResult.model_json_schema(mode="serialization")))
    recorded = (GOLDEN / f"fields-of-revision-{SCHEMA_REVISION}.txt").read_text(encoding="utf-8").split()
    assert now == recorded
    for earlier in range(2, SCHEMA_REVISION):
        gone = set((GOLDEN / f"fields-of-revision-{earlier}.txt").read_text(encoding="utf-8").split()) - set(now)
        assert gone == set()
