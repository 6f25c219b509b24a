"""The CSV of results."""

import csv
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.export import ArrivingCsv, export_csv
from llenergymeasure.results.rows.table import columns_with

RawOf = Callable[..., RawProcessResult]


def with_energy(raw_of: RawOf, total_j: float | None) -> ExperimentResult:
    device = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=total_j, source="counter", uncertainty_j=1.5)
    energy = EnergyMeasurement(total_j, 2.0, 2, devices=(device,))
    return ExperimentResult.from_processes([raw_of(energy_backend="nvml", energy=energy)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_holds_the_numbers_and_where_the_energy_came_from(raw_of: RawOf, tmp_path: Path) -> None:
    # One request of 3 input and 4 output tokens at 0.5, 1.0, 1.5 and 2.0 s, in a window of 2 s.
    (row,) = rows_of(export_csv([with_energy(raw_of, 80.0)], tmp_path / "out.csv"))
    expected = {
        "model": "a/model",
        "backend": "pytorch",
        "precision": "bf16",
        "n_requests": "1",
        "input_tokens": "3",
        "output_tokens": "4",
        "tokens_per_second": "2.0",
        "total_energy_j": "80.0",
        "energy_per_output_token_j": "20.0",
        "energy_uncertainty_j": "1.5",
        "energy_interval_low_j": "78.5",
        "energy_interval_high_j": "81.5",
        "energy_adjusted_j": "",
        "ttft_p50_s": "0.5",
        "tpot_mean_s": "0.5",
        "itl_p99_s": "0.5",
        "e2e_mean_s": "2.0",
        "ttft_n": "1",
        "itl_n": "3",
        "itl_n_independent": "3",
        "start_time": "2026-01-01T00:00:00+00:00",
        "warnings": "energy_unavailable",
        "validity": "not_citable",
    }
    assert {name: row[name] for name in expected} == expected
    assert "sensed" in row["energy_origin"]
    assert "nvml" in row["energy_origin"]


def test_absent_energy_is_an_empty_cell_and_said_to_be_absent(result: ExperimentResult, tmp_path: Path) -> None:
    (row,) = rows_of(export_csv([result], tmp_path / "out.csv"))
    assert row["total_energy_j"] == row["energy_per_output_token_j"] == ""
    assert row["energy_origin"] == "not measured"


def test_a_lost_sensor_is_no_origin(raw_of: RawOf, tmp_path: Path) -> None:
    (row,) = rows_of(export_csv([with_energy(raw_of, None)], tmp_path / "out.csv"))
    assert (row["total_energy_j"], row["energy_origin"]) == ("", "not measured")


def test_a_row_per_result_in_the_order_given(raw_of: RawOf, tmp_path: Path) -> None:
    results = [ExperimentResult.from_processes([raw_of(name=name)]) for name in ('a "quoted", name', "b\nc", "")]
    assert [r["name"] for r in rows_of(export_csv(results, tmp_path / "out.csv"))] == ['a "quoted", name', "b\nc", ""]


def test_an_existing_file_is_never_overwritten(result: ExperimentResult, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError):
        export_csv([result], path)
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1+2", "@SUM(1)", "\t=1", "\r=1", "\uff1d1"])
def test_a_text_that_would_be_a_formula_begins_with_a_quote(
    result: ExperimentResult, tmp_path: Path, name: str
) -> None:
    (row,) = rows_of(export_csv([result.model_copy(update={"name": name})], tmp_path / "out.csv"))
    assert row["name"] == f"'{name}"


def test_numbers_below_zero_stay_numbers(result: ExperimentResult, tmp_path: Path) -> None:
    (row,) = rows_of(export_csv([result.model_copy(update={"energy_adjusted_j": -1.5})], tmp_path / "out.csv"))
    assert row["energy_adjusted_j"] == "-1.5"


def test_it_is_written_from_home_on_and_home_is_a_tilde_in_it(
    result: ExperimentResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named = result.model_copy(update={"name": f"of {tmp_path}/a"})
    assert export_csv([named], Path("~/out.csv")) == tmp_path / "out.csv"
    assert rows_of(tmp_path / "out.csv")[0]["name"] == "of ~/a"


def with_batch(raw_of: RawOf, size: int, **fields: object) -> ExperimentResult:
    config = raw_of().effective_config | {"pytorch": {"batch_size": size}}
    return ExperimentResult.from_processes([raw_of(effective_config=config, **fields)])


def test_settings_that_differ_digests_and_the_folder_have_columns(raw_of: RawOf, tmp_path: Path) -> None:
    results = [with_batch(raw_of, size).kept_in(tmp_path / str(size)) for size in (1, 8)]
    rows = rows_of(export_csv(results, tmp_path / "out.csv"))
    assert [row["pytorch.batch_size"] for row in rows] == ["1", "8"]
    assert [row["folder"] for row in rows] == [str(tmp_path / "1"), str(tmp_path / "8")]
    assert [row["outputs_digest"] for row in rows] == [results[0].outputs_digest, results[1].outputs_digest]
    assert list(rows[0]) == columns_with(["pytorch.batch_size"])


def test_settings_that_have_a_column_of_their_own_have_no_second_one(raw_of: RawOf, tmp_path: Path) -> None:
    configs = [raw_of().effective_config | {"precision": precision} for precision in ("fp32", "bf16")]
    results = [ExperimentResult.from_processes([raw_of(effective_config=config)]) for config in configs]
    file = export_csv(results, tmp_path / "out.csv")
    header = file.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert len(header) == len(set(header))
    assert [row["precision"] for row in rows_of(file)] == ["fp32", "bf16"]


def test_each_result_is_in_the_file_as_soon_as_it_is_there(raw_of: RawOf, tmp_path: Path) -> None:
    results = [with_batch(raw_of, size, name=f"run {size}") for size in (1, 2, 4)]
    arriving = ArrivingCsv(tmp_path / "out.csv")
    arriving.planned([result.effective_config for result in results])
    assert not (tmp_path / "out.csv").exists()
    for n, result in enumerate(results, 1):
        arriving.finished(result)
        assert [row["name"] for row in rows_of(tmp_path / "out.csv")] == [r.name for r in results[:n]]
    arriving.close()
    assert arriving.problem is None
    # To the byte what is written at once.
    assert (tmp_path / "out.csv").read_bytes() == export_csv(results, tmp_path / "all.csv").read_bytes()


def test_a_study_without_a_result_leaves_the_names_of_the_columns(tmp_path: Path) -> None:
    arriving = ArrivingCsv(tmp_path / "out.csv")
    arriving.planned([{"n": 1}, {"n": 2}])
    arriving.close()
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == [",".join(columns_with(["n"]))]


def test_a_file_that_came_meanwhile_is_left_and_told(result: ExperimentResult, tmp_path: Path) -> None:
    arriving = ArrivingCsv(tmp_path / "out.csv")
    (tmp_path / "out.csv").write_text("mine", encoding="utf-8")
    arriving.finished(result)
    arriving.close()
    assert arriving.problem == "File exists"
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "mine"


def test_a_result_that_is_none_in_a_table_costs_nothing_and_is_told(raw_of: RawOf, tmp_path: Path) -> None:
    arriving = ArrivingCsv(tmp_path / "out.csv")
    for name, config in (("a", {}), ("b", raw_of().effective_config)):
        arriving.finished(ExperimentResult.from_processes([raw_of(name=name, effective_config=config)]))
    arriving.close()
    assert [row["name"] for row in rows_of(tmp_path / "out.csv")] == ["b"]
    assert arriving.problem is not None
    assert arriving.problem.startswith("a is not in it: ")


def test_a_row_that_does_not_fit_is_taken_back_whole_and_written_when_it_does(
    result: ExperimentResult, tmp_path: Path
) -> None:
    arriving = ArrivingCsv(tmp_path / "out.csv")
    arriving.finished(result)
    before = (tmp_path / "out.csv").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Some of the next row fits.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
        arriving.finished(result)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert arriving.problem == "File too large"
    assert (tmp_path / "out.csv").read_bytes() == before
    arriving.close()
    assert arriving.problem is None
    assert len(rows_of(tmp_path / "out.csv")) == 2
