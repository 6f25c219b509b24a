"""What a run ends with: its table on stdout, its CSV, and where the rest lies."""

from pathlib import Path

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli import streams
from llenergymeasure.cli.publishing.footprint import beneath
from llenergymeasure.cli.studies import render_summary
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.orchestration.interruptions import noted_when_interrupted
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


def hand_out_study(study: StudyResult, csv: ArrivingCsv | None, terms: FootprintTerms | None) -> int:
    """The same of a study; 1 also where something in it failed."""
    table = render_summary.study(study) + beneath(study.experiments, terms)
    code = hand_out(table, len(study.experiments), csv, study.output_dir)
    return code or int(bool(study.failures or study.problems or study.stopped))


def hand_out_resumed(study: StudyResult, export_csv: Path | None, terms: FootprintTerms | None) -> int:
    """The same of one that went on: its CSV has also what had finished before."""
    csv = None if export_csv is None else ArrivingCsv(export_csv)
    if csv is not None:
        csv.planned([result.effective_config for result in study.experiments])
        for result in study.experiments:
            csv.finished(result)
    return hand_out_study(study, csv, terms)
