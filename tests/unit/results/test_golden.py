"""Files of every revision that was ever written stay readable, and no field comes without a new revision."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.meaning.fields import FORMULAS, definitions_in
from llenergymeasure.domain.meaning.schema import result_schema
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import SCHEMA_REVISION
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.outputs import compare_runs
from llenergymeasure.results.persistence import as_written, load_result
from llenergymeasure.results.process_files import read_process_results
from llenergymeasure.results.sums import problems_with
from llenergymeasure.testing import fake_process_result
from tests.unit.results.recorded import (
    GOLDEN,
    definitions,
    fields,
    hidden_changes,
    list_of,
    names_of_fields,
    versions_of,
)

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
    if result.requests_in_flight is None:
        assert (len(rows["index"]), sum(rows["output_tokens"])) == (result.n_requests, result.output_tokens)
        assert compare_runs(folder, folder).n_identical == result.n_requests
    else:
        # One of before the window, one that failed and one that goes on after it.
        assert len(rows["index"]) == result.n_requests + 2


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


def test_the_fifth_revision_of_two_processes_on_two_gpus() -> None:
    # By hand: 300 W each over 4.46875 and 4.5 s, 60 and 61 W idle, 80 and 81 W with the model, bounds of 6 J each.
    result = load_result(GOLDEN / "revision-5" / "gpus")
    total_j = 300 * 4.46875 + 300 * 4.5
    assert (result.total_energy_j, result.energy_uncertainty_j) == (total_j, 12.0) == (2690.625, 12.0)
    assert result.energy_adjusted_j == total_j - (60 * 4.46875 + 61 * 4.5) == 2148.0
    assert result.energy_net_of_loaded_idle_j == total_j - (80 * 4.46875 + 81 * 4.5) == 1968.625
    assert result.energy_net_of_loaded_idle_uncertainty_j == 12 + 0.75 * 8.96875
    assert (result.baseline_power_w, result.idle_loaded_power_w) == (121.0, 161.0)
    # Answers of 2, 3 and 4 tokens on each GPU; prompts of 5 to 10.
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (6, 45, 18)
    assert result.energy_per_output_token_j == pytest.approx(2690.625 / 18)
    assert result.avg_energy_per_token_j == pytest.approx(2690.625 / 63)
    assert result.energy_per_request_j == pytest.approx(2690.625 / 6)
    assert (result.duration_sec, result.tokens_per_second) == (4.5, 4.0)
    assert result.latency_stats is not None
    assert result.latency_stats.e2e_s is not None
    # 0.25 s to the first token and 0.125 s to each of 1, 2 and 3 more; two batches of each process.
    assert (result.latency_stats.e2e_s.mean, result.latency_stats.e2e_s.n_independent) == (0.5, 4)
    # The package once, by the longer reading.
    assert (result.energy_host_j, result.energy_host_uncertainty_j) == (2690.625 + 50 * 4.5, 12.5)
    # 2 % of the total are open to aliasing, the larger of both.
    assert result.energy_interval_j == pytest.approx((2690.625 - 12 - 53.8125, 2690.625 + 12 + 53.8125))
    assert result.joules_per_tflop == pytest.approx(2690.625 / (2 * 9.8e6 / 1e12))
    assert (result.peak_memory_mb, result.dither_pause_s, result.dither_energy_j) == (2001.0, 0.5, 80 * 0.25 + 81 * 0.5)
    assert result.definitions.items() <= definitions_in(5).items()


def test_the_sixth_revision_has_quality_beside_what_the_fifth_had() -> None:
    result, before = load_result(GOLDEN / "revision-6" / "gpus"), load_result(GOLDEN / "revision-5" / "gpus")
    assert result.quality is not None
    # By hand: two nats a token, and 400 tokens of 4.5 bytes.
    assert result.quality.perplexity == pytest.approx(math.e**2)
    assert result.quality.bits_per_byte == pytest.approx(2 / 4.5 / 0.6931471805599453)
    assert result.definitions.keys() - before.definitions.keys() == {
        "quality.perplexity", "quality.bits_per_byte", "quality.nll_nats",
    }  # fmt: skip
    assert before.quality is None
    other = {name for name in type(result).model_fields if getattr(result, name) != getattr(before, name)}
    assert other == {"schema_revision", "definitions", "quality", "effective_config"}
    # It is in no hash.
    assert result.measurement_config_hash == before.measurement_config_hash


def test_the_seventh_revision_of_a_load() -> None:
    # By hand: in twenty seconds two short requests of three tokens in each of ten parts, and ten long ones of eight,
    # of which one failed, one more goes on after the window, and one was there before it.
    result = load_result(GOLDEN / "revision-7" / "load")
    found = result.load
    assert found is not None
    assert (found.n_arrived_in_window, found.arrived_requests_per_second) == (31, 1.55)
    assert (found.in_flight.n_at_start, found.in_flight.n_at_end) == (1, 1)
    # The one before is there for 0.25 s, the failed one for 0.5, 19 short ones for 0.5 each, 10 long ones for 1.125,
    # and the last for 0.75.
    assert found.in_flight.n_mean == pytest.approx((0.25 + 0.501 + 19 * 0.5 + 10 * 1.125 + 0.75) / 20, abs=1e-3)
    assert found.sending is not None
    # Short ones are late by 1 to 10 ms, the failed one among them, and the eleven long ones by 2.
    assert found.sending.late_s.mean == pytest.approx((2 * 55 + 11 * 2) / 31 / 1000)
    assert found.sending.share_of_gap == pytest.approx((2 * 55 + 11 * 2) / 1000 / 20)
    assert found.overload is not None
    assert not found.overload.overloaded
    # Parts of two seconds; of the steps at their ends power sees half of a fifth of a second.
    first, second = found.sub_windows[:2]
    assert first.part_energy_j == pytest.approx(2 * 89.5 + 21 * 0.1)
    assert (first.output_tokens, second.output_tokens) == (8, 14)
    assert found.slo is not None
    assert (found.slo.n_ended, found.slo.n_good, found.slo.met) == (31, 30, True)
    assert [each.p95_s for each in found.slo.promised] == pytest.approx([0.375, 0.125, 1.125])
    # Two tokens of the first, 19 * 3 of the short ones, 10 * 8 of the long ones, and four of the last: two parts.
    assert (found.slo.n_good_output_tokens, result.output_tokens) == (2 + 57 + 80 + 4, 143)
    assert result.total_energy_j is not None
    assert found.slo.joules_per_good_token == pytest.approx(result.total_energy_j / 143)
    assert found.failures == {"timeout": 1}
    assert found.counted_by == {"tokens": 20, "usage": 10}
    assert (found.n_cached_input_tokens, found.n_tokens_per_chunk) == (2 * 11, 2.0)
    assert (result.validity, result.measurement_warnings) == ("citable", [])


def test_the_eighth_revision_says_where_it_was_measured() -> None:
    result, before = load_result(GOLDEN / "revision-8" / "gpus"), load_result(GOLDEN / "revision-7" / "gpus")
    found = result.environment_snapshot
    assert (found.host, found.boot_id) == ("node07", "00000000-0000-0000-0000-000000000000")
    assert found.job is not None
    assert (found.job.scheduler, found.job.job_id, found.job.array_job_id, found.job.array_task_id) == (
        "slurm", "4711", "4708", 3,
    )  # fmt: skip
    assert (found.job.n_restarts, found.job.node_list, found.job.n_cpus, found.job.n_gpus) == (1, "node[07-08]", 4, 2)
    assert found.job.end_time == datetime(2026, 1, 1, 13, tzinfo=UTC)
    assert found.share is not None
    assert found.share.gpus_shown == "0,1"
    # The job has all of the four processors.
    assert found.part_of_host is None
    old = before.environment_snapshot
    assert (old.host, old.boot_id, old.job, old.share, old.part_of_host) == (None, None, None, None, None)
    other = {name for name in type(result).model_fields if getattr(result, name) != getattr(before, name)}
    # What processes have more is the node of each, where there are several.
    assert other == {"schema_revision", "environment_snapshot", "effective_config"}
    assert result.measurement_config_hash == before.measurement_config_hash


def test_the_eighth_revision_of_a_load_says_when_its_requests_were_to_come() -> None:
    result, before = load_result(GOLDEN / "revision-8" / "load"), load_result(GOLDEN / "revision-7" / "load")
    assert result.load is not None
    assert before.load is not None
    assert (result.load.arrivals_digest, before.load.arrivals_digest) == ("4" * 64, None)
    assert result.load == replace(before.load, arrivals_digest="4" * 64)


def recorded_processes() -> list[Path]:
    """Golden results that have beside them what they were made of."""
    return [folder for folder in FOLDERS if (folder / ".state").is_dir()]


@pytest.mark.parametrize("folder", recorded_processes(), ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_was_measured_gives_the_same_figures_by_the_same_definitions(folder: Path) -> None:
    """If this fails, a formula has changed: add the revision to its ``since`` in domain/meaning, and do as below."""
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    raws = read_process_results(folder / ".state", len(written["process_results"]))
    again = json.loads(as_written(aggregate_processes(raws)))
    other = [
        place
        for place, formula in FORMULAS.items()
        if written["definitions"].get(place) == formula.version
        and not alike(value_at(again, place), value_at(written, place))
    ]
    assert other == []


def test_the_golden_figures_would_show_a_formula_that_changes() -> None:
    """If a formula is new: give it a figure in ``golden_gpus`` or ``golden_load``, and write it with ``python -m``."""
    written, load = (
        json.loads((GOLDEN / "revision-7" / name / "result.json").read_text(encoding="utf-8"))
        for name in ("gpus", "load")
    )
    unknown = [place for place in FORMULAS if value_at(written, place) is None and value_at(load, place) is None]
    assert unknown == []
    assert value_at(written, "energy_devices.uncertainty_j") == [6.0, 0.5, 6.0]
    assert not alike(value_at(written, "phases.decode"), value_at(written, "phases.prefill"))
    assert alike({"a": [1.0, None]}, {"a": [1.0 + 1e-12, None]})
    assert not alike({"a": [1.0, None]}, {"a": [1.0 + 1e-6, None]})


def value_at(values: Any, place: str) -> Any:
    """What stands at a place such as ``energy_devices.energy_j``; of a list of blocks each one's."""
    name, _, rest = place.partition(".")
    if values is None:
        return None
    if isinstance(values, list):
        return [value_at(value, place) for value in values]
    return value_at(values[name], rest) if rest else values[name]


def alike(a: Any, b: Any) -> bool:
    """Whether two values are the same, numbers but for what another order of adding makes."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9)
    return bool(a == b)


@pytest.mark.parametrize("folder", recorded_processes(), ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_golden_result_of_now_is_as_the_schema_has_it(folder: Path) -> None:
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if written["schema_revision"] == SCHEMA_REVISION:
        found = Draft202012Validator(result_schema()).iter_errors(written)
        # A field that a revision got before it was published may not be in it.
        assert [error.message for error in found if error.validator != "required"] == []
    file = folder / "result.json"
    assert problems_with(file, file.read_bytes()) == []
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in (".json", ".txt"))
    assert not re.findall(r"/(?:home|root|Users|tmp|work)/", text)


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


def test_a_field_that_comes_goes_or_holds_something_else_is_a_new_revision() -> None:
    """If this fails: raise SCHEMA_REVISION, say there what is new, and keep a golden result of the last one.

    Then write the lists with ``python -m tests.unit.results.recorded``. Fields never go.
    """
    assert fields() == list_of("fields").read_text(encoding="utf-8").splitlines()
    now = names_of_fields(SCHEMA_REVISION)
    for earlier in range(2, SCHEMA_REVISION):
        assert names_of_fields(earlier) - now == set()


def test_a_formula_that_changes_is_a_new_version_in_a_new_revision() -> None:
    """If this fails: add the revision to ``since`` of the formula in domain/meaning, and do as above."""
    assert definitions() == list_of("definitions").read_text(encoding="utf-8").splitlines()
    for earlier in range(5, SCHEMA_REVISION):
        before = list_of("definitions", earlier).read_text(encoding="utf-8").splitlines()
        assert hidden_changes(versions_of(before), versions_of(definitions())) == []


def test_a_formula_cannot_change_behind_its_name() -> None:
    before = versions_of(["a_j 1 (revision 1): b + c", "d_j 2 (revision 1, 5): e", "gone_j 1 (revision 1): f"])
    now = versions_of(["a_j 1 (revision 1): b - c", "d_j 3 (revision 1, 5, 6): e: two", "new_j 1 (revision 6): g"])
    assert before["a_j"] == (1, "b + c")
    assert hidden_changes(before, now) == ["a_j", "gone_j"]
    assert hidden_changes(before, before) == []


def test_a_result_of_before_has_the_definitions_of_its_revision() -> None:
    first, third = (load_result(GOLDEN / name / "quickstart").definitions for name in ("revision-1", "revision-3"))
    assert first == third
    # As the list of formulas has them: what bounds hold changed in 5, and what came in 5 is in neither.
    assert (first["total_energy_j"], first["energy_uncertainty_j"], first["flops_result.prefill"]) == (1, 1, 1)
    assert not {"energy_interval_j", "energy_host_j", "energy_breakdown.adjusted_uncertainty_j"} & set(first)
    assert definitions_in(4)["flops_result.prefill"] == 2
    assert (definitions_in(5)["energy_uncertainty_j"], definitions_in(5)["energy_interval_j"]) == (2, 1)
    # A revision that is not known yet has at least what is known.
    assert definitions_in(99) == definitions_in(SCHEMA_REVISION)


def test_a_result_says_where_it_was_made_with_later_definitions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = json.loads((GOLDEN / "revision-3" / "quickstart" / "result.json").read_text(encoding="utf-8"))
    written["definitions"] = {"total_energy_j": 1, "energy_per_output_token_j": 2, "of_nobody_j": 7}
    (tmp_path / "result.json").write_text(json.dumps(written), encoding="utf-8")
    assert load_result(tmp_path).definitions == written["definitions"]
    assert "made with later definitions than this version knows" in caplog.text
    assert caplog.text.rstrip().endswith(": energy_per_output_token_j")


@pytest.mark.parametrize("revision", [None, "five", [1]])
def test_a_revision_that_is_no_number_is_refused(revision: object, tmp_path: Path) -> None:
    written = json.loads((GOLDEN / "revision-3" / "quickstart" / "result.json").read_text(encoding="utf-8"))
    (tmp_path / "result.json").write_text(json.dumps(written | {"schema_revision": revision}), encoding="utf-8")
    with pytest.raises(ConfigError, match="schema_revision"):
        load_result(tmp_path)
