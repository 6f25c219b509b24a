"""``llem compare`` of repeated runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import save_result
from tests.fakes.command import Ran
from tests.fakes.repeats import group
from tests.unit.results.recorded import GOLDEN

Llem = Callable[..., Ran]
LIMIT = "energy_per_output_token_j > +2%"


def saved(name: str, *totals_j: float, **fields: Any) -> None:
    """Repeats in folders ``name_0``, ``name_1`` and so on of the working directory."""
    for number, result in enumerate(group(name, *totals_j, **fields).results):
        Path(f"{name}_{number}").mkdir()
        save_result(result, Path(f"{name}_{number}"))


def test_groups_are_named_by_patterns_and_told_metric_by_metric(llem: Llem, folder: Path) -> None:
    saved("a", 80, 80.08, 79.92)
    saved("b", 88, 88.088, 87.912, n=7)
    ran = llem("compare", "a_*", "b_*")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[:2] == ["A  a_* (3 runs)", "B  b_* (3 runs)"]
    # 80 / 4 and 88 / 4 J; 4.303 x 0.001 / sqrt(3) = 0.248 % and 2.776 x 0.001 x sqrt(2/3) = 0.227 %.
    (row,) = [line for line in lines if line.startswith("J/out tok")]
    assert " ".join(row.split()) == ("J/out tok 20.00 +- 0.05 22.00 +- 0.06 1.100 (1.098-1.102) different")
    said = " ".join(ran.out.split())
    assert "beside the interval energy: A +-5 % (sensor), +-0 % (readings)" in said
    assert "settings differ n 100 / 7" in said
    assert "identical" not in said


def test_several_have_a_table_each_against_the_first(llem: Llem, folder: Path) -> None:
    for name in ("a", "b", "c"):
        saved(name, 80, 81, 82)
    said = llem("compare", "a_*", "b_*", "c_*").out
    assert ("B / A" in said, "C / A" in said, "by Holm" in said) == (True, True, True)


@pytest.mark.parametrize(
    ("totals_j", "strict", "code", "said"),
    [
        ((88, 88.1, 87.9), False, 1, "b_* is beyond the limit energy_per_output_token_j > +2%: ratio 1.1"),
        ((80, 80.1, 79.9), True, 0, ""),
        ((82, 92, 72), False, 0, "b_* may be on either side of the limit energy_per_output_token_j > +2%"),
        ((82, 92, 72), True, 1, "b_* may be on either side of the limit energy_per_output_token_j > +2%"),
    ],
)
def test_the_exit_code_follows_from_the_limits(
    llem: Llem, folder: Path, totals_j: tuple[float, ...], strict: bool, code: int, said: str
) -> None:
    saved("a", 80, 80.1, 79.9)
    saved("b", *totals_j)
    flags = ["--strict"] if strict else []
    ran = llem("compare", "a_*", "b_*", "--fail-if", LIMIT, "--fail-if", "tokens_per_second < -1%", *flags)
    assert ran.code == code
    assert ran.err.startswith(f"llem: {said}" if said else "")
    assert bool(ran.err) == bool(said)


def test_under_strict_energy_that_is_not_citable_fails_a_limit_on_it(llem: Llem, folder: Path) -> None:
    saved("a", 80, 80.1, 79.9)
    # A model made the joules of both.
    for name in ("b", "c"):
        saved(name, 80, 80.1, 79.9, device={"source": "modelled", "basis": "load"})
    limits = ("--fail-if", LIMIT, "--fail-if", "tokens_per_second < -1%")
    ran = llem("compare", "b_*", "c_*", *limits)
    assert (ran.code, ran.err) == (0, "")
    assert "energy is not citable in 3 of 3 runs (energy_modelled)" in " ".join(ran.out.split())
    ran = llem("compare", "b_*", "c_*", *limits, "--strict")
    assert (ran.code, ran.err) == (
        1,
        f"llem: {LIMIT}: energy is not citable: b_*: in 3 of 3 runs (energy_modelled); c_*: in 3 of 3 runs "
        "(energy_modelled); --strict takes that for a failure\n",
    )
    assert json.loads(llem("compare", "b_*", "c_*", *limits, "--json").out)["limits"][0]["not_citable"]
    assert llem("compare", "b_*", "c_*", *limits[2:], "--strict").code == 0


def test_other_sensors_are_refused_and_compared_where_that_is_asked_for(llem: Llem, folder: Path) -> None:
    saved("a", 80, 81, 82)
    saved("b", 80, 81, 82, device={"source": "integrated"})
    ran = llem("compare", "a_*", "b_*", "--fail-if", LIMIT)
    assert (ran.code, ran.out) == (2, "")
    assert "read by different sensors: nvml (counter) / nvml (integrated); give --anyway" in ran.err
    ran = llem("compare", "a_*", "b_*", "--anyway")
    assert (ran.code, ran.err) == (0, "")
    assert "caution compared all the same: their energy was read by different sensors" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fail-if", "energy_per_output_tokn_j > +2%"), "did you mean 'energy_per_output_token_j'"),
        (("--margin", "0"), "no fraction between 0 and 1"),
        (("--margin", "nan"), "no fraction between 0 and 1"),
    ],
)
def test_what_is_wrong_in_the_arguments_is_told(
    llem: Llem, folder: Path, arguments: tuple[str, str], said: str
) -> None:
    saved("a", 80)
    saved("b", 80)
    ran = llem("compare", "a_0", "b_0", *arguments)
    assert (ran.code, said in ran.err) == (2, True)


def test_a_margin_is_in_percent(llem: Llem, folder: Path) -> None:
    saved("a", 80, 80.01, 79.99)
    saved("b", 81.6, 81.61, 81.59)
    words = {margin: llem("compare", "a_*", "b_*", "--margin", margin, "--json").out for margin in ("1", "5")}
    verdicts = [json.loads(text)["metrics"][0]["against_first"][0]["verdict"] for text in words.values()]
    assert verdicts == ["different", "equivalent"]


def test_of_digests_as_much_is_shown_as_tells_them_apart(llem: Llem, folder: Path) -> None:
    saved("a", 80)
    for name, fields in (("b", {"outputs_digest": "ab" * 32}), ("c", {"weights_digest": "sha256:" + "cd" * 32})):
        saved(name, 80, 81)
        for number in range(2):
            result = ExperimentResult.from_json(f"{name}_{number}")
            save_result(result.model_copy(update=fields), Path(f"{name}_{number}"))
    assert "/ abababababab" in llem("compare", "a_0", "b_*").out
    assert "ababababababa" not in llem("compare", "a_0", "b_*").out
    assert "settings differ weights_digest not set / sha256:cdcdcdcdcdcd" in " ".join(
        llem("compare", "a_0", "c_*").out.split()
    )


def test_json_has_all_there_is(llem: Llem, folder: Path) -> None:
    saved("a", 80, 80.08, 79.92)
    saved("b", 88)
    ran = llem("compare", "a_*", "b_0", "--json", "--fail-if", LIMIT)
    found = json.loads(ran.out)
    assert [(g["label"], g["runs"]) for g in found["groups"]] == [("a_*", ["a_0", "a_1", "a_2"]), ("b_0", ["b_0"])]
    row = found["metrics"][0]
    assert (row["metric"], row["unit"]) == ("energy_per_output_token_j", "J/token")
    one, other = row["values"]
    assert (one["n"], one["sensor_accuracy_pct"], one["reason"], one["outliers"]) == (3, 5.0, None, [])
    assert (other["n"], other["value"], other["low"], other["cv"]) == (1, 22.0, None, None)
    assert other["reason"] == "1 run, and an interval takes 3"
    (against,) = row["against_first"]
    assert against["ratio"] == pytest.approx(1.1)
    assert {name: against[name] for name in ("low", "high", "p_holm", "verdict", "n_needed", "refused")} == {
        "low": None, "high": None, "p_holm": None, "verdict": "inconclusive", "n_needed": None, "refused": None,
    }  # fmt: skip
    assert against["reason"] == "1 run and 3 runs; an interval takes 3 runs of each"
    assert [(limit["limit"], limit["state"]) for limit in found["limits"]] == [(LIMIT, "open")]
    assert (found["margin"], found["confidence"], found["cautions"]) == (0.01, 0.95, [])


def test_markdown_has_a_table_and_a_list(llem: Llem, folder: Path) -> None:
    saved("a", 80, 81, 82)
    saved("b", 80, 81, 82)
    lines = llem("compare", "a_*", "b_*", "--markdown").out.splitlines()
    assert lines[0] == "- A  a_* (3 runs)"
    assert lines[3].startswith("| metric ")
    assert all(line.startswith(("| ", "|-", "- ")) for line in lines if line)


def test_what_was_left_out_of_a_folder_is_told(llem: Llem, folder: Path) -> None:
    saved("a", 80)
    for number in range(3):
        saved(f"b{number}", 80)
    Path("all").mkdir()
    for number in range(3):
        Path(f"b{number}_0").rename(f"all/b{number}")
    Path("all/b2/result.json").write_text("{", encoding="utf-8")
    ran = llem("compare", "a_0", "all")
    assert ran.code == 0
    assert "B  all (2 runs)" in ran.out
    assert ran.err.startswith("llem: left out: all/b2/result.json: this is no JSON")


def test_single_runs_without_tokens_are_compared_by_their_figures(llem: Llem, folder: Path) -> None:
    saved("a", 80)
    saved("b", 88)
    ran = llem("compare", "a_0", "b_0")
    assert (ran.code, ran.err) == (0, "")
    said = " ".join(ran.out.split())
    assert "J/out tok 20.0 22.0 1.100 inconclusive" in said
    assert "undecided 1 run and 1 run; an interval takes 3 runs of each" in said
    assert "outputs not compared: result a_0: its tokens were not kept" in said


def test_runs_of_a_group_with_different_definitions_have_no_mean(llem: Llem, folder: Path) -> None:
    saved("a", 80, 80, 80)
    saved("b", 80, 80, 80)
    file = folder / "b_0" / "result.json"
    written = json.loads(file.read_text(encoding="utf-8"))
    written["definitions"]["duration_sec"] = 2
    file.write_text(json.dumps(written), encoding="utf-8")
    ran = llem("compare", "a_*", "b_*")
    assert ran.code == 0
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("window s ")]
    assert row == ["window", "s", "2.00", "+-", "0", "-", "-", "refused"]
    why = "b_*: of its own runs, it is worked out by different definitions: "
    assert f"{why}duration_sec 2 / 1" in " ".join(ran.out.split())
    ran = llem("compare", "a_*", "b_*", "--anyway")
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("window s ")]
    assert row[:8] == ["window", "s", "2.00", "+-", "0", "2.00", "+-", "0"]


def test_a_huge_value_is_a_power_of_ten(llem: Llem, folder: Path) -> None:
    saved("a", 1e200)
    saved("b", 2e200)
    ran = llem("compare", "a_0", "b_0")
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("energy J ")]
    assert row[2:5] == ["1.00e+200", "2.00e+200", "2.000"]


def test_a_figure_of_another_definition_is_refused_with_the_reason(llem: Llem, folder: Path) -> None:
    names = [str(GOLDEN / f"revision-{revision}" / "quickstart") for revision in (3, 5)]
    why = "it is worked out by different definitions: energy_devices.energy_j 1 / 2"

    def said(*flags: str) -> tuple[str, str]:
        ran = llem("compare", *names, *flags)
        assert ran.code == 0
        (row,) = [line for line in ran.out.splitlines() if line.startswith("J/out tok ")]
        return row, " ".join(ran.out.split())

    row, text = said()
    assert (row.split()[-1], f"undecided {why} [J/out tok" in text) == ("refused", True)
    row, text = said("--anyway")
    # 33.996 / 2.336, with the values of the files.
    assert (row.split()[-2:], f"note compared all the same: {why} [" in text) == (["14.6", "inconclusive"], True)
    ran = llem("compare", *names, "--fail-if", LIMIT)
    assert (ran.code, why in ran.err) == (2, True)
