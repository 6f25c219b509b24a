"""The row that each finished run of a study leaves."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.study.circumstances import Circumstances
from llenergymeasure.results.study.rows import RunValue, is_whole, leave_row, row_file, row_of_result, rows, value_in
from llenergymeasure.results.sums import mark_done
from tests.fakes.studies import Study, of_batches, result_of


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two configurations, run three times each."""
    return Study.of(tmp_path / "s", of_batches(1, 4), 3)


def test_a_finished_run_leaves_its_columns_and_what_is_in_its_folder(study: Study) -> None:
    slot = study.slot(1, 2)
    attempt = study.finish(slot, 80.0, device={"uncertainty_j": 0.8})
    row = leave_row(study.directory, study.plan, slot)
    assert (row.slot, row.configuration, row.block, row.repeat) == (slot.slot, 1, 2, 2)
    assert row.values["total_energy_j"] == 80.0
    # 80 J over 4 tokens.
    assert row.values["energy_per_output_token_j"] == 20.0
    assert row.circumstances.sensors == ("nvml (counter)",)
    assert row.circumstances.devices == ("GPU-0",)
    assert row.files == {name: (attempt / name).stat().st_size for name in ("result.json", "log.txt", "DONE")}
    written = json.loads(row_file(study.directory, slot).read_text(encoding="utf-8"))
    assert written["attempt"] == "attempt-1"
    assert row_file(study.directory, slot).name == f"{slot.slot:04d}.json"
    assert rows(study.directory, study.plan).rows == {slot.slot: row}


def test_a_row_has_what_the_run_read_and_what_ran_it(study: Study) -> None:
    slot = study.plan.slots[0]
    result = result_of(study.plan, slot)
    whole = row_of_result(result, study.plan, slot).circumstances
    assert (whole.prompts, whole.engine, whole.driver, whole.weights) == ("0" * 64, "fake 1.0", "", {})
    about = replace(result.environment_snapshot, driver_version="580.1")
    more = {"environment_snapshot": about, "inputs_digest": "a" * 64, "model_revision": "c" * 40,
            "weights_digest": "d" * 64, "adapter_digest": "e" * 64}  # fmt: skip
    found = row_of_result(result.model_copy(update=more), study.plan, slot).circumstances
    assert (found.driver, found.inputs) == ("580.1", "a" * 64)
    assert found.weights == {name: more[name] for name in ("model_revision", "weights_digest", "adapter_digest")}


def test_where_a_machine_has_several_kinds_of_gpus_a_row_says_which_were_used(study: Study) -> None:
    slot = study.plan.slots[0]
    result = result_of(study.plan, slot, device={"device": "GPU-b"})
    gpus = [
        GpuInfo(index=i, uuid=f"GPU-{letter}", name=name)
        for i, (letter, name) in enumerate(zip("abc", "XYY", strict=True))
    ]

    def behind(devices: tuple[str, ...], there: list[GpuInfo]) -> Circumstances:
        environment = replace(result.environment_snapshot, gpus=tuple(there))
        model = replace(result.model, devices=devices)
        of = result.model_copy(update={"environment_snapshot": environment, "model": model})
        return row_of_result(of, study.plan, slot).circumstances

    def cards(devices: tuple[str, ...], there: list[GpuInfo]) -> str:
        return behind(devices, there).cards

    assert cards(("GPU-a",), gpus) == "X"
    assert cards(("GPU-c", "GPU-a"), gpus) == "X, Y"
    # Of an engine that does not say where a model lies, the energy does.
    assert cards((), gpus) == "Y"
    # Where all are of one kind it makes no difference.
    assert cards(("GPU-b",), gpus[1:]) == ""
    # By their numbers they are known all the same.
    assert behind(("GPU-c", "GPU-b"), gpus[1:]).gpu_uuids == ("GPU-b", "GPU-c")
    assert behind((), gpus[1:]).gpu_uuids == ("GPU-b",)


@pytest.mark.parametrize("part", [
    {"measurement_methodology": "windowed"}, {"n_requests_excluded": 1}, {"n_requests_failed": 1},
])  # fmt: skip
def test_of_some_of_its_requests_there_is_no_word_of_what_a_run_read(study: Study, part: dict[str, Any]) -> None:
    slot = study.plan.slots[0]
    result = result_of(study.plan, slot).model_copy(update={"inputs_digest": "a" * 64, **part})
    assert row_of_result(result, study.plan, slot).circumstances.inputs == ""


def test_a_value_knows_its_run(study: Study) -> None:
    slot = study.plan.slots[0]
    assert value_in(study.directory, study.plan, slot, "total_energy_j") is None
    study.finish(slot, 80.0)
    row = leave_row(study.directory, study.plan, slot)
    found = value_in(study.directory, study.plan, slot, "total_energy_j")
    assert found == 80.0
    assert isinstance(found, RunValue)
    assert found.run == row


def test_what_has_not_finished_leaves_none(study: Study) -> None:
    slot = study.plan.slots[0]
    with pytest.raises(ConfigError, match="slot 0 has not finished"):
        leave_row(study.directory, study.plan, slot)
    study.fail(slot)
    with pytest.raises(ConfigError, match="slot 0 has not finished"):
        leave_row(study.directory, study.plan, slot)


def damaged(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8")[:100], encoding="utf-8")


def of_another_slot(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace('"slot": 0', '"slot": 1'), encoding="utf-8")


def of_an_older_version(file: Path) -> None:
    written = json.loads(file.read_text(encoding="utf-8"))
    del written["values"]["total_energy_j"]
    file.write_text(json.dumps(written), encoding="utf-8")


def of_before_a_change(file: Path) -> None:
    written = json.loads(file.read_text(encoding="utf-8"))
    written["row_version"] = 1
    for name in ("prompts", "inputs", "weights", "engine", "driver"):
        del written["circumstances"][name]
    file.write_text(json.dumps(written), encoding="utf-8")


def no_number(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace('"total_energy_j": 80.0', '"total_energy_j": NaN'))


@pytest.mark.parametrize(
    "harm", [damaged, of_another_slot, of_an_older_version, of_before_a_change, no_number, Path.unlink]
)
def test_a_row_that_cannot_be_used_is_made_again(study: Study, harm: Callable[[Path], None]) -> None:
    slot = study.plan.slots[0]
    study.finish(slot)
    row, file = leave_row(study.directory, study.plan, slot), row_file(study.directory, slot)
    before = file.read_bytes()
    harm(file)
    assert not file.exists() or file.read_bytes() != before
    assert rows(study.directory, study.plan).rows == {0: row}
    assert file.read_bytes() == before


def test_a_row_of_what_the_attempt_was_before_is_made_again(study: Study) -> None:
    slot = study.plan.slots[0]
    attempt = study.finish(slot, 80.0)
    leave_row(study.directory, study.plan, slot)
    # As when a meter's log is attached: the same length, another content.
    text = (attempt / "result.json").read_text(encoding="utf-8")
    (attempt / "result.json").write_text(text.replace('"total_energy_j": 80.0', '"total_energy_j": 90.0'))
    (attempt / "DONE").unlink()
    mark_done(attempt)
    assert rows(study.directory, study.plan).rows[0].values["total_energy_j"] == 90.0


def test_the_newest_finished_attempt_counts(study: Study) -> None:
    slot = study.plan.slots[0]
    study.finish(slot, 80.0)
    leave_row(study.directory, study.plan, slot)
    study.finish(slot, 84.0)
    found = rows(study.directory, study.plan)
    assert (found.rows[0].attempt, found.rows[0].values["total_energy_j"]) == ("attempt-2", 84.0)


def test_failures_are_told_from_their_own_file(study: Study) -> None:
    first, second, third = study.plan.slots[:3]
    attempt = study.fail(first, "no such weights")
    study.fail(second)
    study.finish(second)
    damaged_file = study.fail(third) / "failure.json"
    damaged_file.write_text("{", encoding="utf-8")
    found = rows(study.directory, study.plan)
    assert set(found.rows) == {1}
    assert set(found.failures) == {0, 2}
    failure, folder = found.failures[0]
    assert (failure.message, folder) == ("no such weights", attempt)
    assert found.failures[2][0].message == "failure.json cannot be read"


def test_a_result_that_was_changed_is_no_row_but_a_problem(study: Study) -> None:
    attempt = study.finish(study.plan.slots[0])
    file = attempt / "result.json"
    file.write_text(file.read_text(encoding="utf-8").replace("80.0", "8.0"), encoding="utf-8")
    found = rows(study.directory, study.plan)
    assert found.rows == {}
    assert "it is not the file that was written" in found.problems[0]


def test_a_result_of_something_else_is_a_problem(study: Study) -> None:
    attempt, other = study.finish(study.slot(0)), study.slot(1)
    shutil.copytree(attempt, study.directory.folder(study.plan, other) / "attempt-1")
    found = rows(study.directory, study.plan)
    assert set(found.rows) == {study.slot(0).slot}
    assert "and its result is of" in found.problems[other.slot]


def test_whether_an_attempt_is_whole_is_seen_by_names_and_sizes(study: Study, tmp_path: Path) -> None:
    slot = study.plan.slots[0]
    attempt = study.finish(slot)
    row = leave_row(study.directory, study.plan, slot)
    assert is_whole(attempt, row)
    other = tmp_path / "attempt-2"
    shutil.copytree(attempt, other)
    assert not is_whole(other, row)
    (attempt / "more.txt").write_text("nobody's", encoding="utf-8")
    assert is_whole(attempt, row)
    log = attempt / "log.txt"
    log.write_text("it", encoding="utf-8")
    assert not is_whole(attempt, row)
    log.unlink()
    assert not is_whole(attempt, row)
    log.write_text("it ran\n", encoding="utf-8")
    assert is_whole(attempt, row)
    (attempt / "DONE").unlink()
    assert not is_whole(attempt, row)


def test_a_row_that_cannot_be_written_is_there_all_the_same(study: Study) -> None:
    study.finish(study.plan.slots[0])
    (study.directory.path / "rows").write_text("in the way", encoding="utf-8")
    assert set(rows(study.directory, study.plan).rows) == {0}


def test_a_row_without_energy_says_nothing_of_sensors(study: Study) -> None:
    slot = study.plan.slots[0]
    study.finish(slot, None)
    row = leave_row(study.directory, study.plan, slot)
    assert (row.values["total_energy_j"], row.circumstances.sensors) == (None, ())
    assert result_of(study.plan, slot, None).total_energy_j is None
