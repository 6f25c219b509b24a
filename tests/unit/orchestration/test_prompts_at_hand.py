"""Prompts that were given as a list reach the processes that run them, and stay beside what came of them."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.loader import study_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.processes.handover import handed_over, received_plan
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import execute_study, resume_study, work_on
from llenergymeasure.results.sharing.opening import opened
from llenergymeasure.results.sharing.packing import pack
from llenergymeasure.results.sums import mark_done
from llenergymeasure.results.verification.verify import reports_of
from llenergymeasure.testing import FakeClock, FakeLauncher, fake_process_result

SECRET = "what nobody else should read"
ROWS: list[Any] = [SECRET, {"messages": [{"role": "user", "content": "Warum, Ötzi?"}]}]


def read_by_another_process(config: ExperimentConfig) -> list[str]:
    """The prompts of a configuration as a process reads them that is given it as JSON."""
    told = ExperimentConfig.model_validate_json(config.model_dump_json(exclude_unset=True))
    return [prompt.text for prompt in select_prompts(in_use(told)).prompts]


@dataclass
class Elsewhere:
    """Preflight and a launcher that hand everything over as JSON; ``errors`` are raised by the runs with this n."""

    examined: list[list[str]] = field(default_factory=list)
    run: list[list[str]] = field(default_factory=list)
    errors: dict[int, BaseException] = field(default_factory=dict)
    plans: list[ExperimentPlan] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)

    def options(self) -> RunOptions:
        clock = FakeClock()
        return RunOptions(launcher=FakeLauncher(self._run), preflight=self._preflight, sleep=clock.sleep, now=clock.now)

    def _preflight(
        self, experiments: Sequence[ExperimentConfig], output_dir: Path | None, asking: object
    ) -> list[ExaminedExperiment]:
        self.examined += [read_by_another_process(each) for each in experiments]
        return [ExaminedExperiment() for _ in experiments]

    def _run(self, plan: ExperimentPlan) -> RawProcessResult:
        with handed_over(plan) as state:
            received = received_plan(state)
        self.plans.append(received)
        assert received.config.dataset.in_memory is not None
        file = received.config.dataset.in_memory.file
        assert file is not None
        self.modes.append(file.expanduser().parent.stat().st_mode & 0o777)
        self.run.append([prompt.text for prompt in select_prompts(in_use(received.config)).prompts])
        if plan.output_dir is not None:
            shutil.rmtree(plan.output_dir / ".state")
            (plan.output_dir / "log.txt").write_text("it ran\n", encoding="utf-8")
        if plan.config.n in self.errors:
            raise self.errors.pop(plan.config.n)
        return fake_process_result(received)


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", "dataset": {"in_memory": ROWS, "order": "as_is"}, **fields})


def study(**fields: Any) -> StudyConfig:
    given = {"model": "m", "dataset": ROWS, "sweep": {"n": [1, 2]}, "execution": {"cycles": 1, "order": "sequential"}}
    return study_config({**given, **fields})


def of_prompts(found: Sequence[str]) -> list[str]:
    """Of lines about a folder those that are about prompts."""
    return [line for line in found if "prompts" in line]


def findings(path: Path) -> list[str]:
    return [f"{finding}" for report in reports_of(path) for finding in report.findings]


@pytest.fixture(autouse=True)
def _nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_a_single_run_has_them_beside_its_result(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    kept = execute_experiment(config(output_dir=tmp_path / "out"), elsewhere.options())
    assert elsewhere.examined == elsewhere.run == [[SECRET, "Warum, Ötzi?"]]
    assert kept.directory is not None
    (file,) = kept.directory.glob("prompts-*.jsonl")
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == [{"prompt": SECRET}, ROWS[1]]
    assert file.name in json.loads((kept.directory / "DONE").read_text(encoding="utf-8"))
    known = kept.result.effective_config["dataset"]["in_memory"]
    assert known == {"n": 2, "sha256": known["sha256"]}
    assert file.name == f"prompts-{known['sha256'][:16]}.jsonl"
    assert SECRET not in (kept.directory / "result.json").read_text(encoding="utf-8")
    assert of_prompts(findings(kept.directory)) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    # Another file is a stranger, and other prompts are a damage, also where the sums were made to fit.
    (kept.directory / "prompts-0123456789abcdef.jsonl").write_text("{}\n", encoding="utf-8")
    file.write_text("{}\n", encoding="utf-8")
    mark_done(kept.directory)
    stranger, changed = of_prompts(findings(kept.directory))[::-1]
    assert "prompts-0123456789abcdef.jsonl: no part of a result is called so" in stranger
    assert f"{file.name}: its SHA-256 is " in changed


def test_where_nothing_is_kept_they_are_read_in_a_file_that_is_gone_afterwards(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    kept = execute_experiment(config(), elsewhere.options())
    result = execute_study(study(), elsewhere.options())
    # Nobody else may read in it.
    assert elsewhere.modes == [0o700] * 3
    assert elsewhere.run[0] == [SECRET, "Warum, Ötzi?"]
    assert sorted(map(len, elsewhere.run[1:])) == [1, 2]
    assert (kept.directory, result.output_dir, result.n_experiments) == (None, None, 2)
    assert [path.name for path in tmp_path.rglob("*")] == ["tmp"]


@pytest.mark.parametrize("error", [ExperimentError("no"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_run_that_fails_leaves_none(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        execute_experiment(config(output_dir=tmp_path / "out", n=2), Elsewhere(errors={2: error}).options())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_study_has_each_list_once_in_its_folder(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    given = study(experiments=[{"n": 3}, {"n": 4, "dataset": ["another"]}], output_dir=tmp_path / "out")
    result = execute_study(given, elsewhere.options())
    assert result.n_experiments == len(elsewhere.run)
    assert result.output_dir is not None
    files = sorted(result.output_dir.rglob("prompts-*"))
    assert len(files) == 2
    assert all(file.parent == result.output_dir for file in files)
    assert SECRET not in "".join(
        file.read_text(encoding="utf-8") for file in (result.output_dir / "plan.json", result.output_dir / "study.yaml")
    )
    # The plan knows them by digest, and nothing in it leads out of the folder.
    planned = json.loads((result.output_dir / "plan.json").read_text(encoding="utf-8"))
    known = {
        f"prompts-{each['config']['dataset']['in_memory']['sha256'][:16]}.jsonl" for each in planned["configurations"]
    }
    assert known == {file.name for file in files}
    assert str(tmp_path) not in json.dumps([each["config"]["dataset"] for each in planned["configurations"]])
    assert of_prompts(findings(result.output_dir)) == []


def interrupted(folder: Path) -> Path:
    """A study of which the second run was interrupted."""
    given = study().model_copy(update={"output_dir": folder})
    with pytest.raises(KeyboardInterrupt):
        execute_study(given, Elsewhere(errors={2: KeyboardInterrupt()}).options())
    (path,) = folder.iterdir()
    return path


def test_a_study_that_was_moved_goes_on_with_them(tmp_path: Path) -> None:
    moved = interrupted(tmp_path / "out").rename(tmp_path / "moved")
    elsewhere = Elsewhere()
    result = resume_study(moved, elsewhere.options())
    assert (result.n_experiments, len(result.failures)) == (2, 0)
    (prompts,) = elsewhere.run
    assert sorted(prompts) == sorted([SECRET, "Warum, Ötzi?"])
    first, second = (each.effective_config["dataset"] for each in result.experiments)
    assert first == second
    assert of_prompts(findings(moved)) == []


def test_a_worker_finds_them(tmp_path: Path) -> None:
    work = work_on(interrupted(tmp_path / "out"), Elsewhere().options())
    assert (work.n_finished, work.n_failed) == (1, 0)


def test_the_same_study_may_be_given_again_and_another_list_is_another_study(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"another study than the one in the folder: .*dataset.in_memory.sha256"):
        resume_study(path, Elsewhere().options(), given=study(dataset=[*ROWS[:1], "another"]))
    assert resume_study(path, Elsewhere().options(), given=study()).n_experiments == 2


def test_with_other_prompts_than_were_planned_nothing_goes_on(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "out")
    (file,) = path.glob("prompts-*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"prompt": "one more"}\n')
    for go_on in (resume_study, work_on):
        elsewhere = Elsewhere()
        with pytest.raises(ConfigError, match=f"{file.name}: it was changed, its SHA-256 is "):
            go_on(path, elsewhere.options())
        assert elsewhere.run == []
    (changed,) = of_prompts(findings(path))
    assert f"damaged: {file.name}: its SHA-256 is " in changed
    file.unlink()
    with pytest.raises(ConfigError, match=f"{file.name}: cannot be read: No such file or directory; it has 2 prompts"):
        resume_study(path, Elsewhere().options())
    (gone,) = of_prompts(findings(path))
    assert f"damaged: {file.name}: there is no such file" in gone
    file.write_bytes(whole)
    assert resume_study(path, Elsewhere().options()).n_experiments == 2


def test_an_archive_of_a_study_has_them_and_agrees(tmp_path: Path) -> None:
    path = interrupted(tmp_path / "out")
    resume_study(path, Elsewhere().options())
    archive = pack(path, tmp_path / "study.zip")
    with opened(archive) as folder:
        (file,) = folder.rglob("prompts-*.jsonl")
        assert file.read_bytes() == next(path.glob("prompts-*.jsonl")).read_bytes()
        assert of_prompts(findings(folder)) == []


def test_a_process_that_shares_memory_needs_no_file() -> None:
    assert [prompt.text for prompt in select_prompts(config()).prompts] == [SECRET, "Warum, Ötzi?"]


def test_no_path_of_the_home_directory_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = Elsewhere()
    execute_study(study().model_copy(update={"output_dir": tmp_path / "out"}), elsewhere.options())
    for plan in elsewhere.plans:
        assert plan.config.dataset.in_memory is not None
        assert str(plan.config.dataset.in_memory.file).startswith("~/out/study_")
