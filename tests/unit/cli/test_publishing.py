"""``llem cite`` and ``llem pack``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.unit.results.sharing.kinds import counted, packages, saved, study


def test_cite_prints_bibtex_and_a_paragraph(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    ran = llem("cite", "a")
    assert (ran.code, ran.err) == (0, "")
    entry, paragraph = ran.out.split("\n\n")
    assert entry.startswith("@software{llenergymeasure-0.0,\n")
    assert "It was 80 J, 20 J per output token" in paragraph
    assert len(paragraph.splitlines()) == 1


def test_an_archive_is_cited_as_what_is_in_it(llem: Callable[..., Ran], folder: Path) -> None:
    study(folder / "s", counted(), packages())
    assert llem("pack", "s", "-o", "out.zip").out == "packed into out.zip\n"
    assert llem("cite", "out.zip").out == llem("cite", "s").out


def test_pack_does_not_overwrite(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    assert llem("pack", "a").code == 0
    first = (folder / "a.zip").read_bytes()
    ran = llem("pack", "a")
    assert ran.code == 2
    assert ran.err == "llem: --output a.zip: this exists and is not overwritten; name another file, or give --force\n"
    assert llem("pack", "a", "--force").code == 0
    assert (folder / "a.zip").read_bytes() == first


@pytest.mark.parametrize("command", [("cite", "a"), ("pack", "a")])
def test_without_a_result_that_is_said(llem: Callable[..., Ran], folder: Path, command: tuple[str, ...]) -> None:
    (folder / "a").mkdir()
    ran = llem(*command)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no result here" in ran.err
    assert len(ran.err.splitlines()) == 1
