"""Jobs of a study on this machine: followed, warned, and held to a time."""

import os
import re
import sys
from pathlib import Path

import psutil
import pytest

from llenergymeasure.orchestration.cluster.submissions import submissions_of
from tests.fakes.cluster_studies import Site, logs_of, n_done, once_each, until
from tests.fakes.terminal import on_a_terminal

pytest.importorskip("submitit", reason="jobs are submitted by submitit, of the slurm extra")
LOCAL = {"executor": "local", "workers": 2}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.made(tmp_path)


def test_on_a_terminal_the_same_place_shows_workers_and_what_they_have(site: Site) -> None:
    study = site.submitted(site.study(n_runs=4, cluster={**LOCAL, "workers": 1}), TOY_S="4")
    command = [sys.executable, "-m", "llenergymeasure", "studies", str(study), "--watch"]
    with on_a_terminal(command, 250, {**site.environ, "TERM": "xterm"}, site.folder) as terminal:
        terminal.wait_for("measuring")
        assert terminal.ended() == 0
        rows = terminal.rows()
        text = terminal.text
    assert re.search(r"\d+ on \S+ +\d+ +\d+ s +0\d{3}-[0-9a-f]{16} +measuring +- +\d+ s ago", text)
    # What was there before was written over.
    first = next(filter(None, rows))
    # As wide as the terminal is.
    assert len(first) > 60
    assert f"{study}: finished".startswith(first)
    assert sum("of 4 finished" in row for row in rows) == 2
    assert [row for row in rows if row][-1].startswith("it is through: 4 of 4 finished")


def test_signals_of_the_scheduler_end_no_run(site: Site) -> None:
    # As SLURM does it: to all processes of a job at once.
    study = site.submitted(site.study(n_runs=4, cluster={**LOCAL, "workers": 1}), TOY_S="3")
    until(lambda: bool(list(study.glob("runs/*/attempt-1"))), told=lambda: logs_of(study))
    (job,) = submissions_of(study)[0].job_ids
    of_the_job = psutil.Process(int(job)).children(recursive=True)
    for process in of_the_job:
        if "submitit.local._local" not in " ".join(process.cmdline()):
            os.kill(process.pid, 12)
    until(lambda: n_done(study) >= 1, told=lambda: logs_of(study))
    assert site.llem("studies", study, "--watch").code == 0
    assert once_each(study)
    # It took no more after that run, and was started again by submitit for the rest.
    assert "asked to take no more runs (SIGUSR2)" in logs_of(study)
    assert not list(study.glob("runs/*/*/failure.json"))


# --- before a cluster --------------------------------------------------------


@pytest.mark.parametrize("limit", ["1s", "00:01"])
def test_a_worker_with_a_limit_begins_what_can_end_and_says_that_something_is_left(site: Site, limit: str) -> None:
    study = site.submitted(site.study(n_runs=2, cluster={**LOCAL, "workers": 1}), TOY_S="0.1")
    assert site.llem("studies", study, "--watch").code == 0
    # Of a study whose runs took a second or so, with one to do again.
    again = next(study.glob("runs/*/*/DONE"))
    again.unlink()
    # Its row says that it has finished.
    for row in study.glob(f"rows/{again.parent.parent.name[:4]}*"):
        row.unlink()
    told = site.llem("worker", study, "--time-limit", limit, TOY_S="0.1")
    assert told.code == 75, told.out
    assert re.search(r"a run of this configuration takes up to \d+ s, and the time limit is 1 s in all", told.out)
    assert site.llem("worker", study, "--time-limit", "1h", TOY_S="0.1").code == 0
