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

SLOTS = ("0000-a", "0001-b")
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
    name = "runs/0001-b/attempt-1"
    assert told(study) == (True, [f"not verifiable: {name}: there is no result: {WHY}"])
    (attempt(study) / "failure.json").write_text("{}")
    assert told(study) == (True, [f"not verifiable: {name}: it failed, and there is no result"])


def test_slots_are_those_of_the_plan(study: Path) -> None:
    (study / "runs" / "0001-b").rename(study / "runs" / "0002-c")
    gone = f"not verifiable: runs/0001-b: plan.json has it, and there is no result: {WHY}"
    assert told(study) == (False, [gone, "differs: runs/0002-c: plan.json has no such slot"])
    (study / "plan.json").write_text("[]")
    assert told(study) == (False, ["damaged: plan.json: it is no JSON object"])


def test_a_link_to_a_folder_is_told_and_not_followed(study: Path) -> None:
    (study / "runs" / "0001-b").rename(study.parent / "elsewhere")
    (study / "runs" / "0001-b").symlink_to(study.parent / "elsewhere")
    agree, lines = told(study)
    assert not agree
    assert lines[0] == "damaged: runs/0001-b: it is a link, which is not followed: results may lie behind it"


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
