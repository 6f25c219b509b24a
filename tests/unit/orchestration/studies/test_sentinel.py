"""When the sentinel of a study is run, and that the reference of a study stays what it was planned with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llenergymeasure.config.execution import StopConfig, StudyExecutionConfig
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import BackendError, ConfigError
from llenergymeasure.orchestration.studies.changed import refuse_another_study
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.execute import execute_study, resume_study, work_on
from llenergymeasure.orchestration.studies.standing import standing_of_study
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.writer import SummaryWriter
from llenergymeasure.results.verification.places import places_of
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.unit.orchestration.conftest import Bench, study_of

FILES = ("summary.parquet", "summary.csv", "summary.md")


def of(folder: Path | None, names: str, **execution: Any) -> StudyConfig:
    return study_of(*names, output_dir=folder, execution=StudyExecutionConfig(**execution))


def ran(bench: Bench) -> str:
    """What was run, by the first letter of each name."""
    return "".join(line.removeprefix("run ")[0] for line in bench.log if line.startswith("run "))


def folder_of(study: StudyResult) -> Path:
    assert study.output_dir is not None
    return study.output_dir


def test_it_is_run_before_each_block_and_after_the_last_and_the_rest_as_without_it(
    bench: Bench, tmp_path: Path
) -> None:
    execute_study(of(tmp_path / "plain", "abc", cycles=3), bench.options())
    plain = ran(bench)
    bench.log.clear()
    study = execute_study(of(tmp_path / "guarded", "abc", cycles=3, sentinel={"n": 9}), bench.options())
    assert ran(bench) == f"s{plain[:3]}s{plain[3:6]}s{plain[6:]}s"
    assert (study.n_planned, len(study.experiments), study.failures) == (13, 13, [])
    keys = [result.run_key for result in study.experiments if result.name == "sentinel"]
    assert [(key.block, key.repeat) for key in keys if key is not None] == [(0, 0), (1, 1), (2, 2), (2, 3)]
    # What another reader holds against the plan fits too.
    assert [str(f) for f in places_of(folder_of(study)).report.findings] == []
    written = json.loads((folder_of(study) / "plan.json").read_text(encoding="utf-8"))
    assert [slot.get("sentinel", "no") for slot in written["slots"][:2]] == [True, "no"]
    assert [each["config"]["n"] for each in written["configurations"]] == [1, 2, 3, 9]


def test_a_single_cycle_has_it_before_and_after(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(of(tmp_path, "ab", order="blocks", sentinel=True), bench.options())
    assert re.fullmatch("s(ab|ba)s", ran(bench))
    assert study.summary is not None
    (sentinel,) = study.summary.sentinels
    assert [drift.why_none for drift in sentinel.drifts.values()] == [
        "no run has it", "2 runs, and a drift takes 3",
    ]  # fmt: skip


def test_it_is_run_as_long_as_blocks_are(bench: Bench, tmp_path: Path) -> None:
    stop = StopConfig(metric="tokens_per_second", max_cycles=6)
    # Every run is as fast as any other, so that three are enough.
    study = execute_study(of(tmp_path, "ab", cycles=3, stop=stop, sentinel=True), bench.options())
    assert re.fullmatch("(s(ab|ba)){3}s", ran(bench))
    standing = standing_of_study(folder_of(study))
    assert (standing.state, standing.n_finished, standing.n_to_do) == ("finished", 10, 0)
    # Of three blocks each the two configurations and the sentinel.
    assert standing.n_not_needed == 9


def test_a_sentinel_that_fails_keeps_nothing_else_from_being_run(bench: Bench, tmp_path: Path) -> None:
    bench.errors["sentinel"] = BackendError("no such weights")
    study = execute_study(of(tmp_path, "ab", cycles=2, sentinel=True), bench.options())
    assert re.fullmatch("(s(ab|ba)){2}s", ran(bench))
    assert study.summary is not None
    assert [row.n_failed for row in study.summary.rows] == [0, 0]
    assert [each.row.n_failed for each in study.summary.sentinels] == [3]
    assert study.summary.n_failed == 3


def test_it_is_run_last_where_others_have_a_block_still(bench: Bench, tmp_path: Path) -> None:
    given = of(tmp_path, "ab", cycles=2, sentinel=True)
    bench.errors["sentinel"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        execute_study(given, bench.options())
    (folder,) = tmp_path.iterdir()
    bench.log.clear()
    bench.errors.clear()
    blocks: list[str] = []

    def run(plan: ExperimentPlan) -> RawProcessResult:
        assert plan.run_key is not None
        blocks.append(f"{plan.run_key.block}{str(plan.config.name)[0]}")
        return fake_process_result(plan)

    ours = Claims(folder / "claims")
    with ours:
        # Another has the first block, until there is nothing left to do for this one.
        held = [ours.taken("block-0000")]
        assert held[0].__enter__() is not None
        resume_study(
            folder,
            bench.options(launcher=FakeLauncher(run), sleep=lambda _: held.pop().__exit__(None, None, None)),
        )
    assert [each[0] for each in blocks] == list("1110001")
    assert (blocks[0], blocks[3], blocks[-1]) == ("1s", "0s", "1s")


def test_what_was_interrupted_goes_on_with_it(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        execute_study(of(tmp_path, "ab", cycles=2, sentinel=True), bench.options())
    bench.errors.clear()
    (folder,) = tmp_path.iterdir()
    work_on(folder, bench.options())
    assert standing_of_study(folder).n_finished == 7
    assert ran(bench).count("s") == 3


def test_runs_that_share_a_process_tell_nothing_of_time(bench: Bench, tmp_path: Path) -> None:
    given = of(tmp_path, "ab", order="blocks", sentinel=True, launcher="in_process")
    with pytest.raises(ConfigError, match=r"in_process cannot go with several cycles: .* no sentinel"):
        execute_study(given, bench.options())
    assert bench.log == []


def test_a_reference_is_kept_in_the_plan(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(of(tmp_path, "abc", cycles=3, reference={"n": 2}), bench.options())
    assert study.summary is not None
    assert study.summary.reference == 1
    assert [bool(row.ratios) for row in study.summary.rows] == [True, False, True]
    folder = folder_of(study)
    before = {name: (folder / name).read_bytes() for name in FILES}
    assert "against 2" in before["summary.md"].decode()
    for again in (
        lambda: resume_study(folder, bench.options()),
        lambda: work_on(folder, bench.options()),
        lambda: SummaryWriter(StudyDirectory(folder), StudyDirectory(folder).plan()).finish(),
    ):
        for name in FILES:
            (folder / name).unlink()
        again()
        assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_what_names_no_configuration_is_told_before_anything_is_looked_at(bench: Bench, tmp_path: Path) -> None:
    def preflight(*_: object) -> list[Any]:
        raise AssertionError("this was looked at")

    with pytest.raises(ConfigError, match="none of 3 configurations has n: 9"):
        execute_study(of(tmp_path, "abc", reference="n=9"), bench.options(preflight=preflight))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_before_there_was_a_reference_is_read(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(of(tmp_path, "ab", cycles=2), bench.options())
    file = folder_of(study) / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    del plan["reference"], plan["execution"]["reference"], plan["execution"]["sentinel"]
    file.write_text(json.dumps(plan), encoding="utf-8")
    found = StudyDirectory(folder_of(study)).plan()
    assert (found.reference, found.sentinel, len(found.compared)) == (0, None, 2)
    assert resume_study(folder_of(study), bench.options()).n_experiments == 4


def test_a_reference_that_is_not_there_is_no_plan(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(of(tmp_path, "ab", cycles=2), bench.options())
    file = folder_of(study) / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**plan, "reference": 2}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"plan\.json: the reference of the plan is 2, and there are 2 "):
        StudyDirectory(folder_of(study)).plan()


def test_a_file_with_another_sentinel_is_another_study(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(of(tmp_path, "ab", cycles=2, sentinel=True), bench.options())
    plan = StudyDirectory(folder_of(study)).plan()
    refuse_another_study(plan, of(tmp_path, "ab", cycles=2, sentinel=True))
    with pytest.raises(ConfigError) as caught:
        refuse_another_study(plan, of(tmp_path, "ab", cycles=2))
    assert "in the folder: execution.sentinel True in the folder, None in the file; go on" in str(caught.value)
    with pytest.raises(ConfigError, match=r"execution\.reference None in the folder, 'n=2' in the file"):
        refuse_another_study(plan, of(tmp_path, "ab", cycles=2, sentinel=True, reference="n=2"))
    # What the study was planned from is written beside it, and makes the same study.
    again = yaml.safe_load((folder_of(study) / "study.yaml").read_text(encoding="utf-8"))
    refuse_another_study(plan, StudyConfig.model_validate(again))
