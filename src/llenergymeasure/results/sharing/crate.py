"""What an archive of results says of itself, after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1)."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from llenergymeasure.exceptions import config_error
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.citing import LICENSE_URL, TOOL, Account
from llenergymeasure.results.sharing.layout import CRATE_FILE, PAYLOAD, PackedFile

_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_FORMATS = {
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
    ".csv": "text/csv",
    ".txt": "text/plain",
}


_LICENSES = "https://spdx.org/licenses/"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What no result knows of itself, as whoever packs it says: names of authors, and the licence of the data.

    ``license`` is an identifier of SPDX, such as CC-BY-4.0, or an address; None where none was stated.
    """

    authors: tuple[str, ...] = ()
    license: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is neither.

        Raises:
            ConfigError: the licence is no identifier and no address.
        """
        if self.license is not None and not re.fullmatch(r"https?://\S+|[A-Za-z0-9][A-Za-z0-9.+-]*", self.license):
            raise config_error(
                f"--license {self.license}: give an identifier of SPDX, such as CC-BY-4.0, or an address"
            )


def crate_metadata(bundle: Bundle, base: str, files: Sequence[PackedFile], stated: Stated) -> str:
    """The text of ``ro-crate-metadata.json``, which has nothing of the time or the place of packing.

    RO-Crate wants a date of publication: it is the day on which the last measurement ended.

    Args:
        bundle: what is packed.
        base: the name of its folder in the payload.
        files: [n] files of the payload.
        stated: of authors and licence.
    """
    account = Account.of(bundle)
    tools = [_tool(version) for version in account.versions]
    authors = [{"@id": f"#author-{n}", "@type": "Person", "name": name} for n, name in enumerate(stated.authors, 1)]
    licence = _licence(stated.license)
    described = [_described(file) for file in sorted(files, key=lambda file: file.name)]
    what = "study" if bundle.is_study else "result"
    graph: list[dict[str, Any]] = [
        {
            "@id": CRATE_FILE,
            "@type": "CreativeWork",
            "conformsTo": {"@id": _SPECIFICATION},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"{base}: a {what} of {TOOL}",
            "description": account.text,
            "datePublished": account.end_time.date().isoformat(),
            "license": {"@id": licence["@id"]},
            **({"author": _linked(authors)} if authors else {}),
            "hasPart": {"@id": f"{quote(base)}/"},
        },
        {"@id": f"{quote(base)}/", "@type": "Dataset", "name": f"{what} {base}", "hasPart": _linked(described)},
        *described,
        {
            "@id": "#measurement",
            "@type": "CreateAction",
            "name": "Measurement",
            "instrument": _linked(tools),
            "startTime": account.start_time.isoformat(),
            "endTime": account.end_time.isoformat(),
            "result": {"@id": f"{quote(base)}/"},
        },
        *tools,
        *authors,
        licence,
    ]
    return json.dumps({"@context": f"{_SPECIFICATION}/context", "@graph": graph}, indent=1) + "\n"


def _described(file: PackedFile) -> dict[str, Any]:
    """A file of the payload, by its path from there on."""
    name = file.name.removeprefix(f"{PAYLOAD}/")
    known = _FORMATS.get(PurePosixPath(name).suffix)
    return {
        "@id": quote(name),
        "@type": "File",
        "name": PurePosixPath(name).name,
        "contentSize": str(file.n_bytes),
        "sha256": file.sha256,
        **({} if known is None else {"encodingFormat": known}),
    }


def _tool(version: str) -> dict[str, Any]:
    return {
        "@id": f"#{quote(TOOL)}-{quote(version or 'unknown')}",
        "@type": "SoftwareApplication",
        "name": TOOL,
        **({"version": version} if version else {}),
        "license": {"@id": LICENSE_URL},
    }


def _licence(stated: str | None) -> dict[str, Any]:
    """RO-Crate wants one; where none was stated, that is what it says."""
    if stated is None:
        said = {"name": "No licence stated", "description": "Whoever packed this stated no licence of the data."}
        return {"@id": "#no-licence-stated", "@type": "CreativeWork", **said}
    address = stated if "://" in stated else f"{_LICENSES}{stated}"
    return {
        "@id": address,
        "@type": "CreativeWork",
        "name": stated,
        "description": f"The licence of the data: {stated}",
    }


def _linked(entities: Sequence[dict[str, Any]]) -> Any:
    """Links to entities; a single one stands by itself, as RO-Crate has it."""
    links = [{"@id": entity["@id"]} for entity in entities]
    return links[0] if len(links) == 1 else links
