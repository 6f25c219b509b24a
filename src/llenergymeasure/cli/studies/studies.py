"""``llem studies``."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.cluster.watch import watch
from llenergymeasure.cli.streams import show
from llenergymeasure.domain.in_figures import duration
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.studies.standing import StudyStanding, standing_of_study, studies_in
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.study.directory import CLUSTER_DIR
from llenergymeasure.results.study.events import about_clocks

_MOST_LINES = 10


@click.command("studies")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=UserPath())
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--watch", "is_watched", is_flag=True, help="Show one study, its workers and jobs, until it is over.")
def studies_command(directories: tuple[Path, ...], as_json: bool, is_watched: bool) -> int:
    """Show where studies stand: what has finished, runs, failed or was interrupted, and how to go on.

    DIR is the folder of a study, or one with studies in it, such as ./results. No result is read.
    """
    if is_watched:
        if as_json or len(directories) > 1:
            raise ConfigError("--watch shows one study, on a terminal or line by line; leave --json and others away")
        return watch(directories[0])
    found = []
    for directory in directories:
        studies = list(studies_in(directory))
        if not studies:
            raise ConfigError(f"studies {in_a_line(str(directory))}: there is no study in it")
        found += [standing_of_study(path) for path in studies]
    if as_json:
        show(json.dumps([_as_written(each) for each in found], indent=2), is_json=True)
    else:
        show("\n".join(line for each in found for line in _lines(each)))
    return 0


def _lines(standing: StudyStanding) -> list[str]:
    lines = [f"{in_a_line(str(standing.path))}: {standing.state}", f"  {standing.in_words}"]
    if standing.state != "finished" and standing.left_s is not None:
        lines.append(f"  about {duration(standing.left_s)} left for one worker, at the pace of the runs so far")
    lines += [f"  {said}" for said in about_clocks(standing.clocks)]
    lines += _some(
        [
            f"  running: {standing.plan.folder_of(slot)} by process {who.pid} on {who.host}"
            for slot, who in standing.running
        ]
    )
    lines += _some(
        [
            f"  failed: {standing.plan.folder_of(slot)}: "
            f"{'reason unknown' if failure is None else f'{failure.error_type}: {failure.message}'}; "
            f"log: {attempt / LOG_FILE}"
            for slot, failure, attempt in standing.failed
        ]
    )
    lines += _some([f"  interrupted: {standing.plan.folder_of(slot)}" for slot in standing.interrupted])
    if standing.state == "unfinished":
        # What was submitted is not to be measured where somebody looks.
        how = "submit" if (standing.path / CLUSTER_DIR).is_dir() else "run"
        lines.append(f"  go on with: llem {how} --resume {shlex.quote(str(standing.path))}")
    return [in_a_line(line) for line in lines]


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"  and {more} more like it"]


def _as_written(standing: StudyStanding) -> dict[str, Any]:
    def place(slot: Any) -> dict[str, Any]:
        return {"slot": slot.slot, "configuration": slot.configuration, "block": slot.block, "repeat": slot.repeat}

    return {
        "folder": str(standing.path),
        "name": standing.plan.name,
        "state": standing.state,
        "planned": standing.n_planned,
        "finished": standing.n_finished,
        "to_do": standing.n_to_do,
        "not_needed": standing.n_not_needed,
        "left_s": standing.left_s,
        "clocks": None if standing.clocks is None else asdict(standing.clocks),
        "running": [{**place(slot), "host": who.host, "pid": who.pid} for slot, who in standing.running],
        "failed": [
            {**place(slot), "reason": None if why is None else f"{why.error_type}: {why.message}", "attempt": str(at)}
            for slot, why, at in standing.failed
        ],
        "interrupted": [place(slot) for slot in standing.interrupted],
    }
