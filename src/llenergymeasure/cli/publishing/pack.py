"""``llem pack``."""

from pathlib import Path

import click

from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.sharing.packing import pack


@click.command("pack")
@click.argument("folder", type=UserPath())
@click.option("-o", "--output", type=UserPath(), help="The archive to write.  [default: the folder's name with .zip]")
@click.option("--force", is_flag=True, help="Overwrite an archive that is there.")
def pack_command(folder: Path, output: Path | None, force: bool) -> int:
    """Write a result or a study as one archive, for a research archive or an attachment.

    FOLDER is that of a result or of a study. The archive is a ZIP of a BagIt bag, with the SHA-256 of every file, and
    an RO-Crate in it says what was measured, and how. It has every file of the folder, whose links are not followed,
    and is the same to the byte each time. It names no author and no licence of the data: who publishes it does.
    """
    show(f"packed into {pack(folder, output, force=force)}")
    return 0
