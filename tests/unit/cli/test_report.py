"""``llem report``."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.studies import Study, of_batches

Llem = Callable[..., Ran]

needs_plotly = pytest.mark.skipif(
    importlib.util.find_spec("plotly") is None, reason="the extra report is not installed"
)


@pytest.fixture
def study(folder: Path) -> Study:
    """A study in the working directory."""
    study = Study.of(folder / "a-study", of_batches(1, 2))
    study.finish_all([80.0], [40.0])
    return study


@needs_plotly
def test_a_page_in_one_file_the_same_each_time_and_never_over_another(llem: Llem, folder: Path, study: Study) -> None:
    ran = llem("report", "a-study", "-o", "page.html")
    assert (ran.code, ran.out, ran.err) == (0, "report: page.html\n", "")
    page = (folder / "page.html").read_bytes()
    assert page.startswith(b"<!doctype html>")
    # With the whole of plotly; 6 MB are promised for 500 rows.
    assert len(page) < 6_000_000
    refused = llem("report", "a-study", "-o", "page.html")
    assert (refused.code, refused.out) == (2, "")
    assert "page.html: this exists and is not overwritten; name another file, or give --force" in refused.err
    assert llem("report", "a-study", "-o", "page.html", "--force").code == 0
    assert (folder / "page.html").read_bytes() == page
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


@needs_plotly
def test_a_result_that_is_damaged_is_told_and_the_others_are_shown(llem: Llem, folder: Path, study: Study) -> None:
    first = next(iter(sorted((folder / "a-study" / "runs").iterdir())))
    (first / "attempt-1" / "result.json").write_text("{}", encoding="utf-8")
    ran = llem("report", "a-study/runs")
    assert (ran.code, ran.out) == (1, "report: report.html\n")
    assert "passed over" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a-study", "-o", "nowhere/page.html"], "there is no folder nowhere"),
        (["a-study", "-o", "a-study"], "this is a folder; name a file in it"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    llem: Llem, study: Study, arguments: list[str], said: str
) -> None:
    ran = llem("report", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_without_plotly_it_says_what_to_install(llem: Llem, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    ran = llem("report", "a-study")
    assert ran.code == 2
    assert "pip install 'llenergymeasure[report]'" in ran.err
