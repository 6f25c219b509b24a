"""What an archive of results says of itself, after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1)."""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

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


def crate_metadata(bundle: Bundle, base: str, files: Sequence[PackedFile]) -> str:
    """The text of ``ro-crate-metadata.json``, which has nothing of the time or the place of packing.

    RO-Crate wants a date of publication: it is the day on which the last measurement ended.

    Args:
        bundle: what is packed.
        base: the name of its folder in the payload.
        files: [n] files of the payload.
    """
    account = Account.of(bundle)
    tools = [_tool(version) for version in account.versions]
    described = [_described(file) for file in sorted(files, key=lambda file: file.name)]
    parts = [{"@id": entity["@id"]} for entity in described]
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
            "hasPart": [{"@id": f"{quote(base)}/"}],
        },
        {"@id": f"{quote(base)}/", "@type": "Dataset", "name": f"{what} {base}", "hasPart": parts},
        *described,
        {
            "@id": "#measurement",
            "@type": "CreateAction",
            "name": "Measurement",
            "instrument": [{"@id": tool["@id"]} for tool in tools],
            "startTime": account.start_time.isoformat(),
            "endTime": account.end_time.isoformat(),
            "result": {"@id": f"{quote(base)}/"},
        },
        *tools,
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
