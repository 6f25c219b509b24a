"""What an archive of results looks like inside, and which names files in it may have."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from llenergymeasure._paths import unnameable

# RFC 8493 has these names, and RO-Crate 1.1 that of its metadata, which lie in the payload.
BAG_DECLARATION, BAG_INFO = "bagit.txt", "bag-info.txt"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
PAYLOAD = "data"
CRATE_FILE = "ro-crate-metadata.json"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """A file as it went into the archive: its name in the bag, SHA-256 in hex, and length."""

    name: str
    sha256: str
    n_bytes: int


def unfit(name: str) -> str | None:
    """Why a file of an archive cannot have this name, which has ``/`` between its parts; None where it can.

    What is refused would lie somewhere else, or be something else, on one system or another.
    """
    problem = unnameable(name)
    if problem is not None:
        return problem
    if _CONTROL.search(name):
        return "it holds a control character"
    if "\\" in name:
        return "it holds a backslash, which is between folders on some systems"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(name).is_absolute():
        return "it leads out of the folder"
    if re.match(r"[A-Za-z]:", parts[0]):
        return "it begins with the letter of a drive"
    return None


def in_manifest(name: str) -> str:
    """A name as a line of a manifest has it."""
    return name.replace("%", "%25")


def from_manifest(name: str) -> str:
    """The name that a line of a manifest means."""
    return re.sub("%(25|0A|0D)", lambda found: chr(int(found[1], 16)), name, flags=re.IGNORECASE)
