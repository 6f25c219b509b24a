"""What a run ends with: its table on stdout, its CSV, and where the rest lies."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._telling import in_a_line, told_values
from llenergymeasure.cli import render_result, streams
from llenergymeasure.cli.publishing.footprint import beneath
from llenergymeasure.cli.studies import render_summary
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.orchestration.interruptions import noted_when_interrupted
from llenergymeasure.orchestration.studies.outcome import StudyOutcome
from llenergymeasure.results.export import ArrivingCsv
from llenergymeasure.results.footprint import FootprintTerms
from llenergymeasure.results.persistence import result_text
from llenergymeasure.results.study.files import as_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """What a run ends with on stdout: a table, with a footprint under ``terms`` beneath it, or JSON."""

    terms: FootprintTerms | None = None
    is_json: bool = False


def hand_out_single(result: ExperimentResult, directory: Path | None, csv: ArrivingCsv | None, ending: Ending) -> int:
    """Print a result and finish the CSV; where one cannot be had, say where the result is.

    Returns:
        The exit code that follows.
    """
    if ending.is_json:
        return _hand_out(result_text(result), 1, csv, directory, is_json=True)
    table = render_result.experiment(result, directory) + beneath([result], ending.terms)
    return _hand_out(table, 1, csv, directory)


def hand_out_study(study: StudyOutcome, csv: ArrivingCsv | None, ending: Ending) -> int:
    """The same of a study; 1 also where something in it failed. Its results are read where footprints are asked for."""
    unreadable: list[str] = []
    if ending.is_json:
        text = as_json(study.summary, study.output_dir)
    else:
        text = render_summary.study(study.summary, study.output_dir, study.work.stopped)
        text += beneath(study.results(unreadable.append), ending.terms)
    code = _hand_out(text, study.n_results, csv, study.output_dir, is_json=ending.is_json)
    return max(code, _told(unreadable), int(not study.is_well))


def hand_out_resumed(study: StudyOutcome, export_csv: Path | None, ending: Ending) -> int:
    """The same of one that went on: its CSV has also what had finished before."""
    csv = None if export_csv is None else ArrivingCsv(export_csv)
    unreadable: list[str] = []
    if csv is not None:
        csv.planned([told_values(dict(each.values)) for each in study.plan.configurations])
        for result in study.results(unreadable.append):
            csv.finished(result)
    # What cannot be read is told once.
    return max(_told(unreadable) if ending.terms is None else 0, hand_out_study(study, csv, ending))


def _hand_out(
    text: str, n_results: int, csv: ArrivingCsv | None, directory: Path | None, *, is_json: bool = False
) -> int:
    lie = "the result is" if n_results == 1 else "the results are"
    where = "nothing else was kept" if directory is None else f"{lie} in {directory}"
    with noted_when_interrupted(lambda: where):
        missing = streams.why_not_shown(text, is_json=is_json)
        what = "JSON" if is_json else "table"
        problems = [] if missing is None else [f"the {what} could not be written to stdout ({missing})"]
        if csv is not None:
            csv.close()
            problems += [] if csv.problem is None else [f"--export-csv {csv.path}: {csv.problem}"]
        for problem in problems:
            streams.tell(in_a_line(f"llem: {problem}; {where}"))
        if is_json and not problems:
            # A table ends with it.
            _log.info("%s", where)
    return int(bool(problems))


def _told(unreadable: Sequence[str]) -> int:
    for problem in unreadable:
        streams.tell(in_a_line(f"llem: {problem}"))
    return int(bool(unreadable))
