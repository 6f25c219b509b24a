"""``llem cite``."""

from pathlib import Path

import click

from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.citing import bibtex, methods
from llenergymeasure.results.sharing.opening import bundle_in


@click.command("cite")
@click.argument("folder", type=UserPath())
def cite_command(folder: Path) -> int:
    """Print how to cite the tool (BibTeX), and a paragraph on how a result or a study came about.

    FOLDER is that of a result or of a study, or an archive of one. Every number in the paragraph is in the result;
    what was not measured is not claimed, and what speaks against citing the energy is said.
    """
    with bundle_in(folder) as bundle:
        show(f"{bibtex(_versions(bundle))}\n\n{methods(bundle)}")
    return 0


def _versions(bundle: Bundle) -> set[str]:
    return {result.environment_snapshot.tool_version for result in bundle.results()}
