"""``llem submit``, ``llem cancel`` and ``llem studies --watch``: on this machine for real, and before fake commands."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from llenergymeasure.orchestration.cluster.kinds import KINDS
from llenergymeasure.orchestration.cluster.submissions import submissions_of
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from tests.fakes.cluster_studies import Site, Told, logs_of, n_done, once_each, until
from tests.fakes.slurm_commands import SlurmCommands

pytest.importorskip("submitit", reason="jobs are submitted by submitit, of the slurm extra")
LOCAL = {"executor": "local", "workers": 2}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.made(tmp_path)


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmCommands:
    return SlurmCommands.in_folder(tmp_path / "slurm")


@pytest.fixture
def login_node(site: Site, slurm: SlurmCommands) -> Callable[..., Told]:
    """The command line where SLURM is."""
    there = replace(site, environ={**site.environ, "PATH": slurm.path})
    return there.llem


# --- on this machine ---------------------------------------------------------


def test_two_workers_on_this_machine_run_all_of_a_study_once(site: Site) -> None:
    study = site.submitted(site.study(n_runs=4, cluster=LOCAL), TOY_S="0.1")
    (submission,) = submissions_of(study)
    assert (submission.executor, len(submission.job_ids), submission.number) == ("local", 2, 1)
    assert submission.config.workers == 2
    watched = site.llem("studies", study, "--watch")
    assert watched.code == 0, watched.out
    assert watched.out.splitlines()[-1] == f"it is through: 4 of 4 finished; llem show {study}"
    assert once_each(study)
    until(lambda: not KINDS["local"].alive(submission), told=lambda: logs_of(study))
    told = [json.loads(file.read_text()) for file in sorted(study.glob("workers/*.json"))]
    assert {each["job"] for each in told} == set(submission.job_ids)
    assert all(each["ended"] for each in told)


def test_what_runs_is_not_submitted_twice_is_cancelled_and_gone_on_with(site: Site) -> None:
    study = site.submitted(site.study(n_runs=4, cluster=LOCAL), TOY_S="8")
    (submission,) = submissions_of(study)
    until(lambda: bool(list(study.glob("runs/*/attempt-1"))), told=lambda: logs_of(study))
    refused = site.llem("submit", "--resume", study)
    assert refused.code == 2
    assert f"it runs still: {submission.in_words}: 2 running" in refused.out
    told = site.llem("cancel", study)
    assert told.code == 0, told.out
    assert told.out.splitlines() == [
        f"ended: {submission.in_words}",
        f"0 of 4 runs have finished and are kept in {study}",
        f"go on with: llem submit --resume {study}",
    ]
    # What was running is given back, and is neither there nor failed.
    assert not list(study.glob("runs/*/*"))
    assert not Holders(study / "claims").all()
    assert not any("toy" in " ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])
                   if str(study) in " ".join(each.info["cmdline"] or ()))  # fmt: skip
    again = site.llem("cancel", study)
    assert "no job of it runs or waits" in again.out
    # With what was asked for then, but for what is said now.
    resumed = site.llem("submit", "--resume", study, "--workers", "1", TOY_S="0.1")
    assert resumed.code == 0, resumed.out
    assert submissions_of(study)[1].config == submission.config.model_copy(update={"workers": 1})
    assert site.llem("studies", study, "--watch").code == 0
    assert once_each(study)
    through = site.llem("submit", "--resume", study)
    assert through.code == 2
    assert "nothing is left to run: 4 of 4 finished" in through.out


def test_more_workers_help_those_that_are_there(site: Site) -> None:
    study = site.submitted(site.study(n_runs=4, cluster={**LOCAL, "workers": 1}), TOY_S="1")
    more = site.llem("submit", "--resume", study, "--more", "-q")
    assert more.code == 0, more.out
    assert site.llem("studies", study, "--watch").code == 0
    assert once_each(study)
    assert len(submissions_of(study)) == 2


def test_in_one_process_all_is_over_when_the_command_is(site: Site) -> None:
    told = site.llem("submit", site.study(n_runs=2), "--executor", "debug", "-q", TOY_S="0.1")
    assert told.code == 0, told.out
    assert told.out.splitlines()[-1] == "it has ended"
    (study,) = (site.folder / "results").iterdir()
    assert once_each(study)


def test_a_grid_is_submitted_as_it_is_run(site: Site) -> None:
    told = site.llem("submit", "--model", "any", "--backend", "toy", "-n", "1,2", "--cycles", "1", "--set",
                     "energy.backend=null", "--executor", "debug", "-q", TOY_S="0.1")  # fmt: skip
    assert told.code == 0, told.out
    assert n_done(site.folder / "results" / next((site.folder / "results").iterdir()).name) == 2


def test_what_is_asked_for_stands_in_the_script(
    site: Site, slurm: SlurmCommands, login_node: Callable[..., Told]
) -> None:
    file = site.study(n_runs=4, cluster={"partition": "a100", "setup": ["module load cuda"], "time_limit": "90m"})
    told = login_node(
        "submit", file, "--workers", "8", "--account", "proj", "--qos", "high", "--gpus-per-worker", "2",
        "--cpus-per-worker", "16", "--memory-gb", "64", "--constraint", "nvlink", "--array-parallelism", "3",
        "--container-image", "llem.sqsh", "--slurm", "reservation=night", "--slurm", "exclude=n7", "-q",
    )  # fmt: skip
    assert told.code == 0, told.out
    study = site.folder / told.study
    assert told.out.splitlines() == [
        f"{told.study}: 4 of 4 runs to do",
        f"submitted: submission 1 of {submissions_of(study)[0].user} on {os.uname().nodename} (slurm; 8 jobs, 12)",
        f"follow it: llem studies {told.study} --watch",
        f"end it: llem cancel {told.study}",
    ]
    script = slurm.script
    for line in (
        "#SBATCH --partition=a100", "#SBATCH --account=proj", "#SBATCH --qos=high", "#SBATCH --array=0-7%3",
        "#SBATCH --gpus-per-node=2", "#SBATCH --cpus-per-task=16", "#SBATCH --mem=64GB", "#SBATCH --constraint=nvlink",
        "#SBATCH --time=90", "#SBATCH --signal=USR2@180", "#SBATCH --exclusive", "#SBATCH --requeue",
        "#SBATCH --reservation=night", "#SBATCH --exclude=n7", "#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=1",
    ):  # fmt: skip
        assert line in script
    assert script.index("module load cuda") < script.index("# command")
    (command,) = (line for line in script if line.startswith("srun"))
    assert "--container-image=llem.sqsh python3 -u -m submitit.core._submit" in command
    assert submissions_of(study)[0].job_ids == tuple(f"12_{task}" for task in range(8))
    # An archive takes no links.
    assert not [each for each in study.rglob("*") if each.is_symlink()]


def test_neighbours_are_possible_where_they_are_allowed(
    site: Site, slurm: SlurmCommands, login_node: Callable[..., Told]
) -> None:
    told = login_node("submit", site.study(), "--no-exclusive", "--time-limit", "1h", "-q")
    assert told.code == 0, told.out
    assert not any("exclusive" in line for line in slurm.script)
    assert any("#SBATCH --time=60" in line for line in slurm.script)


def test_jobs_are_found_and_ended_by_their_numbers(
    site: Site, slurm: SlurmCommands, login_node: Callable[..., Told]
) -> None:
    file = site.study(cluster={"workers": 2, "time_limit": "1h"})
    study = site.folder / login_node("submit", file, "-q").study
    slurm.answers("squeue", "12_0|RUNNING|n1|None\n12_1|PENDING||Resources\n13_0|RUNNING|n2|None\n")
    refused = login_node("submit", "--resume", study)
    assert refused.code == 2
    assert "1 running on n1, 1 pending (Resources)" in refused.out
    told = login_node("cancel", study)
    assert told.code == 0, told.out
    assert "scancel 12" in slurm.called
    assert (study / "cluster/submission-1/CANCELLED").exists()
    # It is known no more.
    slurm.fails("squeue", "slurm_load_jobs error: Invalid job id specified\n")
    watched = login_node("studies", study, "--watch")
    assert watched.code == 1
    assert watched.out.splitlines()[-2:] == [
        f"nobody runs it: 0 of 4 finished, 4 to do; go on with: llem submit --resume {study}",
        f"what its jobs wrote, and why they ended, is in {study / 'cluster' / 'submission-1' / 'jobs'}",
    ]


def test_a_scheduler_that_does_not_answer_is_no_end_of_the_jobs(
    site: Site, slurm: SlurmCommands, login_node: Callable[..., Told]
) -> None:
    study = site.folder / login_node("submit", site.study(), "--time-limit", "1h", "-q").study
    slurm.fails("squeue", "slurm_load_jobs error: Unable to contact slurm controller\n")
    refused = login_node("submit", "--resume", study)
    assert refused.code == 1
    assert "squeue does not answer: slurm_load_jobs error: Unable to contact slurm controller" in refused.out


def test_what_the_cluster_refuses_is_told_and_the_study_stays(
    site: Site, slurm: SlurmCommands, login_node: Callable[..., Told]
) -> None:
    slurm.fails("sbatch", "sbatch: error: invalid partition specified: a100\n")
    told = login_node("submit", site.study(), "--time-limit", "1h", "--partition", "a100")
    assert told.code == 1
    assert "nothing could be submitted" in told.out
    assert "invalid partition specified: a100" in told.out
    (study,) = (site.folder / "results").iterdir()
    assert f"llem submit --resume {study}" in told.out
    (slurm.folder / "refused").unlink()
    assert login_node("submit", "--resume", study, "--time-limit", "1h", "-q").code == 0


@pytest.mark.parametrize(
    ("fields", "arguments", "said"),
    [
        ({}, [], "time_limit: say how long a job may take, such as --time-limit 4h"),
        ({"precision": "auto"}, ["--time-limit", "1h"], "precision: auto: every worker has to run the same"),
        ({"backend": "auto"}, ["--time-limit", "1h"], "backend: auto: every worker has to run the same"),
        ({}, ["--time-limit", "soon"], "a time limit is such as 4h"),
        ({}, ["--resume", "x", "--batch-size", "4"], "--batch-size cannot go with --resume"),
        ({}, ["--more"], "--more goes with --resume DIR"),
        ({}, ["--slurm", "array=1-9"], "array is set by llem itself"),
    ],
)
def test_what_cannot_be_submitted_is_said_and_nothing_is_written(
    site: Site, login_node: Callable[..., Told], fields: dict[str, Any], arguments: list[str], said: str
) -> None:
    file = [] if "--resume" in arguments else [site.study(**fields)]
    told = login_node("submit", *file, *arguments)
    assert told.code in (1, 2)
    assert said in told.out
    assert not (site.folder / "results").exists()


def test_what_this_machine_lacks_is_told_and_keeps_nobody_from_submitting(
    site: Site, login_node: Callable[..., Told]
) -> None:
    told = login_node("submit", site.study(backend="vllm", precision="bf16", sweep={"n": [1, 2]}), "--time-limit", "1h")
    if "vllm" in told.out:
        assert told.code == 0, told.out
        assert "each worker looks again on its own machine" in told.out


def test_without_slurm_the_way_out_is_named(site: Site) -> None:
    told = site.llem("submit", site.study(), "--time-limit", "1h", PATH="/nowhere")
    assert told.code == 1
    assert "sbatch, srun, squeue, scancel: no such command here" in told.out


def test_without_the_extra_the_install_command_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "without" / "submitit").mkdir(parents=True)
    (tmp_path / "without" / "submitit" / "__init__.py").write_text("raise ImportError('none')\n")
    path = os.pathsep.join([str(tmp_path / "without"), site.environ["PYTHONPATH"]])
    told = site.llem("submit", site.study(), "--executor", "local", PYTHONPATH=path)
    assert told.code == 1
    assert "pip install 'llenergymeasure[slurm]'" in told.out


def test_llem_run_says_that_it_does_not_submit(site: Site) -> None:
    told = site.llem("run", site.study(n_runs=2, cluster={"partition": "a100"}), TOY_S="0.1")
    assert told.code == 0, told.out
    assert "llem: cluster: this says how llem submit runs the study on a cluster; here it is run on this" in told.out
