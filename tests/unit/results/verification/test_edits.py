"""Edits by somebody who makes the sums anew, so that they hold: what is found by looking at what the files say."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.domain.assembly import ProcessSummary
from llenergymeasure.domain.meaning.fields import definitions_in
from llenergymeasure.domain.metrics import LatencyStatistics
from llenergymeasure.results.verification import definitions, schema
from llenergymeasure.results.verification.verify import in_lines, verify
from tests.fakes.damages import sums_written
from tests.unit.results.verification.test_bundles import GOLDEN, wrong

Edit = Callable[[dict[str, Any]], object]
RAW = ".state/process_0.json"
QUICK = GOLDEN / "revision-5" / "quickstart"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A recorded run, which agrees."""
    return Path(shutil.copytree(QUICK, tmp_path / "run"))


def edited(folder: Path, name: str, *edits: Edit) -> None:
    file = folder / name
    content = json.loads(file.read_text())
    for edit in edits:
        edit(content)
    file.write_text(json.dumps(content))


FIRST_OF_THE_NEWEST = ("trace", "energy_interval_j", "energy_interval_parts_j", "dither_energy_j")
OTHERS_OF_THE_NEWEST = (
    "definitions", "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope", "dither_pause_s",
    "energy_net_of_loaded_idle_uncertainty_j", "idle_loaded_power_uncertainty_w", "attached_logs",
)  # fmt: skip


def made_older(folder: Path, *without: str) -> None:
    """Say that a result is of revision 4, and may be cited."""

    def edit(result: dict[str, Any]) -> None:
        for name in without:
            del result[name]
        result.update(schema_revision=4, validity="citable", validity_flags=[], measurement_warnings=[])

    edited(folder, "result.json", edit)
    (folder / "DONE").unlink()
    shutil.rmtree(folder / ".state")


def without_nested(result: dict[str, Any]) -> None:
    """Take out what came with revision 5 below the top."""
    for row in result["energy_devices"]:
        row.pop("duration_sec", None)
        row.pop("uncertainty_parts_j", None)
    for name in ("baseline_power_uncertainty_w", "adjusted_uncertainty_j"):
        del result["energy_breakdown"][name]
    for name in ("baseline_power_uncertainty_w", "idle_loaded_power_uncertainty_w"):
        del result["process_results"][0][name]
    del result["warmup_result"]["thermal_settled"]


def test_what_came_with_the_newest_revision_marks_a_file_as_one_of_it(copy: Path) -> None:
    made_older(copy, *FIRST_OF_THE_NEWEST)
    found = wrong(verify(copy))
    assert "damaged: schema_revision: it is 4, and definitions came with 5" in found
    edited(copy, "result.json", lambda result: [result.pop(name) for name in OTHERS_OF_THE_NEWEST])
    at = "energy_breakdown.baseline_power_uncertainty_w"
    assert f"damaged: schema_revision: it is 4, and {at} came with 5" in wrong(verify(copy))


@pytest.mark.parametrize(
    ("revision", "stated", "mark"),
    [(3, 2, "model.batch_size came with 3"), (3, 1, "validity came with 2"), (2, 1, "validity came with 2")],
)
def test_no_file_is_of_an_earlier_revision_than_what_it_has(
    revision: int, stated: int, mark: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(GOLDEN / f"revision-{revision}" / "quickstart", tmp_path / "run"))
    edited(folder, "result.json", set_at("schema_revision", stated))
    assert f"damaged: schema_revision: it is {stated}, and {mark}" in wrong(verify(folder))


def test_no_revision_makes_modelled_joules_citable(copy: Path) -> None:
    made_older(copy, *FIRST_OF_THE_NEWEST, *OTHERS_OF_THE_NEWEST)
    edited(copy, "result.json", without_nested)
    # Joules are modelled, and others took 85 % of the machine.
    why = "the file says citable, and by figures and warnings it is not_citable: energy_modelled, foreign_load_high"
    assert wrong(verify(copy)) == [f"differs: validity: {why}"]
    edited(copy, "result.json", lambda result: result.update(validity="not_citable"))
    assert wrong(verify(copy)) == ["differs: validity_flags: the file says [], and validity is not_citable"]


def test_of_an_earlier_revision_the_last_line_says_what_was_not_verified() -> None:
    report = verify(GOLDEN / "revision-3" / "quickstart")
    said = list(in_lines(report))[-1].removeprefix(f"{report.folder}: ")
    assert said.startswith(f"agrees as far as revision 3 can be verified: {report.n_agreed} figures derived again, ")
    assert said.endswith(")")
    assert {"DONE", ".state", "validity"} <= set(said.partition("(")[2].removesuffix(")").split(", "))


def set_at(place: str, value: object) -> Edit:
    """Put a value at a place, which names keys and numbers of rows."""

    def edit(content: Any) -> None:
        *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
        for part in way:
            content = content[part]
        content[last] = value

    return edit


def test_what_is_edited_below_agrees_as_it_was_recorded(copy: Path) -> None:
    edited(copy, "result.json")
    sums_written(copy)
    assert wrong(verify(copy)) == []


@pytest.mark.parametrize(
    ("file", "place", "value", "line"),
    [
        (
            "result.json", "energy_breakdown.adjusted_uncertainty_j", 7.0,
            "differs: energy_breakdown.adjusted_uncertainty_j: the file says 7, derived None",
        ),
        (
            RAW, "energy_breakdown.adjusted_uncertainty_j", 7.0,
            "differs: process 0 energy_breakdown.adjusted_uncertainty_j: the file says 7, derived None",
        ),
        (
            RAW, "requests.0.first_token_s", 20000.0,
            "differs: process 0 request 0 first_token_s: the file says 20000, derived 14892.7808885 +-1e-09",
        ),
        (
            RAW, "parallelism", "singlex",
            "differs: process 0 parallelism: the file says singlex, and of ['single'] it is one",
        ),
        *(
            (
                "result.json", "process_results.0.counted_devices", said,
                f"differs: process_results[0].counted_devices: the file says {said}, derived ['cpu']",
            )
            for said in (["ram"], [], ["cpu", "cpu"], None)
        ),
        (
            "result.json", "definitions.mfu", 2,
            "differs: definitions.mfu: the file says 2, and 1 is the version of this revision",
        ),
        *(
            ("result.json", name, None, f"damaged: {name}.parquet: result.json says that there is none, in {name}")
            for name in ("requests", "outputs", "timeseries")
        ),
    ],
)  # fmt: skip
def test_an_edit_of_one_copy_is_found(file: str, place: str, value: object, line: str, copy: Path) -> None:
    edited(copy, file, set_at(place, value))
    sums_written(copy)
    assert line in wrong(verify(copy))


def test_a_table_of_readings_that_the_result_does_not_name_is_told(copy: Path) -> None:
    shutil.copy(copy / "timeseries.parquet", copy / "trace.parquet")
    sums_written(copy)
    assert wrong(verify(copy)) == ["damaged: trace.parquet: result.json says that there is none, in trace"]


def test_a_first_token_without_token_times_lies_within_its_request(copy: Path) -> None:
    # The first request was sent at 14868.67 s and ended at 14939.47 s.
    for first_s, agrees in ((14868.0, False), (14900.0, True), (14940.0, False)):
        edited(copy, RAW, set_at("requests.0.token_times_s", []), set_at("requests.0.first_token_s", first_s))
        sums_written(copy)
        found = [line for line in wrong(verify(copy)) if "process 0 request 0 first_token_s" in line]
        assert (not found) is agrees


def test_a_warning_that_is_there_twice_is_told(copy: Path) -> None:
    edited(
        copy, "result.json", lambda result: result["measurement_warnings"].append(result["measurement_warnings"][-1])
    )
    sums_written(copy)
    (found,) = wrong(verify(copy))
    assert found.startswith("differs: measurement_warnings: the file says energy_modelled: ")
    assert found.endswith(", and it is there twice")


@pytest.mark.parametrize("place", ["latency_stats.p100", "process_results.0.watts"])
def test_an_unknown_field_is_told_wherever_it_stands(place: str, copy: Path) -> None:
    edited(copy, "result.json", set_at(place, 1))
    sums_written(copy)
    name = place.replace(".0.", "[0].")
    assert f"not verifiable: {name}: this field is not known here" in map(str, verify(copy).findings)


def test_versions_of_formulas_and_fields_of_rows_are_those_of_the_package() -> None:
    for revision in (5, 6):
        assert definitions_in(revision) == definitions.versions_in(revision)
    assert {field.name for field in fields(ProcessSummary)} == schema._OF_A_PROCESS
    assert {field.name for field in fields(LatencyStatistics)} == schema._OF_LATENCIES
