"""``llem cite``, ``llem pack`` and ``llem footprint``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.cli.publishing.footprint import footprint_lines
from llenergymeasure.results.footprint import FootprintTerms, Intensity
from tests.fakes.command import Ran
from tests.unit.results.sharing.kinds import counted, modelled, packages, saved, study, unmeasured


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


def test_a_name_cannot_begin_a_line_of_its_own(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted().model_copy(update={"name": "x\nforged\x1b"}), folder / "a")
    ran = llem("pack", "a", "-o", "b\nforged\x1b.zip")
    assert (ran.code, ran.out, ran.err) == (0, "packed into b\\nforged\\x1b.zip\n", "")
    assert (folder / "b\nforged\x1b.zip").is_file()
    cited = llem("cite", "a").out
    assert cited == llem("cite", "b\nforged\x1b.zip").out
    assert "\nforged" not in cited
    (folder / "torn\nforged").write_bytes(b"PK\x03\x04")
    (folder / "json\nforged").mkdir()
    (folder / "json\nforged" / "result.json").write_text("{", encoding="utf-8")
    (folder / "empty\nforged" / "runs").mkdir(parents=True)
    for args, said in (
        (("pack", "a", "-o", "b\nforged\x1b.zip"), "--output b\\nforged\\x1b.zip: this exists"),
        (("pack", "a", "-o", "no\nforged/c.zip"), "--output no\\nforged/c.zip: there is no folder no\\nforged"),
        (("cite", "no\nforged"), "no\\nforged: there is no result here"),
        (("cite", "torn\nforged"), "archive torn\\nforged: it is no whole ZIP archive"),
        (("cite", "empty\nforged"), "empty\\nforged/runs: there is no result in it"),
        (("cite", "json\nforged"), "result json\\nforged/result.json: this is no JSON"),
    ):
        ran = llem(*args)
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
        assert ran.err.startswith(f"llem: {said}")


def test_pack_does_not_overwrite(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    assert llem("pack", "a").code == 0
    first = (folder / "a.zip").read_bytes()
    ran = llem("pack", "a")
    assert ran.code == 2
    assert ran.err == "llem: --output a.zip: this exists and is not overwritten; name another file, or give --force\n"
    assert llem("pack", "a", "--force").code == 0
    assert (folder / "a.zip").read_bytes() == first


@pytest.mark.parametrize("command", [("cite", "a"), ("pack", "a"), ("footprint", "a", "--intensity", "380")])
def test_without_a_result_that_is_said(llem: Callable[..., Ran], folder: Path, command: tuple[str, ...]) -> None:
    (folder / "a").mkdir()
    ran = llem(*command)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no result here" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_carbon_and_cost_of_a_result(llem: Callable[..., Ran], folder: Path) -> None:
    before = saved(counted(), folder / "a") / "result.json"
    content = before.read_bytes()
    ran = llem("footprint", "a", "--intensity", "450", "--pue", "1.25", "--price", "0.30EUR")
    assert (ran.code, ran.err) == (0, "")
    lines = [line for line in ran.out.splitlines() if not line.startswith("result ")]
    assert lines == [
        "PUE                 1.25",
        "intensity           450 gCO2e/kWh, as given",
        "price               0.3 EUR/kWh, as given",
        "",
        "energy              80.0 J over 2.00 s, sensed: energy counter of the GPU (nvml)",
        # 80 J x 1.25 / 3.6e6 x 450 = 0.0125 g; of 78.5 and 81.5 J 98.125 / 8000 and 101.875 / 8000; over 4 tokens.
        "carbon              0.0125 gCO2e (0.0123 to 0.0127), 3,120 gCO2e per million output tokens",
        # 100 J / 3.6e6 x 0.30 EUR; 98.125 / 12e6 and 101.875 / 12e6.
        "cost                8.33e-06 EUR (8.18e-06 to 8.49e-06), 2.08 EUR per million output tokens",
    ]
    assert before.read_bytes() == content


def test_what_speaks_against_citing_stands_beside_each_figure(llem: Callable[..., Ran], folder: Path) -> None:
    saved(modelled(), folder / "a")
    ran = llem("footprint", "a", "--intensity", "380", "--price", "0.30EUR")
    lines = ran.out.splitlines()
    figures = [line for line in lines if line.startswith(("energy", "carbon", "cost"))]
    assert len(figures) == 3
    assert all(line.endswith("(modelled, not citable)") for line in figures)
    assert lines[0].startswith("PUE                 not stated")


def test_results_are_added_up_where_that_means_something(llem: Callable[..., Ran], folder: Path) -> None:
    study(folder / "s", counted(), counted())
    saved(modelled(), folder / "m")
    said = llem("footprint", "s", "s", "--intensity", "450").out
    # 160 J / 3.6e6 x 450 = 0.02 g; a study that is named twice counts once.
    assert said.splitlines()[-2:] == [
        "all 2               160 J in their windows; loading, warm-up and idling are in none of them",
        "carbon              0.0200 gCO2e",
    ]
    assert "not added up" in llem("footprint", "s", "m", "--intensity", "450").out.splitlines()[-1]


def test_without_energy_there_is_neither(folder: Path) -> None:
    lines = footprint_lines(unmeasured(), FootprintTerms(intensity=Intensity(g_per_kwh=380.0, source="as given")))
    assert len(lines) == 2
    assert lines[-1].endswith("none was measured, so it has neither carbon nor cost")


def test_terms_have_to_be_stated(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    ran = llem("footprint", "a", "--pue", "1.2")
    assert ran.code == 2
    assert ran.err.startswith("llem: nothing to work out")
    ran = llem("footprint", "a", "--intensity", "0.38")
    assert ran.code == 2
    assert "it is in grams" in ran.err


ESTIMATED = "Footprint: not measured, but estimated from the energy of the window under terms that were stated"


def test_a_result_is_shown_with_its_footprint_where_that_is_asked_for(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    plain = llem("show", "a").out
    of_itself = llem("footprint", "a", "--intensity", "450").out.splitlines()
    assert "gCO2e" not in plain
    ran = llem("show", "a", "--intensity", "450")
    assert ran.code == 0
    assert ran.out.startswith(plain)
    # As llem footprint has it, with what the terms are above.
    assert ran.out.removeprefix(plain).splitlines() == ["", ESTIMATED, *of_itself]
    ran = llem("show", "a", "--footprint")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("llem: nothing to work out: give --intensity")


def test_terms_of_the_users_file_are_asked_for_by_a_flag(
    llem: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(counted(), folder / "a")
    monkeypatch.setenv("LLEM_FOOTPRINT__INTENSITY_G_PER_KWH", "450")
    assert "gCO2e" not in llem("show", "a").out
    assert "0.0100 gCO2e" in llem("show", "a", "--footprint").out
    assert "450 gCO2e/kWh" in llem("results", "a", "--footprint").out


def test_a_table_has_footprints_in_a_table_of_their_own(llem: Callable[..., Ran], folder: Path) -> None:
    saved(counted(), folder / "a")
    saved(modelled(), folder / "b")
    saved(unmeasured(), folder / "c")
    plain = llem("results", ".")
    ran = llem("results", ".", "--intensity", "450", "--pue", "1.25", "--price", "0.30EUR")
    assert (ran.code, ran.out.startswith(plain.out)) == (0, True)
    lines = ran.out.removeprefix(plain.out).splitlines()
    assert lines[:5] == ["", ESTIMATED, "PUE                 1.25", "intensity           450 gCO2e/kWh, as given",
                         "price               0.3 EUR/kWh, as given"]  # fmt: skip
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[6:]]
    # 80 J x 1.25 / 3.6e6 is 1/36,000 kWh; 19 J as much less.
    assert [cells[0], *cells[2:]] == [
        ["name", "energy (J)", "carbon (gCO2e)", "cost (EUR)", "folder"],
        ["a run", "80.0", "0.0125", "8.33e-06", "./a"],
        ["a run", "19.0 (modelled, not citable)", "0.00297", "1.98e-06", "./b"],
        ["a run", "-", "-", "-", "./c"],
    ]
    assert llem("results", ".", "--where", "n=1", "--intensity", "450").code == 0
    ran = llem("results", ".", "--intensity", "450", "--format", "csv")
    assert (ran.code, ran.out) == (2, "")
    assert "--format csv has what was measured and nothing beside it; see llem footprint" in ran.err
    assert llem("run", "--footprint").err.startswith("llem: nothing to work out")
