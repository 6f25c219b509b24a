"""Links of the documents lead somewhere in a checkout, and the page about troubleshooting has every flag."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llenergymeasure.domain.warnings import FLAGS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "nvmlsim" / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FOLLOWS = {
    "citable": "The energy may be cited",
    "questionable": "The energy is questionable",
    "not_citable": "The energy is not citable",
}
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")


def without_code(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Of the headings, as repositories on the web name them: lower case, words joined by hyphens, marks left out."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def broken(page: Path) -> Iterator[str]:
    for path, anchor in LINK.findall(without_code(page)):
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{path}: no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{path}#{anchor}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A GPU's joules, `x_y`\n[a](#a-gpus-joules-x_y) [b](#b) [c](c.md)\n", encoding="utf-8")
    assert list(broken(page)) == ["#b: no such heading", "c.md: no such file"]


def sections() -> dict[str, list[str]]:
    """The paragraphs below the heading of each flag."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(\w+)`$", text, flags=re.MULTILINE)
    return {
        flag: [paragraph for paragraph in re.split(r"^## ", body, flags=re.MULTILINE)[0].split("\n\n") if paragraph]
        for flag, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_flag_is_explained_once_with_its_verdict_and_what_to_do() -> None:
    found = sections()
    assert set(found) == set(FLAGS)
    assert (DOCS / "troubleshooting.md").read_text(encoding="utf-8").count("\n### `") == len(FLAGS)
    for flag, paragraphs in found.items():
        assert paragraphs[0].strip().startswith(f"*{FOLLOWS[FLAGS[flag].verdict]}.* "), flag
        assert FLAGS[flag].when[1:] in paragraphs[0], flag
        assert len(" ".join(paragraphs[1:]).split()) >= 3, flag


def test_the_site_has_every_page_and_how_tos_come_first() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"[\w/-]+\.md(?=$)", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
    assert list(yaml.safe_load(text)["nav"][1]) == ["How to"]
