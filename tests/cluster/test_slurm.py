"""Studies on a real SLURM: over two nodes, with a node that dies, a limit too short, and jobs that are ended."""

import json
import re
from pathlib import Path

import pytest

from tests.cluster.slurm import Slurm
from tests.fakes.cluster_studies import Site, logs_of, n_done, once_each, results_of, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

TWO = {"workers": 2, "gpus_per_worker": 1, "time_limit": "10m"}


def nodes_of(study: Path) -> set[str]:
    return {json.loads(file.read_text())["node"] for file in study.glob("workers/*.json")}


def test_24_slots_over_two_nodes_are_run_once_each_and_every_job_sees_gpu_0(slurm: Slurm, site: Site) -> None:
    study = site.submitted(site.study(n_runs=24, cluster=TWO), TOY_S="1")
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out
    assert "24 of 24 finished" in watched.out.splitlines()[-1]
    # The estimate, workers by their jobs and nodes, and what each has; one may be between two runs.
    assert re.search(r"\d+ running, .*\d+_[01] on n\d: \d{4}.*; about \d+ s left", watched.out), watched.out
    assert once_each(study)
    assert nodes_of(study) == {"n1", "n2"}
    said = [result["environment_snapshot"]["engine"]["toy build"] for result in results_of(study)]
    assert said == ["0"] * 24


def test_a_node_that_dies_in_mid_study_costs_no_slot_and_runs_none_twice(slurm: Slurm, site: Site) -> None:
    study = site.submitted(site.study(n_runs=24, cluster=TWO), TOY_S="0.5")
    until(lambda: n_done(study) >= 4 and nodes_of(study) == {"n1", "n2"}, told=lambda: logs_of(study))
    slurm.kill_node("n1")
    # Seen while the other node goes on: the job of the dead one is queued again, or has already begun elsewhere.
    until(lambda: slurm.restarts() >= 1, 90, slurm.tail)
    slurm.start_node("n1")
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out + logs_of(study)
    assert once_each(study)


def test_what_is_left_at_the_time_limit_is_queued_again_and_finished(slurm: Slurm, site: Site) -> None:
    cluster = {"workers": 1, "gpus_per_worker": 1, "time_limit": "1m", "warn_s": 30}
    # More than a minute of runs.
    study = site.submitted(site.study(n_runs=16, cluster=cluster), TOY_S="3")
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out + logs_of(study)
    assert once_each(study)
    logs = logs_of(study)
    # SLURM looks at the time now and then: its warning may come half a minute late, and the worker knows of the limit.
    assert "asked to take no more runs (SIGUSR2)" in logs or "are left of the time limit" in logs, logs
    assert "runs are left when its time is over: the job is queued again" in logs
    # The warning reached what measured too, and nothing failed by it.
    assert not list(study.glob("runs/*/*/failure.json"))


def test_a_run_longer_than_the_limit_is_said_and_finished_by_resume_with_more_time(slurm: Slurm, site: Site) -> None:
    cluster = {"workers": 1, "gpus_per_worker": 1, "time_limit": "1m", "warn_s": 30}
    study = site.submitted(site.study(n_runs=2, cluster=cluster), TOY_S="120")
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 1
    assert "nobody runs it: 0 of 2 finished, 2 to do; go on with: llem submit --resume" in watched.out
    assert "none ended within the time limit of 60 s: the job is not queued again" in logs_of(study)
    assert n_done(study) == 0
    again = site.llem("submit", "--resume", study, "--time-limit", "10m", "-q", TOY_S="1")
    assert again.code == 0, again.out
    assert site.llem("studies", study, "--watch").code == 0
    assert once_each(study)


@pytest.mark.parametrize("by", ["llem cancel", "scancel"])
def test_jobs_that_are_ended_in_the_middle_leave_what_is_whole_and_do_not_come_back(
    slurm: Slurm, site: Site, by: str
) -> None:
    study = site.submitted(site.study(n_runs=8, cluster=TWO), TOY_S="2")
    until(lambda: n_done(study) >= 2, told=lambda: logs_of(study))
    refused = site.llem("submit", "--resume", study)
    assert refused.code == 2
    assert "it runs still: submission 1 of" in refused.out
    if by == "scancel":
        slurm.run("scancel", "--user=root")
    else:
        told = site.llem("cancel", study)
        assert told.code == 0, told.out
        assert "ended: submission 1 of" in told.out
    until(lambda: not slurm.jobs(), 60, slurm.tail)
    n_whole = n_done(study)
    assert 2 <= n_whole < 8
    # An interrupted attempt is taken away, and none counts as failed.
    assert not list(study.glob("runs/*/*/failure.json"))
    assert len(results_of(study)) == n_whole
    assert site.llem("submit", "--resume", study, "-q", TOY_S="0.2").code == 0
    assert site.llem("studies", study, "--watch").code == 0
    assert once_each(study)


def test_no_more_jobs_run_at_once_than_was_asked_for(slurm: Slurm, site: Site) -> None:
    cluster = {"workers": 3, "array_parallelism": 1, "exclusive": False, "time_limit": "5m", "warn_s": 30}
    study = site.submitted(site.study(n_runs=4, cluster=cluster), TOY_S="2")
    most = 0

    def is_over() -> bool:
        nonlocal most
        states = [line.split()[1] for line in slurm.jobs()]
        most = max(most, states.count("RUNNING"))
        return not states

    until(is_over, 120, slurm.tail)
    assert most == 1
    assert once_each(study)


def test_a_job_that_has_to_make_room_comes_back(slurm: Slurm, site: Site) -> None:
    cluster = {"workers": 1, "partition": "spare", "time_limit": "10m"}
    study = site.submitted(site.study(n_runs=4, cluster=cluster), TOY_S="2")
    until(lambda: n_done(study) >= 1, told=lambda: logs_of(study))
    slurm.run("sbatch", "--exclusive", "--nodes=2", f"--output={site.folder}/other.log", "--wrap=sleep 1")
    until(lambda: slurm.restarts() >= 1, 90, slurm.tail)
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out + logs_of(study)
    assert once_each(study)
    assert not list(study.glob("runs/*/*/failure.json"))


def test_a_job_of_two_nodes_has_a_worker_on_each(slurm: Slurm, site: Site) -> None:
    study = site.submitted(site.study(n_runs=4, cluster={"nodes": 2, "time_limit": "10m"}), TOY_S="1")
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out + logs_of(study)
    assert once_each(study)
    assert nodes_of(study) == {"n1", "n2"}


def test_real_runs_of_a_real_model_on_two_nodes(slurm: Slurm, site: Site) -> None:
    pytest.importorskip("torch")
    fields = {
        "model": "smollm2-135m", "backend": "pytorch", "precision": "fp32", "n": 2, "max_output_tokens": 4,
        "sweep": {"pytorch.batch_size": [1, 2]},
    }  # fmt: skip
    study = site.submitted(site.study(n_runs=2, cluster={**TWO, "cpus_per_worker": 1}, **fields))
    watched = site.llem("studies", study, "--watch", within_s=500)
    assert watched.code == 0, watched.out + logs_of(study)
    assert once_each(study)
    assert {result["output_tokens"] for result in results_of(study)} == {8}
