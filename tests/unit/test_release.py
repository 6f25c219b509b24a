"""A tag is released only where everything says its version."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "check_release.py"))
problems: Callable[[str, Path], list[str]] = SCRIPT["problems"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "llenergymeasure"
    package.mkdir(parents=True)
    (package / "_version.py").write_text('__version__ = "2.1.0"\n', encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 2.1.0\n", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [2.1.0] - 2026-12-01\n", encoding="utf-8")
    return tmp_path


def test_a_tag_that_is_the_version_has_no_problems(checkout: Path) -> None:
    assert problems("v2.1.0", checkout) == []


@pytest.mark.parametrize("tag", ["2.1.0", "v2.1", "v2.1.0rc1", "v2.2.0", ""])
def test_another_tag_is_refused_with_the_right_one(checkout: Path, tag: str) -> None:
    assert problems(tag, checkout) == [f"the tag is {tag!r} and _version.py says 2.1.0: it has to be v2.1.0"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("CITATION.cff", "version: 2.0.0\n", "CITATION.cff says 2.0.0 and _version.py 2.1.0"),
        ("CHANGELOG.md", "## [Unreleased]\n", "CHANGELOG.md has no section '## [2.1.0] - DATE'"),
        ("CHANGELOG.md", "## [2x1x0] - 2026-12-01\n", "CHANGELOG.md has no section '## [2.1.0] - DATE'"),
    ],
)
def test_what_says_another_version_is_named(checkout: Path, file: str, text: str, said: str) -> None:
    (checkout / file).write_text(text, encoding="utf-8")
    (problem,) = problems("v2.1.0", checkout)
    assert problem.startswith(said)
