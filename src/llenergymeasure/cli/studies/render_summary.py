"""The table of a study at the end of ``llem run``: the summary that its folder has, and what became of it."""

from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.results.study.shown import text
from llenergymeasure.results.study.summary import summary_of


def study(result: StudyResult) -> str:
    """A row for each configuration, with what has to be known of them beneath."""
    folder = None if result.output_dir is None else str(result.output_dir)
    lines = [text(summary_of(result), folder)]
    if result.stopped is not None:
        lines.append(f"stopped: {in_a_line(result.stopped)}")
    lines.append(f"results: {folder or 'not written (no output folder)'}")
    return "\n".join(lines)
