"""The site of docs/, built as `make site` does, and opened from the disk in a browser where there is one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

ROOT = Path(__file__).parents[2]
# What makes a browser fetch something by itself; links that a reader follows are not among them.
FETCHED = re.compile(r"<(?:script|img|iframe)[^>]+src=[\"']?https?:|<link[^>]+href=[\"']?https?:|url\([\"']?https?:")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return path


def test_pages_ask_other_hosts_for_nothing(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(list(site.rglob("*.html"))) > 30
    asking = {path.name: found[0] for path in pages if (found := FETCHED.search(path.read_text(encoding="utf-8")))}
    assert asking == {}


def test_files_outside_of_docs_that_pages_link_to_are_in_the_site(site: Path) -> None:
    page = (site / "how-to" / "choose-an-engine.html").read_text(encoding="utf-8")
    link = re.search(r'href="([^"]*engines\.yaml[^"]*)"', page)
    assert link is not None
    shown = site / "how-to" / link[1]
    assert "sweep:" in re.sub(r"<[^>]+>", "", shown.read_text(encoding="utf-8"))


def _first_found(page: Any, words: str) -> str | None:
    """Where the first page leads that a search finds; the index is read when the page is there, so one tries again."""
    field, first = page.locator("input.md-search__input"), page.locator("a.md-search-result__link").first
    for _ in range(60):
        field.fill("")
        field.press_sequentially(words)
        page.wait_for_timeout(2000)
        if first.count():
            return str(first.get_attribute("href"))
    return None


def test_a_reader_without_a_network_finds_a_page_by_its_words(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    asked: list[str] = []
    errors: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page: Any = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((site / "index.html").as_uri())
        found = _first_found(page, "thermal floor")
        browser.close()
    assert found is not None
    assert ".html" in found
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    assert errors == []
