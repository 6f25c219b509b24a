"""``llem studies`` and ``llem worker``."""

import json
from collections.abc import Callable
from pathlib import Path

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.execute import execute_study
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.fakes.command import Ran
from tests.unit.orchestration.conftest import Bench, study_of

Llem = Callable[..., Ran]


def ran(folder: Path, names: str, interrupted_at: str = "", fails: str = "") -> Path:
    """A study of which each run took a minute, interrupted when one of a name begins."""
    bench = Bench()

    def run(plan: ExperimentPlan) -> RawProcessResult:
        if plan.config.name == interrupted_at:
            raise KeyboardInterrupt
        bench.clock.time_s += 60
        if plan.config.name == fails:
            raise BackendError("no such\nweights")
        return fake_process_result(plan)

    given = study_of(*names, output_dir=folder, execution=StudyExecutionConfig(order="sequential"))
    try:
        execute_study(given, bench.options(launcher=FakeLauncher(run)))
    except KeyboardInterrupt:
        assert interrupted_at
    (path,) = folder.iterdir()
    return path


def told(llem: Llem, *args: object) -> tuple[int, str]:
    ran = llem(*map(str, args))
    return ran.code, ran.out + ran.err


def test_it_says_what_has_finished_failed_and_is_to_do_and_how_to_go_on(tmp_path: Path, plain_llem: Llem) -> None:
    path = ran(tmp_path / "my results", "abcde", interrupted_at="d", fails="b")
    plan = StudyDirectory(path).plan()
    half = path / "runs" / plan.folder_of(plan.slots[3]) / "attempt-1"
    half.mkdir(parents=True)
    code, out = told(plain_llem, "studies", tmp_path / "my results")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{path}: unfinished"
    assert lines[1] == "  2 of 5 finished, 1 failed, 1 interrupted, 1 to do"
    # Two are left, and those that finished took a minute each.
    assert lines[2] == "  about 2 min left for one worker, at the pace of the runs so far"
    failed = plan.folder_of(plan.slots[1])
    assert lines[3] == (
        f"  failed: {failed}: BackendError: no such\\nweights; log: {path}/runs/{failed}/attempt-1/log.txt"
    )
    assert lines[4] == f"  interrupted: {plan.folder_of(plan.slots[3])}"
    assert lines[5] == f"  go on with: llem run --resume '{path}'"
    assert len(lines) == 6


def test_who_runs_what_is_told_and_nobody_is_told_to_go_on(tmp_path: Path, plain_llem: Llem) -> None:
    path = ran(tmp_path / "out", "ab", interrupted_at="b")
    with Claims(path / "claims") as claims, claims.taken("0001"):
        before = sorted((path / "claims").iterdir())
        code, out = told(plain_llem, "studies", path)
        assert code == 0
        assert f"{path}: running\n" in out
        assert f"by process {claims.worker.pid} on {claims.worker.host}" in out
        assert "--resume" not in out
        assert sorted((path / "claims").iterdir()) == before
        _, written = told(plain_llem, "studies", path, "--json")
    (study,) = json.loads(written)
    assert (study["state"], study["planned"], study["finished"], study["to_do"]) == ("running", 2, 1, 0)
    assert [(each["slot"], each["pid"]) for each in study["running"]] == [(1, claims.worker.pid)]


def test_a_finished_study_says_so_and_of_a_folder_all_are_told(tmp_path: Path, plain_llem: Llem) -> None:
    first = ran(tmp_path / "a", "ab")
    first.rename(tmp_path / "one")
    ran(tmp_path / "b", "a").rename(tmp_path / "two")
    (tmp_path / "a").rmdir()
    code, out = told(plain_llem, "studies", tmp_path)
    assert (code, out) == (
        0, f"{tmp_path}/one: finished\n  2 of 2 finished\n{tmp_path}/two: finished\n  1 of 1 finished\n",
    )  # fmt: skip


def test_where_there_is_no_study_it_is_an_error(tmp_path: Path, plain_llem: Llem) -> None:
    assert told(plain_llem, "studies", tmp_path) == (2, f"llem: studies {tmp_path}: there is no study in it\n")
    code, out = told(plain_llem, "studies", tmp_path / "nowhere")
    assert code == 2
    assert "cannot be looked into: No such file or directory" in out
    code, out = told(plain_llem, "worker", tmp_path)
    assert (code, "this is no folder of a study" in out) == (2, True)


def test_a_worker_on_a_study_that_is_through_says_so(tmp_path: Path, plain_llem: Llem) -> None:
    path = ran(tmp_path / "out", "ab", fails="b")
    code, out = told(plain_llem, "worker", path, "-q")
    assert (code, out) == (
        1, "0 finished and 0 failed here; of all 2 runs 1 have finished and 1 failed\n",
    )  # fmt: skip


def test_a_failure_that_is_to_be_tried_again_is_no_end(tmp_path: Path, plain_llem: Llem) -> None:
    path = ran(tmp_path / "out", "ab", fails="b")
    file = path / "plan.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"retries": 0', '"retries": 1'), encoding="utf-8")
    _, out = told(plain_llem, "studies", path)
    assert f"{path}: unfinished" in out
    assert f"go on with: llem run --resume {path}" in out


def test_clocks_that_are_apart_are_told(tmp_path: Path, plain_llem: Llem) -> None:
    path = ran(tmp_path / "r", "ab")
    _, out = told(plain_llem, "studies", path, "--json")
    assert json.loads(out)[0]["clocks"] is None
    for file in (path / "events").glob("*.jsonl"):
        file.unlink()
    for name, offset_s in (("a", 0.0), ("b", 60.0)):
        line = json.dumps({"event": "begin", "clock_offset_s": offset_s, "clock_within_s": 0.25})
        (path / "events" / f"{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    _, out = told(plain_llem, "studies", path, "--json")
    assert json.loads(out)[0]["clocks"] == {"largest_s": 60.0, "within_s": 0.5, "n_workers": 2}
    _, out = told(plain_llem, "studies", path)
    assert "  the clocks of its 2 workers were up to 60.0 s apart (+-0.5 s)" in out
    _, out = told(plain_llem, "show", path)
    assert "the clocks of its 2 workers were up to 60.0 s apart" in " ".join(out.split())
