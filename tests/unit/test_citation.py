"""CITATION.cff says what the package says of itself."""

import tomllib
from pathlib import Path

import yaml

from llenergymeasure._version import __version__
from llenergymeasure.results.sharing.citing import AUTHORS, LICENSE_URL, TITLE, TOOL

ROOT = Path(__file__).parents[2]


def test_the_citation_file_is_in_step_with_the_package() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # What version 1.2.0 of the format requires.
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert str(cited["version"]) == __version__
    assert cited["license"] == project["license"]
    assert cited["abstract"] == project["description"]
    assert cited["keywords"] == project["keywords"]


def test_the_bibtex_entry_says_the_same() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["title"] == TITLE
    assert TITLE.startswith(TOOL)
    assert cited["authors"] == [{"name": AUTHORS}]
    assert LICENSE_URL.endswith(f"/{cited['license']}")
    assert AUTHORS in (ROOT / "LICENSE").read_text(encoding="utf-8")
