"""``llem submit``."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click

from llenergymeasure.cli import logs, streams
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.studies.given import loaded, set_further, what_to_run, where_to
from llenergymeasure.config.cluster import ClusterConfig, Executor
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.config.reading.settings import parse_settings
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.orchestration.cluster.submitting import Submitted, options_of_last, submit_again, submit_study
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.studies.standing import StudyStanding, standing_of_study


@click.command("submit")
@what_to_run
@click.option("--executor", type=click.Choice(get_args(Executor)), help="How jobs are run.  [default: slurm]")
@click.option("--partition", help="Partition of the cluster.")
@click.option("--account", help="Who is charged.")
@click.option("--qos", help="Quality of service.")
@click.option("--workers", type=int, help="Jobs of the array, each a worker.  [default: 1]")
@click.option("--nodes", type=int, help="Nodes of each job; a worker runs on each of them.  [default: 1]")
@click.option("--gpus-per-worker", type=int, help="GPUs of each worker.")
@click.option("--cpus-per-worker", type=int, help="Processors of each worker.")
@click.option("--memory-gb", type=float, help="Memory of each node of a job.")
@click.option("--time-limit", metavar="TIME", help="How long a job may take: 4h, 02:00:00, or minutes.")
@click.option("--warn-s", type=int, help="Seconds before that from which on nothing is begun.  [default: 180]")
@click.option("--constraint", help="Features of nodes, such as a100.")
@click.option("--exclusive/--no-exclusive", default=None, help="Ask for whole nodes, or not.  [default: whole]")
@click.option("--array-parallelism", type=int, help="Jobs that run at once at most.  [default: all]")
@click.option(
    "--setup", multiple=True, metavar="COMMAND", help="Shell command before a worker starts. Repeat for more."
)
@click.option("--container-image", metavar="IMAGE", help="Image that srun is handed as --container-image (Pyxis).")
@click.option("--python", metavar="COMMAND", help="What starts Python in a job.  [default: this Python]")
@click.option("--slurm", multiple=True, metavar="OPTION=VALUE", help="Further option of sbatch. Repeat for more.")
@where_to
@set_further
@click.option("--resume", type=UserPath(), metavar="DIR", help="Submit workers for what is left of the study in DIR.")
@click.option("--more", is_flag=True, help="With --resume: also where jobs of an earlier submission still run.")
@click.option("-q", "--quiet", is_flag=True, help="No status lines and no progress.")
@click.option("-v", "--verbose", is_flag=True, help="Log in detail.")
def submit_command(
    config: Path | None, output: Path | None, settings: tuple[str, ...], resume: Path | None, more: bool, quiet: bool,
    verbose: bool, **fields: Any,
) -> int:  # fmt: skip
    """Plan a study, and submit workers for it to a cluster; nothing is measured here.

    What is run is given as for llem run, what is asked for by options or by the file's section cluster:
    (docs/cluster.md). The folder for results has to be one that all nodes see. Prints that of the study, and how to
    follow it.
    """
    level = logs.configure(quiet=quiet, verbose=verbose)
    asked, given = _parted(fields)
    with streams.progress(quiet=quiet) as progress:
        options = RunOptions(log_level=level, progress=progress)
        if resume is not None or more:
            beside = [*given, *(["set"] if settings else []), *(["output"] if output else [])]
            submitted = _again(resume, config, beside, asked, options, more)
        else:
            plan = loaded(config, given, settings, output, asked)
            assert isinstance(plan, StudyConfig)
            submitted = submit_study(plan, plan.cluster or ClusterConfig(), options)
    standing = standing_of_study(submitted.path)
    streams.show(_in_words(submitted, standing))
    # Where all of it ran here, whoever asked for it is told how it went.
    is_over = submitted.submission.executor == "debug"
    return int(is_over and (bool(standing.failed) or standing.state != "finished"))


def _parted(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given of the cluster section, and of the rest."""
    given = {name: value for name, value in fields.items() if value not in (None, ())}
    asked = {name: given.pop(name) for name in ClusterConfig.model_fields if name in given}
    if "slurm" in asked:
        asked["slurm"] = parse_settings(asked["slurm"])
    return asked, given


def _again(
    directory: Path | None,
    config: Path | None,
    beside: list[str],
    asked: dict[str, Any],
    options: RunOptions,
    more: bool,
) -> Submitted:
    if directory is None:
        raise ConfigError("--more goes with --resume DIR")
    if config is not None or beside:
        named = ", ".join([*([str(config)] if config else []), *(f"--{name.replace('_', '-')}" for name in beside)])
        raise config_error(
            f"{named} cannot go with --resume: what is run stands in the plan of the study; leave it out"
        )
    last = options_of_last(directory)
    if last is None and not asked:
        return submit_again(directory, options, None, more=more)
    before = {} if last is None else last.model_dump(exclude_unset=True)
    return submit_again(directory, options, ClusterConfig.model_validate({**before, **asked}), more=more)


def _in_words(submitted: Submitted, standing: StudyStanding) -> str:
    path, submission = submitted.path, submitted.submission
    folder = shlex.quote(str(path))
    n_left = standing.n_planned - standing.n_finished - len(standing.failed)
    lines = [f"{path}: {n_left} of {standing.n_planned} runs to do", f"submitted: {submission.in_words}"]
    if submission.executor == "debug":
        n_failed = len(standing.failed)
        return "\n".join([*lines, f"it has ended{f': {n_failed} runs failed' if n_failed else ''}"])
    return "\n".join([*lines, f"follow it: llem studies {folder} --watch", f"end it: llem cancel {folder}"])
