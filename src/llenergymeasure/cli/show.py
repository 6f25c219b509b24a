"""``llem show``."""

import os
from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import render_result
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.publishing.footprint import (
    beneath,
    footprint_on_request,
    refuse_beside_json,
    requested_terms,
)
from llenergymeasure.cli.streams import show
from llenergymeasure.config.sweep.chosen import the_one
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.footprint import FootprintTerms
from llenergymeasure.results.loads.shown import curves_of
from llenergymeasure.results.loads.shown import text as curves_text
from llenergymeasure.results.persistence import load_result, result_text
from llenergymeasure.results.sharing.opening import bundle_in, is_archive
from llenergymeasure.results.study.directory import PLAN_FILE, STUDY_FILE, StudyDirectory
from llenergymeasure.results.study.files import as_json as study_json
from llenergymeasure.results.study.rows import rows
from llenergymeasure.results.study.saying import folders_in
from llenergymeasure.results.study.shown import text
from llenergymeasure.results.study.summary import Summing


@click.command("show")
@click.argument("result", type=UserPath())
@click.option(
    "--reference",
    metavar="FIELD=VALUE,...",
    help="Of a study: the configuration that the others are compared with, by settings that only it has.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in the place of the table.")
@footprint_on_request
def show_command(result: Path, reference: str | None, as_json: bool, **options: Any) -> int:
    """Print a result, or the table of a study, again as after its run.

    RESULT is the folder of a run, its result.json, or the folder of an experiment in a study, such as
    STUDY/runs/0005-HASH, of which the newest attempt counts, or the archive of one. The table of a study is what there
    is by now, from its runs; the files of its summary are not written again. For its single runs see llem results.
    """
    terms = requested_terms(options)
    if as_json:
        refuse_beside_json(terms)
    # Of what is no path this is false.
    if all(os.path.isfile(result / name) for name in (PLAN_FILE, STUDY_FILE)):  # noqa: PTH113
        if terms is not None:
            raise config_error(f"{result}: this is a whole study; see llem footprint {result}")
        directory = StudyDirectory(result)
        plan = directory.plan()
        place = None if reference is None else the_one(reference, [c.values for c in plan.compared], "--reference")
        summing = Summing(plan, place, folders_in(directory, plan))
        finished = rows(directory, plan)
        summary = summing.of(finished)
        if as_json:
            show(study_json(summary, result), is_json=True)
            return 0
        # A study that varies the load is a curve, too.
        curves = curves_text(curves_of(plan, list(finished.rows.values())))
        show("\n\n".join([text(summary, str(result)), *([curves] if curves else [])]))
        return 0
    if reference is not None:
        raise config_error(f"--reference {reference}: {result} is no folder of a study, so there is nothing to compare")
    if not is_archive(result):
        found = load_result(result)
        _show(found, found.folder, terms, as_json=as_json)
        return 0
    with bundle_in(result) as bundle:
        if bundle.is_study:
            raise config_error(f"archive {result}: this is of a whole study; see llem results {result}")
        (found,) = bundle.results()
    _show(found, result, terms, as_json=as_json)
    return 0


def _show(result: ExperimentResult, where: Path | None, terms: FootprintTerms | None, *, as_json: bool) -> None:
    if as_json:
        show(result_text(result), is_json=True)
    else:
        show(render_result.experiment(result, where) + beneath([result], terms))
