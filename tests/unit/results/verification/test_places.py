"""Which folders count as results, and what is said of those that have none."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.places import places_of
from llenergymeasure.results.verification.verify import in_lines, reports_of
from tests.unit.results.verification.test_bundles import GOLDEN

# The hash of its configuration, and the name of its experiment.
HASH, ID = "4e9a7fd148d72c03", "fc3efd0914934a0a9d4172f4492fbcf8"
SLOTS = (f"0000-{HASH}", f"0001-{HASH}")
WHY = "it is still running, was ended, or somebody has taken the result away"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two experiments, each with a result that agrees."""
    folder = tmp_path / "study"
    for name in SLOTS:
        shutil.copytree(GOLDEN / "revision-5" / "quickstart", attempt(folder, name))
    slots = [{"slot": int(name[:4]), "hash": name[5:]} for name in SLOTS]
    (folder / "plan.json").write_text(json.dumps({"slots": slots}))
    return folder


def attempt(study: Path, slot: str = SLOTS[1]) -> Path:
    return study / "runs" / slot / "attempt-1"


def told(study: Path) -> tuple[bool, list[str]]:
    """Whether all agree, and the lines about the study itself and about results that are not there."""
    reports: list[Report] = list(reports_of(study))
    own = [str(finding) for report in reports if report.folder == study for finding in report.findings]
    gone = [str(f) for report in reports if report.folder != study for f in report.findings if f.kind == "damaged"]
    return all(report.agrees for report in reports), own + gone


def test_all_results_of_a_study_are_found_below_it(study: Path) -> None:
    (study / ".hidden").mkdir()
    (study / ".hidden" / "result.json").write_text("{}")
    places = [attempt(study, name) for name in SLOTS]
    assert places_of(study).results == places
    assert places_of(places[0]).results == places_of(places[0] / "result.json").results == places[:1]
    assert told(study) == (True, [])


def test_a_result_that_was_removed_is_missed_where_its_sums_or_raw_results_are(study: Path) -> None:
    (attempt(study) / "result.json").unlink()
    assert told(study) == (False, ["damaged: result.json: there is no such file"])
    (attempt(study) / "DONE").unlink()
    assert told(study) == (False, ["damaged: result.json: there is no such file"])


def test_an_experiment_that_failed_or_has_not_ended_cannot_be_verified(study: Path) -> None:
    shutil.rmtree(attempt(study))
    attempt(study).mkdir()
    (attempt(study) / "log.txt").touch()
    name = f"runs/{SLOTS[1]}/attempt-1"
    assert told(study) == (True, [f"not verifiable: {name}: there is no result: {WHY}"])
    (attempt(study) / "failure.json").write_text("{}")
    assert told(study) == (True, [f"not verifiable: {name}: it failed, and there is no result"])
    (attempt(study) / "failure.json").rename(attempt(study) / "result.unfinished.json")
    (line,) = told(study)[1]
    assert line.startswith(f"not verifiable: {name}: result.unfinished.json: not all of it could be written")


def test_slots_that_never_began_were_not_run(study: Path) -> None:
    shutil.rmtree(study / "runs" / SLOTS[1])
    last = f"not verifiable: runs/{SLOTS[1]}: not run: plan.json has it, and nothing is there"
    assert told(study) == (True, [last])
    shutil.rmtree(study / "runs")
    assert told(study)[1][:1] == ["damaged: result.json: there is no such file"]
    (study / "study.yaml").touch()
    assert [str(finding) for finding in places_of(study).report.findings] == [last.replace("0001", "0000"), last]


def test_an_attempt_whose_files_are_gone_is_damaged(study: Path) -> None:
    shutil.rmtree(attempt(study))
    name = f"runs/{SLOTS[1]}"
    assert told(study) == (
        False,
        [f"damaged: {name}: there is no attempt in it, so what lay there was taken away"],
    )
    attempt(study).mkdir()
    empty = "it is empty, and what begins there leaves a log at once, so its files were taken away"
    assert told(study) == (False, [f"damaged: {name}/attempt-1: {empty}"])


def test_one_before_others_that_were_run_has_ended_too(study: Path) -> None:
    gone = "experiments after it were run, and it has neither a result nor a failure"
    first = attempt(study, SLOTS[0])
    shutil.rmtree(first)
    first.mkdir()
    (first / "log.txt").touch()
    line = f"damaged: runs/{SLOTS[0]}: {gone}"
    assert told(study) == (False, [f"not verifiable: runs/{SLOTS[0]}/attempt-1: there is no result: {WHY}", line])
    (first / "failure.json").touch()
    assert told(study)[0]
    shutil.rmtree(first.parent)
    assert told(study) == (False, [line])


def test_slots_are_those_of_the_plan(study: Path) -> None:
    (study / "runs" / SLOTS[1]).rename(study / "runs" / f"0002-{HASH}")
    gone = f"not verifiable: runs/{SLOTS[1]}: not run: plan.json has it, and nothing is there"
    assert told(study) == (False, [gone, f"differs: runs/0002-{HASH}: plan.json has no such slot"])
    for plan, what in (("[]", "it is no JSON object"), ('{"slots": [{"slot": 0, "hash": "../x"}]}', "it has the slot")):
        (study / "plan.json").write_text(plan)
        (line,) = told(study)[1]
        assert line.startswith(f"damaged: plan.json: {what}")


def test_a_result_lies_in_the_folder_of_its_configuration(study: Path) -> None:
    (study / "plan.json").unlink()
    (study / "runs" / SLOTS[1]).rename(study / "runs" / "0001-0123456789abcdef")
    place = attempt(study, "0001-0123456789abcdef")
    said = f"its folder is that of 0123456789abcdef, and the result is of {HASH}"
    line = f"differs: runs/0001-0123456789abcdef/attempt-1: measurement_config_hash: {said}"
    assert told(study) == (False, [line])
    for path in (place, place / "result.json"):
        reports = list(reports_of(path))
        assert [str(f) for report in reports for f in report.findings if f.kind != "not verifiable"] == [
            f"differs: measurement_config_hash: {said}"
        ]


def test_a_result_is_that_of_its_slot(study: Path) -> None:
    config = json.loads((attempt(study) / "result.json").read_bytes())["effective_config"]
    slots = [
        {"slot": 0, "hash": HASH, "experiment_id": ID, "config": config},
        {"slot": 1, "hash": HASH, "experiment_id": "another", "config": config | {"n": 7}},
    ]
    (study / "plan.json").write_text(json.dumps({"slots": slots}))
    name = f"differs: runs/{SLOTS[1]}/attempt-1"
    assert told(study) == (
        False,
        [
            f"{name}: experiment_id: the result says {ID}, and plan.json another for this slot",
            f"{name}: effective_config.n: the result says {config['n']}, and plan.json 7 for this slot",
        ],
    )


def test_a_link_to_a_folder_is_told_and_not_followed(study: Path) -> None:
    (study / "runs" / "0001-4e9a7fd148d72c03").rename(study.parent / "elsewhere")
    (study / "runs" / "0001-4e9a7fd148d72c03").symlink_to(study.parent / "elsewhere")
    agree, lines = told(study)
    assert not agree
    assert lines == [
        "damaged: runs/0001-4e9a7fd148d72c03: it is a link, which is not followed: results may lie behind it"
    ]


@pytest.fixture
def unreadable(study: Path) -> Iterator[Path]:
    folder = attempt(study)
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_cannot_be_read_is_told(study: Path, unreadable: Path) -> None:
    agree, lines = told(study)
    assert not agree
    assert f"damaged: {unreadable.relative_to(study)}: it cannot be looked into: Permission denied" in lines


def test_a_folder_without_any_result_is_one_damage(tmp_path: Path) -> None:
    assert [str(f) for report in reports_of(tmp_path) for f in report.findings] == [
        "damaged: result.json: there is no such file"
    ]
    nowhere = tmp_path / "none"
    assert places_of(nowhere).results == [nowhere]


def test_the_name_of_a_folder_begins_no_line(study: Path) -> None:
    other = study.rename(study.parent / "a: agrees: 9 figures\nb: agrees")
    (attempt(other) / "DONE").unlink()
    lines = [line for report in reports_of(other) for line in in_lines(report)]
    assert all(line.isprintable() for line in lines)
    assert all("9 figures\\nb: agrees/runs/000" in line for line in lines)


def test_one_that_was_found_damaged_counts_no_more_where_it_was_run_again(study: Path) -> None:
    damaged = attempt(study)
    (damaged / "requests.parquet").unlink()
    (damaged / "DAMAGED").write_text("a file of it is gone\n")
    # On its own it is what it was: no mark takes a damage away.
    assert not told(study)[0]
    shutil.copytree(attempt(study, SLOTS[0]), damaged.with_name("attempt-2"))
    said = "DAMAGED: it was found damaged when its study went on, and run again in a later attempt"
    assert told(study) == (True, [f"not verifiable: runs/{SLOTS[1]}/attempt-1: {said}"])
