"""What a run ends with: its table on stdout, its CSV, and where the rest lies."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure._telling import in_a_line, told_values
from llenergymeasure.cli import streams
from llenergymeasure.cli.publishing.footprint import beneath
from llenergymeasure.cli.studies import render_summary
from llenergymeasure.orchestration.interruptions import noted_when_interrupted
from llenergymeasure.orchestration.studies.outcome import StudyOutcome
from llenergymeasure.results.export import ArrivingCsv
from llenergymeasure.results.footprint import FootprintTerms


def hand_out(table: str, n_results: int, csv: ArrivingCsv | None, directory: Path | None) -> int:
    """Print the table and finish the CSV; where one cannot be had, say where the results are."""
    lie = "the result is" if n_results == 1 else "the results are"
    where = "nothing else was kept" if directory is None else f"{lie} in {directory}"
    with noted_when_interrupted(lambda: where):
        missing = streams.why_not_shown(table)
        problems = [] if missing is None else [f"the table could not be written to stdout ({missing})"]
        if csv is not None:
            csv.close()
            problems += [] if csv.problem is None else [f"--export-csv {csv.path}: {csv.problem}"]
        for problem in problems:
            streams.tell(in_a_line(f"llem: {problem}; {where}"))
    return int(bool(problems))


def hand_out_study(study: StudyOutcome, csv: ArrivingCsv | None, terms: FootprintTerms | None) -> int:
    """The same of a study; 1 also where something in it failed. Its results are read where footprints are asked for."""
    unreadable: list[str] = []
    table = render_summary.study(study.summary, study.output_dir, study.work.stopped)
    table += beneath(study.results(unreadable.append), terms)
    code = hand_out(table, study.n_results, csv, study.output_dir)
    return max(code, _told(unreadable), int(not study.is_well))


def hand_out_resumed(study: StudyOutcome, export_csv: Path | None, terms: FootprintTerms | None) -> int:
    """The same of one that went on: its CSV has also what had finished before."""
    csv = None if export_csv is None else ArrivingCsv(export_csv)
    unreadable: list[str] = []
    if csv is not None:
        csv.planned([told_values(dict(each.values)) for each in study.plan.configurations])
        for result in study.results(unreadable.append):
            csv.finished(result)
    # What cannot be read is told once.
    return max(_told(unreadable) if terms is None else 0, hand_out_study(study, csv, terms))


def _told(unreadable: Sequence[str]) -> int:
    for problem in unreadable:
        streams.tell(in_a_line(f"llem: {problem}"))
    return int(bool(unreadable))
