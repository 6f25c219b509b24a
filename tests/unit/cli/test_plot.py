"""``llem plot``."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.studies import Study, of_batches

Llem = Callable[..., Ran]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the extra plot is not installed"
)
DRAWN = ("--x", "pytorch.batch_size", "--y", "energy_per_output_token_j")
BEGINNINGS = {"pdf": b"%PDF-", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.fixture
def study(folder: Path) -> Study:
    """A study in the working directory: three runs each of two configurations."""
    study = Study.of(folder / "a-study", of_batches(8, 16), 3)
    study.finish_all([78.0, 80.0, 82.0], [40.0, 41.0, 42.0])
    return study


@pytest.mark.parametrize("form", BEGINNINGS)
def test_the_suffix_says_the_form_and_the_bytes_are_the_same_each_time(
    llem: Llem, folder: Path, study: Study, form: str
) -> None:
    for name in ("one", "two"):
        ran = llem("plot", "a-study", *DRAWN, "-o", f"{name}.{form}")
        assert (ran.code, ran.err) == (0, "")
        said = f"figure: {name}.{form}: 2 points, each a configuration; bars are 95 % intervals\n"
        assert ran.out == said
    one, two = ((folder / f"{name}.{form}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(BEGINNINGS[form])


def test_series_axes_and_lines_change_the_figure(llem: Llem, folder: Path, study: Study) -> None:
    more: tuple[list[str], ...] = ([], ["--by", "precision"], ["--log-x", "--log-y"], ["--line"], ["--runs"])
    for number, options in enumerate(more):
        assert llem("plot", "a-study", *DRAWN, *options, "-o", f"{number}.svg").code == 0
    assert len({(folder / f"{number}.svg").read_bytes() for number in range(len(more))}) == len(more)


def test_names_of_series_are_text_whatever_is_in_them(llem: Llem, folder: Path) -> None:
    names = ["_hidden $\\frac{1}$", "<b>$x$", "x" * 128]
    configs = [of_batches(size, name=name)[0] for size, name in zip((1, 2, 3), names, strict=True)]
    study = Study.of(folder / "a-study", configs)
    study.finish_all([80.0], [40.0], [20.0])
    ran = llem(
        "plot", "a-study", "--x", "pytorch.batch_size", "--y", "tokens_per_second", "--by", "name", "-o", "a.svg"
    )
    assert (ran.code, ran.err) == (0, "")
    assert (folder / "a.svg").stat().st_size < 200_000


def test_modelled_joules_are_drawn_hollow_and_the_figure_says_so(llem: Llem, folder: Path) -> None:
    study = Study.of(folder / "a-study", of_batches(8))
    study.finish(study.slot(0), 80.0, device={"source": "modelled", "basis": "load", "kind": "cpu"})
    assert llem("plot", "a-study", *DRAWN, "-o", "a.svg").code == 0
    sensed = Study.of(folder / "sensed", of_batches(8))
    sensed.finish(sensed.slot(0), 80.0)
    assert llem("plot", "sensed", *DRAWN, "-o", "b.svg").code == 0
    hollow, full = ((folder / name).read_text(encoding="utf-8") for name in ("a.svg", "b.svg"))
    # The library writes each text as a comment before its outlines.
    assert "<!-- hollow: joules that are modelled, not citable -->" in hollow
    assert "hollow" not in full


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--x", "nothing_like_it", "--y", "tokens_per_second", "-o", "a.svg"], "no result has a column or a setting"),
        (["--x", "tokens_per_secon", "--y", "tokens_per_second", "-o", "a.svg"], "tokens_per_second"),
        ([*DRAWN, "-o", "a.gif"], "there are .pdf, .svg, .png"),
        ([*DRAWN, "-o", "a"], "there are .pdf, .svg, .png"),
        (
            ["--x", "n_requests_excluded", "--y", "tokens_per_second", "--log-x", "-o", "a.svg"],
            "which has no logarithm",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_left(
    llem: Llem, folder: Path, study: Study, arguments: list[str], said: str
) -> None:
    ran = llem("plot", "a-study", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert [path.name for path in folder.iterdir()] == ["a-study"]


def test_what_a_user_has_set_for_the_library_changes_nothing(
    llem: Llem, folder: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    assert llem("plot", "a-study", *DRAWN, "-o", "one.svg").code == 0
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "black")
    assert llem("plot", "a-study", *DRAWN, "-o", "two.svg").code == 0
    assert (folder / "one.svg").read_bytes() == (folder / "two.svg").read_bytes()
    assert mpl.rcParams["font.size"] == 30.0


def test_more_series_than_can_be_told_apart_are_refused(llem: Llem, folder: Path) -> None:
    # Nine markers in seven colours.
    study = Study.of(folder / "a-study", of_batches(*range(1, 65)))
    study.finish_all(*([80.0] for _ in range(64)))
    ran = llem("plot", "a-study", *DRAWN, "--by", "pytorch.batch_size", "-o", "a.svg")
    assert ran.code == 2
    assert "--by pytorch.batch_size: 64 series, of which 63 can be told apart" in ran.err


def test_without_matplotlib_it_says_what_to_install(llem: Llem, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = llem("plot", "a-study", *DRAWN, "-o", "a.svg")
    assert ran.code == 2
    assert "pip install 'llenergymeasure[plot]'" in ran.err
