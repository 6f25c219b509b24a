"""``llem run``."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import logs, render, streams
from llenergymeasure.cli.arguments import UserPath, WorkerCount
from llenergymeasure.cli.publishing.footprint import footprint_on_request, refuse_beside_json, requested_terms
from llenergymeasure.cli.studies.given import loaded, set_further, what_to_run, where_to
from llenergymeasure.cli.studies.handing_out import Ending, hand_out_resumed, hand_out_single, hand_out_study
from llenergymeasure.cli.studies.render_plan import PlannedStudy, study_plan
from llenergymeasure.cli.studies.resuming import resumed
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.sweep.chosen import carried_out
from llenergymeasure.config.sweep.left_out import counted
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.inspection import library_loggers
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight.check import bytes_of_runs, energy_line, examine
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import carry_out
from llenergymeasure.orchestration.studies.gpus_each import gpus_of_workers, refuse_what_one_gpu_cannot
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.standing import known_run_s
from llenergymeasure.results.export import ArrivingCsv


@click.command("run")
@what_to_run
@click.option(
    "--workers",
    type=WorkerCount(),
    metavar="N|per_gpu",
    help="Processes that run a study at once, each with a GPU of its own.  [default: 1, with all GPUs]",
)
@where_to
@click.option(
    "--export-csv",
    type=UserPath(),
    help="Also write the results to a new CSV file, each as it arrives; a text like a formula gets a ' before it.",
)
@set_further
@click.option(
    "--resume",
    type=UserPath(),
    metavar="DIR",
    help="Go on with the study in DIR; with CONFIG only if that is the same.",
)
@click.option(
    "--check", is_flag=True, help="With --resume: hold what has finished against its sums, not only its sizes."
)
@click.option("--dry-run", is_flag=True, help="Check everything and show what would run, without running it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON in the place of the table.")
@footprint_on_request
@click.option("-q", "--quiet", is_flag=True, help="No status lines and no progress.")
@click.option("-v", "--verbose", is_flag=True, help="Log in detail.")
def run_command(
    config: Path | None, output: Path | None, export_csv: Path | None, dry_run: bool, quiet: bool, verbose: bool,
    settings: tuple[str, ...], **fields: Any,
) -> int:  # fmt: skip
    """Measure the experiment or study in CONFIG (YAML), or the one given by options.

    Options win over the file. Several values with commas (--batch-size 1,4,16, or --set for any
    field) make a study of all combinations. Results go to a new folder under the output folder; the
    table, or JSON, goes to stdout, everything else to stderr.
    """
    level = logs.configure(quiet=quiet, verbose=verbose)
    ending = _ending(fields, export_csv, dry_run=dry_run)
    given = {name: value for name, value in fields.items() if value is not None}
    resume, check = given.pop("resume", None), given.pop("check")
    if resume is not None or check:
        workers = given.pop("workers", None)
        beside = [
            *given,
            *(["set"] if settings else []),
            *(["output"] if output else []),
            *(["dry_run"] if dry_run else []),
        ]
        with streams.progress(quiet=quiet) as progress:
            options = RunOptions(log_level=level, progress=progress)
            study = resumed(resume, config, beside, check, options, workers)
        return hand_out_resumed(study, export_csv, ending)
    plan = loaded(config, given, settings, output)
    experiments = carried_out(plan) if isinstance(plan, StudyConfig) else [plan]
    # The others are in processes of their own.
    here = [each.backend for each in experiments if each.execution.launcher == "in_process"]
    logs.quiet_libraries(library_loggers(here))
    if dry_run:
        return _dry_run(plan, verbose=verbose)
    csv = None if export_csv is None else ArrivingCsv(export_csv)
    if isinstance(plan, StudyConfig):
        if plan.left_out and not quiet:
            streams.tell(f"llem: left out: {counted(plan.left_out)}; llem run --dry-run says which, and why")
        with streams.progress(quiet=quiet) as progress:
            study = carry_out(plan, RunOptions(log_level=level, progress=progress, arrivals=csv))
        return hand_out_study(study, csv, ending)
    with streams.progress(quiet=quiet) as progress:
        kept = execute_experiment(plan, RunOptions(log_level=level, progress=progress))
    if csv is not None:
        csv.finished(kept.result)
    return hand_out_single(kept.result, kept.directory, csv, ending) or int(kept.problem is not None)


def _ending(fields: dict[str, Any], export_csv: Path | None, *, dry_run: bool) -> Ending:
    """What the run is to end with; its options are taken out of ``fields``."""
    ending = Ending(requested_terms(fields), is_json=fields.pop("as_json"))
    if ending.is_json:
        refuse_beside_json(ending.terms)
        if dry_run:
            raise ConfigError("--json: a dry run has no result; leave it away")
    _check_export(export_csv)
    return ending


def _check_export(path: Path | None) -> None:
    if path is None:
        return
    if path.exists():
        raise config_error(f"--export-csv {path}: this exists and is not overwritten; name another file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise config_error(f"--export-csv {path}: {path.parent} is no folder that can be written to")


def _dry_run(plan: ExperimentConfig | StudyConfig, *, verbose: bool) -> int:
    with Asking() as asking:
        given = carried_out(plan) if isinstance(plan, StudyConfig) else [plan]
        chosen = [settled_before_a_run(each, asking) for each in given]
        experiments = [each.config for each in chosen]
        examined = examine(experiments, plan.output_dir, asking, ask_every_sensor=True)
    gpus: Sequence[GpuInfo] = ()
    if isinstance(plan, StudyConfig):
        gpus = gpus_of_workers(plan.execution.workers)
        found = list(zip(chosen, examined, strict=True))
        refuse_what_one_gpu_cannot(gpus, found, plan.execution.workers)
    if isinstance(plan, StudyConfig) and not verbose:
        streams.show(_study_in_short(plan, chosen, examined, len(gpus) or 1))
        return 0
    notes = [_notes(each, found) for each, found in zip(chosen, examined, strict=True)]
    streams.show(render.plan(experiments, output_folder(plan.output_dir), notes))
    left_out = plan.left_out if isinstance(plan, StudyConfig) else ()
    if left_out:
        streams.show("\n".join([f"# left out: {counted(left_out)}", *(f"# - {each.in_words}" for each in left_out)]))
    return 0


def _study_in_short(
    config: StudyConfig, chosen: Sequence[Settled], examined: Sequence[ExaminedExperiment], n_workers: int
) -> str:
    experiments, folder = [each.config for each in chosen], output_folder(config.output_dir)
    asleep = [[f"{name} changes nothing: {why}" for name, why in each.dormant_fields().items()] for each in experiments]
    return study_plan(
        PlannedStudy(
            given=config,
            plan=plan_of(config, chosen, datetime.now(UTC)),
            examined=examined,
            notes=[[*each.cautions, *dormant] for each, dormant in zip(examined, asleep, strict=True)],
            took_s={} if folder is None else known_run_s(folder),
            disk_bytes=bytes_of_runs(experiments, examined, config.most_runs),
            output_dir=folder,
            n_workers=n_workers,
        )
    )


def _notes(chosen: Settled, found: ExaminedExperiment) -> list[str]:
    config = chosen.config
    processes = [f"processes: {found.layout.in_words}, started by llem"] if found.layout.n_processes > 1 else []
    memory = [] if found.memory is None else render.memory_lines(found.memory)
    dormant = [f"dormant: {name} changes nothing: {why}" for name, why in config.dormant_fields().items()]
    return [
        *chosen.in_words,
        *processes,
        *([] if found.prompts is None else [found.prompts.in_words]),
        energy_line(config, found),
        *memory,
        *found.cautions,
        *dormant,
    ]
