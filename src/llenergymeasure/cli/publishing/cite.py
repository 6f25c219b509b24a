"""``llem cite``."""

from pathlib import Path

import click

from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.sharing.citing import Account, bibtex
from llenergymeasure.results.sharing.opening import bundle_in


@click.command("cite")
@click.argument("folder", type=UserPath())
def cite_command(folder: Path) -> int:
    """Print how to cite the tool (BibTeX), and a paragraph on how a result or a study came about.

    FOLDER is that of a result or of a study, or an archive of one. Every number in the paragraph is in the result;
    what was not measured is not claimed, and what speaks against citing the energy is said.
    """
    with bundle_in(folder) as bundle:
        account = Account.of(bundle)
    show(f"{bibtex(account.versions)}\n\n{account.text}")
    return 0
