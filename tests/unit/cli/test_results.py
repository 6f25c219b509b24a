"""``llem results`` and ``llem show``."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llenergymeasure.cli import render_result
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, EnergySource
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing import fake_process_result
from tests.fakes.command import Ran

Llem = Callable[..., Ran]


def put(
    folder: Path, total_j: float | None = 80.0, source: EnergySource = "counter", **fields: Any
) -> ExperimentResult:
    """A saved result of 4 output tokens in 2 s, so that 80 J are 20 J per token; its name is the folder's."""
    config = ExperimentConfig.model_validate({"model": "m", "name": folder.name, **fields})
    device = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=total_j, source=source, uncertainty_j=1.5, basis="load")
    energy = None if total_j is None else EnergyMeasurement(total_j, 2.0, 2, devices=(device,))
    raw = fake_process_result(ExperimentPlan.of(config))
    known = {"energy": energy, "energy_backend": "nvml" if energy else None, "measurement_warnings": ()}
    result = ExperimentResult.from_processes([raw.model_copy(update=known)])
    folder.mkdir(parents=True)
    save_result(result, folder)
    return result


def table(said: str) -> list[list[str]]:
    """Cells of a text table, which are two blanks apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in said.splitlines()]


def test_a_row_per_result_with_a_column_for_what_differs_and_units_in_the_headers(llem: Llem, folder: Path) -> None:
    put(folder / "r" / "a", pytorch={"batch_size": 1})
    put(folder / "r" / "b", 40.0, pytorch={"batch_size": 2})
    ran = llem("results", "r")
    assert (ran.code, ran.err) == (0, "")
    head, _, a, b, count = table(ran.out)
    assert head == [
        "name", "pytorch.batch_size", "requests", "output tokens", "output tokens (tokens/s)", "TTFT p50 (s)",
        "energy (J)", "energy per output token (J/token)", "validity", "origin", "folder",
    ]  # fmt: skip
    origin = "sensed: energy counter of the GPU (nvml)"
    assert a == ["a", "1", "1", "4", "2.00", "0.500", "80.0", "20.0", "citable", origin, "r/a"]
    assert b == ["b", "2", "1", "4", "2.00", "0.500", "40.0", "10.0", "citable", origin, "r/b"]
    assert count == ["2 results"]


def test_joules_have_a_letter_for_what_stands_behind_them_in_every_form_for_people(llem: Llem, folder: Path) -> None:
    put(folder / "a")
    put(folder / "b", source="modelled")
    put(folder / "c", None)
    columns = ("--columns", "name,total_energy_j")
    assert llem("results", ".", *columns).out.splitlines() == [
        "name      energy (J)",
        "------  ------------",
        "a               80.0",
        "b            80.0 ab",
        "c                  -",
        "a: the energy is modelled, not sensed",
        "b: the energy is not citable",
        "3 results",
    ]
    markdown = llem("results", ".", *columns, "--format", "markdown").out.splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown[2:5]] == [
        ["a", "80.0"], ["b", "80.0 (ab)"], ["c", "-"],
    ]  # fmt: skip
    assert markdown[6:] == ["(a) the energy is modelled, not sensed", "", "(b) the energy is not citable"]
    latex = llem("results", ".", *columns, "--format", "latex").out
    assert [" ".join(line.split()) for line in latex.splitlines()] == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"name & energy (J) \\",
        r"\midrule",
        r"a & 80.0 \\",
        r"b & 80.0\textsuperscript{ab} \\",
        r"c & - \\",
        r"\bottomrule",
        r"\multicolumn{2}{l}{\footnotesize \textsuperscript{a} the energy is modelled, not sensed} \\",
        r"\multicolumn{2}{l}{\footnotesize \textsuperscript{b} the energy is not citable} \\",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("latex", r"{[}50\%\_of\$\{x\}\&\#\textbackslash{}\textbar{}\textasciitilde{}\^{}\ensuremath{<}]"),
        ("markdown", r"\[50%\_of\${x}&#\\\|\~^\<\]"),
    ],
)
def test_what_a_format_would_take_for_something_else_is_escaped(
    llem: Llem, folder: Path, form: str, expected: str
) -> None:
    result = put(folder / "a")
    save_result(result.model_copy(update={"name": "[50%_of${x}&#\\|~^<]"}), folder / "a")
    assert expected in llem("results", "a", "--columns", "name,n", "--format", form).out


def test_conditions_sorting_and_columns(llem: Llem, folder: Path) -> None:
    for name, total_j, size in (("a", 40.0, 1), ("b", 80.0, 2), ("c", 60.0, 2)):
        put(folder / name, total_j, pytorch={"batch_size": size})
    columns = ("--columns", "name, pytorch.batch_size", "--format", "json")
    ran = llem("results", ".", "--where", "pytorch.batch_size>=2", "--sort", "-total_energy_j", *columns)
    assert json.loads(ran.out) == [
        {"name": "b", "pytorch.batch_size": 2},
        {"name": "c", "pytorch.batch_size": 2},
    ]
    ran = llem("results", ".", "--where", "pytorch.batch_size=2", "--where", "total_energy_j<70", *columns)
    assert [row["name"] for row in json.loads(ran.out)] == ["c"]
    ran = llem("results", ".", "--where", "backend=vllm")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "0 results")


def test_a_setting_that_some_rows_lack_is_not_set_there(llem: Llem, folder: Path) -> None:
    put(folder / "a", pytorch={"batch_size": 8, "device_map": {"": 0}})
    put(folder / "b", pytorch={"batch_size": 2}, lora={"path": "adapters/x"})
    put(folder / "c", backend="vllm", vllm={})

    def found(condition: str) -> list[str]:
        ran = llem("results", ".", "--where", condition, "--columns", "name", "--format", "json", "--sort", "name")
        assert (ran.code, ran.err) == (0, "")
        return [row["name"] for row in json.loads(ran.out)]

    assert found("pytorch.batch_size>=4") == ["a"]
    assert found("pytorch.batch_size!=8") == ["b", "c"]
    assert found("pytorch.batch_size=null") == ["c"]
    # No result has any of it.
    assert found("tensorrt.max_batch_size>=4") == []
    assert found("tensorrt.max_batch_size=null") == ["a", "b", "c"]
    # What has settings inside is set where one of them is.
    assert found("lora!=null") == ["b"]
    assert found("lora=null") == ["a", "c"]
    assert found("pytorch.device_map!=null") == ["a"]
    assert found("warmup.enabled=true") == ["a", "b", "c"]


def test_times_are_compared_as_times_whatever_their_zones(llem: Llem, folder: Path) -> None:
    for hour in range(3):
        start = datetime(2026, 1, 1, hour, tzinfo=UTC)
        save_result(put(folder / str(hour)).model_copy(update={"start_time": start}), folder / str(hour))

    def found(condition: str) -> list[str]:
        ran = llem("results", ".", "--where", condition, "--columns", "name", "--format", "json", "--sort", "name")
        return [row["name"] for row in json.loads(ran.out)]

    # 02:30 an hour ahead of UTC is 01:30Z.
    assert found("start_time>2026-01-01 02:30:00+01:00") == ["2"]
    assert found("start_time<=2026-01-01T03:00+02:00") == ["0", "1"]
    assert found("start_time=2026-01-01T01:00") == ["1"]
    assert found("start_time!=2025-12-31T20:00-05:00") == ["0", "2"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "Missing argument"),
        (["absent"], "absent: there is no such file or folder"),
        (["empty"], "empty: there is no result in it"),
        (["a", "--sort", "batch_sice"], "did you mean 'batch_size'?"),
        (["a", "--where", "backnd=vllm"], "backnd: no result has a column or a setting of this name"),
        (["a", "--where", "vllm.max_num_seq=1"], "did you mean 'vllm.max_num_seqs'?"),
        (["a", "--where", "max_num_seqs=1"], "did you mean 'vllm.max_num_seqs'?"),
        (["a", "--where", "execution.timeout_s=1"], "execution.timeout_s: no result has a column or a setting"),
        (["a", "--where", "pytorch.batch_size=eight"], "pytorch.batch_size is a number, and 'eight' is no finite one"),
        (["a", "--where", "backend"], "give NAME=VALUE"),
        (["a", "--where", "total_energy_j>nan"], "'nan' is no finite one"),
        # No result has a TTFT p99 here.
        (["a", "--where", "ttft_p99_s<abc"], "'abc' is no finite one"),
        (["a", "--where", "start_time>today"], "'today' is no time"),
        (["a", "--columns", "name,nam"], "did you mean 'name'?"),
        (["a", "--columns", " , "], "names no column"),
        (["a", "--format", "xml"], "'xml' is not one of"),
        (["a", "--format", "parquet"], "give a file with -o FILE"),
        (["a", "-o", "mine"], "-o mine: this exists and is not overwritten"),
    ],
)
def test_wrong_usage_is_code_2_and_writes_nothing(llem: Llem, folder: Path, args: list[str], said: str) -> None:
    put(folder / "a")
    (folder / "empty").mkdir()
    (folder / "mine").write_text("mine", encoding="utf-8")
    ran = llem("results", *args)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert (folder / "mine").read_text(encoding="utf-8") == "mine"


def test_what_is_damaged_is_told_and_the_rest_is_shown_with_code_1(llem: Llem, folder: Path) -> None:
    put(folder / "a")
    put(folder / "b")
    (folder / "b" / "result.json").write_text("{", encoding="utf-8")
    ran = llem("results", ".")
    assert (ran.code, ran.out.splitlines()[-1]) == (1, "1 results")
    assert ran.err.startswith("llem: passed over: b/result.json: this is no JSON")


def test_an_experiment_of_a_study_that_runs_is_told_and_no_fault(llem: Llem, folder: Path) -> None:
    put(folder / "a")
    (folder / "s" / "runs" / "0000-a" / "attempt-1").mkdir(parents=True)
    ran = llem("results", ".")
    assert ran.code == 0
    assert (
        ran.err == "llem: passed over: s/runs/0000-a/attempt-1: there is no result.json: it is running, or was ended\n"
    )


def test_results_of_a_later_revision_are_shown_and_said_to_be(llem: Llem, folder: Path) -> None:
    put(folder / "a")
    path = folder / "a" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_revision": 99, "new": 1}), encoding="utf-8")
    ran = llem("results", "a")
    assert (ran.code, "1 results are of a later revision" in ran.err) == (0, True)


def test_files_of_tables_have_all_columns_and_exact_values(llem: Llem, folder: Path) -> None:
    for name, size in (("a", 1), ("b", 2)):
        put(folder / "r" / name, 100 / 3, pytorch={"batch_size": size})
    ran = llem("results", "r", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["total_energy_j"] for row in rows] == [repr(100 / 3)] * 2
    assert [(row["pytorch.batch_size"], row["folder"]) for row in rows] == [("1", "r/a"), ("2", "r/b")]
    assert llem("results", "r", "--format", "csv", "-o", "t.csv").out == ""
    assert (folder / "t.csv").read_text(encoding="utf-8").splitlines() == ran.out.splitlines()
    assert llem("results", "r", "--format", "parquet", "-o", "t.parquet").code == 0
    parquet = pq.read_table(folder / "t.parquet")
    assert parquet.column_names == list(rows[0])
    assert parquet.column("total_energy_j").to_pylist() == [100 / 3] * 2
    assert sorted(path.name for path in folder.iterdir()) == ["r", "t.csv", "t.parquet"]


def test_a_name_with_control_characters_begins_no_line_of_its_own(llem: Llem, folder: Path) -> None:
    result = put(folder / "a")
    save_result(result.model_copy(update={"name": "x\n\x1b[2Jy"}), folder / "a")
    assert table(llem("results", "a", "--columns", "name,n").out)[2][0] == r"x\n\x1b[2Jy"


def test_a_result_is_shown_as_after_its_run(llem: Llem, folder: Path) -> None:
    result = put(folder / "s" / "runs" / "0000-a" / "attempt-1")
    expected = render_result.experiment(result, Path("s/runs/0000-a/attempt-1"))
    for given in ("s/runs/0000-a", "s/runs/0000-a/attempt-1/", "s/runs/0000-a/attempt-1/result.json"):
        ran = llem("show", given)
        assert (ran.code, ran.out, ran.err) == (0, f"{expected}\n", "")


def test_what_cannot_be_shown_is_code_2(llem: Llem, folder: Path) -> None:
    put(folder / "s" / "runs" / "0000-a" / "attempt-1")
    for given, said in (("s", "this is a study"), ("absent", "cannot be read: No such file")):
        ran = llem("show", given)
        assert (ran.code, ran.out, said in ran.err) == (2, "", True)


def test_an_archive_is_a_folder_of_results(llem: Llem, folder: Path) -> None:
    for slot, total_j in enumerate((80.0, 40.0)):
        attempt = folder / "s" / "runs" / f"000{slot}-h" / "attempt-1"
        put(attempt, total_j, pytorch={"batch_size": slot + 1})
        mark_done(attempt)
    put(folder / "a", 20.0)
    assert llem("pack", "s").out == "packed into s.zip\n"
    ran = llem("results", "s.zip", "a", "--columns", "energy_per_output_token_j,folder", "--format", "csv")
    assert (ran.code, ran.err) == (0, "")
    assert list(csv.reader(io.StringIO(ran.out)))[1:] == [
        ["20.0", "s.zip/runs/0000-h/attempt-1"],
        ["10.0", "s.zip/runs/0001-h/attempt-1"],
        ["5.0", "a"],
    ]


def test_what_lies_in_an_archive_and_in_its_folder_counts_once(llem: Llem, folder: Path) -> None:
    attempt = folder / "s" / "runs" / "0000-h" / "attempt-1"
    put(attempt)
    mark_done(attempt)
    put(folder / "a", 20.0)
    (folder / "copy").mkdir()
    (folder / "copy" / "result.json").write_bytes((folder / "a" / "result.json").read_bytes())
    assert llem("pack", "s").code == 0
    place = "runs/0000-h/attempt-1"
    for paths, kept, other in ((("s", "s.zip"), "s", "s.zip"), (("s.zip", "s"), "s.zip", "s")):
        ran = llem("results", *paths, "--columns", "folder", "--format", "json")
        assert (ran.code, json.loads(ran.out)) == (0, [{"folder": f"{kept}/{place}"}])
        assert ran.err == (
            f"llem: passed over: {other}/{place}: the same result as in {kept}/{place}, which counts once\n"
        )
    ran = llem("results", "a", "copy")
    assert ran.err == "llem: passed over: copy: the same result as in a, which counts once\n"


def test_two_results_of_one_experiment_are_both_shown_with_a_caution(llem: Llem, folder: Path) -> None:
    result = put(folder / "a")
    put(folder / "b")
    (folder / "c\nd").mkdir()
    save_result(result.model_copy(update={"peak_memory_mb": 1.0}), folder / "c\nd")
    ran = llem("results", "a", "b", "c\nd", "--columns", "folder", "--format", "json")
    assert (ran.code, [row["folder"] for row in json.loads(ran.out)]) == (0, ["a", "b", "c\nd"])
    assert ran.err == ("llem: caution: 2 different results have the same experiment id, and all are shown: a, c\\nd\n")


def test_what_is_passed_over_in_an_archive_is_told_by_its_place_in_it(llem: Llem, folder: Path) -> None:
    put(folder / "s" / "runs" / "0000-h" / "attempt-1")
    mark_done(folder / "s" / "runs" / "0000-h" / "attempt-1")
    (folder / "s" / "runs" / "0001-h" / "attempt-1").mkdir(parents=True)
    (folder / "s" / "runs" / "0001-h" / "attempt-1" / "log.txt").touch()
    assert llem("pack", "s").code == 0
    ran = llem("results", "s.zip")
    assert (ran.code, ran.err) == (
        0,
        "llem: passed over: s.zip/runs/0001-h/attempt-1: there is no result.json: it is running, or was ended\n",
    )


def test_an_archive_of_a_result_is_shown_as_the_result(llem: Llem, folder: Path) -> None:
    put(folder / "a")
    assert llem("pack", "a").code == 0
    assert llem("show", "a.zip").out == llem("show", "a").out.replace("a\n", "a.zip\n")


def test_an_archive_of_a_study_is_no_result_to_be_shown(llem: Llem, folder: Path) -> None:
    put(folder / "s" / "runs" / "0000-h" / "attempt-1")
    mark_done(folder / "s" / "runs" / "0000-h" / "attempt-1")
    assert llem("pack", "s").code == 0
    ran = llem("show", "s.zip")
    assert (ran.code, ran.err) == (2, "llem: archive s.zip: this is of a whole study; see llem results s.zip\n")
