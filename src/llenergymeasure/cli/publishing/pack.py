"""``llem pack``."""

from pathlib import Path

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.sharing.crate import Stated
from llenergymeasure.results.sharing.packing import pack


@click.command("pack")
@click.argument("folder", type=UserPath())
@click.option("-o", "--output", type=UserPath(), help="The archive to write.  [default: the folder's name with .zip]")
@click.option("--author", "authors", multiple=True, help="An author of the data; several allowed.")
@click.option(
    "--license", "licence", help="Licence of the data: an identifier of SPDX, such as CC-BY-4.0, or an address."
)
@click.option("--force", is_flag=True, help="Overwrite an archive that is there.")
def pack_command(folder: Path, output: Path | None, authors: tuple[str, ...], licence: str | None, force: bool) -> int:
    """Write a result or a study as one archive, for a research archive or an attachment.

    FOLDER is that of a result or of a study. The archive is a ZIP of a BagIt bag, with the SHA-256 of every file, and
    an RO-Crate in it says what was measured, and how. It has every file of the folder, whose links are not followed,
    and is the same to the byte each time. Authors and licence of the data are those that you state.
    """
    stated = Stated(authors=authors, license=licence)
    archive = pack(folder, output, stated=stated, force=force)
    show(in_a_line(f"packed into {archive}"))
    return 0
