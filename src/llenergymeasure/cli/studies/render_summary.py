"""The table of a study at the end of ``llem run``: the summary that its folder has, and what became of it."""

from pathlib import Path

from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.results.study.shown import text


def study(summary: StudySummary, output_dir: Path | None, stopped: str | None) -> str:
    """A row for each configuration, with what has to be known of them beneath.

    Args:
        summary: the study.
        output_dir: where it lies; None where nothing is kept.
        stopped: why it ended early, if it did.
    """
    folder = None if output_dir is None else str(output_dir)
    lines = [text(summary, folder)]
    if stopped is not None:
        lines.append(f"stopped: {in_a_line(stopped)}")
    lines.append(f"results: {folder or 'not written (no output folder)'}")
    return "\n".join(lines)
