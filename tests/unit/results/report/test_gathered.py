"""What a report is of, and what it says of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.reading import Skipped
from llenergymeasure.results.report.data import report_data
from llenergymeasure.results.report.gathered import gathered
from llenergymeasure.results.report.table import largest_p95
from llenergymeasure.results.report.trust import banner_of
from llenergymeasure.results.rows.columns import Value
from llenergymeasure.results.sharing.packing import pack
from llenergymeasure.results.study.rows import SlotRow
from tests.fakes.studies import Study, of_batches


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Batch sizes 1 and 2, three runs each: 80 and 40 J for 4 tokens in 2 s."""
    study = Study.of(tmp_path / "a-study", of_batches(1, 2), 3)
    study.finish_all([80.0] * 3, [40.0] * 3)
    return study


def data_of(*paths: Path) -> dict[str, Any]:
    """The data of a report, with nothing passed over."""
    skipped: list[Skipped] = []
    data = report_data(paths, skipped.append)
    assert skipped == []
    return data


def column(data: dict[str, Any], key: str) -> dict[str, Any]:
    """A column of its table."""
    return next(each for each in data["table"]["columns"] if each["key"] == key)


def test_a_study_is_shown_as_it_was_planned(study: Study) -> None:
    data = data_of(study.directory.path)
    assert data["head"]["title"] == "a study"
    assert column(data, "setting.pytorch.batch_size")["values"] == [1, 2]
    assert column(data, "energy_per_output_token_j")["values"] == pytest.approx([20.0, 10.0])
    assert column(data, "tokens_per_second")["values"] == pytest.approx([2.0, 2.0])
    # Equally fast, and half the joules: the second alone is on both fronts.
    assert [row["fronts"] for row in data["table"]["rows"]] == [[], ["tokens_per_second", "ttft_p50_s"]]
    assert ["validity", "citable"] in data["head"]["facts"]
    assert data["head"]["banner"]["headline"] == "The energy of every run is citable"
    (pair,) = data["comparisons"]["pairs"].values()
    energy = next(each for each in pair["metrics"] if each["metric"] == "energy_per_output_token_j")
    assert energy["against_first"][0]["ratio"] == pytest.approx(0.5)
    assert energy["against_first"][0]["verdict"] == "different"
    assert data["comparisons"]["names"]["1"].endswith(f"runs/*-{data['table']['rows'][0]['hash']}'")
    assert data["texts"]["command"] == f"llem run {study.directory.path}/study.yaml"
    assert json.dumps(data, allow_nan=False)


def test_many_settings_are_one_column_so_that_figures_stand_beside_it(tmp_path: Path) -> None:
    (one,) = of_batches(1)
    (other,) = of_batches(
        2, precision="fp32", n=5, max_input_tokens=7, max_output_tokens=9, decoder={"do_sample": True, "top_k": 3}
    )
    study = Study.of(tmp_path / "a-study", [one, other])
    study.finish_all([80.0], [40.0])
    data = data_of(study.directory.path)
    main = [each["key"] for each in data["table"]["columns"] if each["main"]]
    assert main[:4] == ["number", "label", "n", "energy_per_output_token_j"]
    assert "batch_size 2" in column(data, "label")["values"][1]
    assert column(data, "setting.max_output_tokens")["values"][1] == 9


def test_without_idle_power_the_energy_is_in_one_part(study: Study) -> None:
    # Three runs of 80 J.
    assert data_of(study.directory.path)["energy"][0] == {"whole": pytest.approx(80.0), "n": 3, "phases": None}


def test_an_archive_is_shown_as_the_folder_that_it_was_made_from(study: Study, tmp_path: Path) -> None:
    archive = pack(study.directory.path, tmp_path / "a-study.zip")
    packed, folder = data_of(archive), data_of(study.directory.path)
    assert packed["table"] == folder["table"]
    assert packed["comparisons"]["pairs"] == folder["comparisons"]["pairs"]
    # What was unpacked is gone when somebody reads the page.
    assert set(packed["comparisons"]["names"].values()) == {None}
    assert packed["texts"]["command"].endswith("llem run experiment.yaml")


def test_results_that_nobody_planned_are_put_together_by_configuration_and_nothing_is_paired(study: Study) -> None:
    data = data_of(study.directory.path / "runs")
    # In the order in which they were run.
    assert sorted(column(data, "energy_per_output_token_j")["values"]) == pytest.approx([10.0, 20.0])
    assert [row["n"] for row in data["table"]["rows"]] == [3, 3]
    with gathered([study.directory.path / "runs"], lambda _: None) as found:
        assert not found.is_planned
        assert found.summary.rows[1].ratios["tokens_per_second"].method == "welch"


def test_a_result_that_lies_in_two_places_counts_once(study: Study, tmp_path: Path) -> None:
    run = next((study.directory.path / "runs").glob("*/attempt-1"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("result.json", "DONE", "log.txt"):
        (copy / name).write_bytes((run / name).read_bytes())
    skipped: list[Skipped] = []
    data = report_data([study.directory.path / "runs", copy], skipped.append)
    assert sum(row["n"] for row in data["table"]["rows"]) == 6
    assert [(each.path, each.damaged) for each in skipped] == [(copy, False)]


def test_the_same_results_give_the_same_data(study: Study) -> None:
    assert data_of(study.directory.path) == data_of(study.directory.path)


def test_a_study_of_which_nothing_has_finished_is_refused(tmp_path: Path) -> None:
    study = Study.of(tmp_path / "begun", of_batches(1))
    study.fail(study.slot(0))
    with pytest.raises(ConfigError, match="no experiment of this study has a result"):
        data_of(study.directory.path)


def test_no_home_directory_and_no_control_character_is_in_it(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = json.dumps(data_of(study.directory.path))
    assert str(tmp_path) not in text
    assert "~/a-study" in text


@pytest.fixture
def row(study: Study) -> SlotRow:
    """The row of a run."""
    with gathered([study.directory.path], lambda _: None) as found:
        return found.found.rows[0]


def with_values(row: SlotRow, **values: Value) -> SlotRow:
    """The same with other values."""
    return replace(row, values={**row.values, **values})


def test_what_all_runs_kept_to_is_the_largest_of_their_p95(row: SlotRow) -> None:
    one, other = (with_values(row, ttft_p95_s=p95_s, ttft_n_independent=20) for p95_s in (0.2, 0.3))
    assert largest_p95("ttft", [one, other]) == 0.3
    # A p95 takes 20 independent values: one in twenty lies beyond it.
    assert largest_p95("ttft", [one, with_values(other, ttft_n_independent=19)]) is None
    assert largest_p95("ttft", [one, with_values(other, ttft_p95_s=None)]) is None
    assert largest_p95("ttft", []) is None


def test_the_worst_run_decides_what_the_banner_says(row: SlotRow) -> None:
    bad = with_values(row, validity="not_citable", validity_flags="energy_modelled")
    assert banner_of([row, bad, row]) == {
        "verdict": "not_citable",
        "headline": "NOT CITABLE: the energy of 1 of 3 runs",
        "reasons": ["energy_modelled, in 1 run: no sensor stands behind the joules"],
    }
    assert banner_of([bad])["headline"] == "NOT CITABLE: the energy of this run"
    doubted = with_values(row, validity="questionable", validity_flags="zeus_refused")
    assert banner_of([row, doubted])["verdict"] == "questionable"
