"""``llem compare``."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.sums import mark_done
from tests.fakes.command import Ran
from tests.unit.results.study.test_saying import engines_in
from tests.unit.results.test_outputs import run_with


def tokens_of(ran: Ran) -> list[str]:
    """The lines about two runs' tokens, which stand below the table of figures."""
    return ran.out[ran.out.index("settings differ in") :].splitlines()


def test_where_two_runs_differ_is_shown(llem: Callable[..., Ran], folder: Path) -> None:
    run_with(folder / "a", ((1, 2, 3),), ((4,),), ((5, 6), (7, 8)))
    run_with(folder / "b", ((1, 2, 3),), ((9,),), ((5, 6), (7,)))
    ran = llem("compare", "a", "b")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.partition("\n\nsettings")[2] != ""
    assert tokens_of(ran) == [
        "settings differ in  nothing",
        "requests            1 of 3 have identical outputs",
        "tokens              6 of 8 (75.00 %) are equal up to the first difference of their answer",
        "differs             request 1, token 0: 4 in the first, 9 in the second",
        "differs             request 2, answer 1, token 1: 8 in the first, the end in the second",
        "                    requests, answers and tokens are counted from 0",
        "equality            not to be expected: it is not known which weights they read",
        "energy              not citable in both",
        "outputs             NOT identical",
    ]


def test_what_the_settings_differ_in_is_shown_with_both_values(llem: Callable[..., Ran], folder: Path) -> None:
    one = {"model": "m", "name": "one", "max_output_tokens": 16, "decoder": {"top_k": 4, "do_sample": True}}
    other = {"model": "m", "max_output_tokens": 8, "pytorch": {"batch_size": 4}, "output_dir": "elsewhere"}
    run_with(folder / "a", ((1, 2),), config=ExperimentConfig.model_validate(one))
    run_with(folder / "b", ((1,),), config=ExperimentConfig.model_validate(other))
    said = " ".join("\n".join(tokens_of(llem("compare", "a", "b"))).partition("requests ")[0].split())
    assert said == (
        "settings differ in max_output_tokens 16 / 8; decoder.do_sample true / false; decoder.top_k 4 / not set; "
        "pytorch.batch_size 1 / 4"
    )


def test_of_other_weights_the_beginning_of_the_digest_is_shown(llem: Callable[..., Ran], folder: Path) -> None:
    for name, digit in (("a", "1"), ("b", "2")):
        result = ExperimentResult.from_json(run_with(folder / name, ((1,),)))
        save_result(result.model_copy(update={"weights_digest": "sha256:" + digit * 64}), folder / name)
    said = tokens_of(llem("compare", "a", "b"))[0]
    assert said == "settings differ in  weights_digest sha256:111111111111 / sha256:222222222222"


def test_identical_runs_are_said_to_be_identical(llem: Callable[..., Ran], folder: Path) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1, 2, 3),))
    assert llem("compare", "a", "b").out.splitlines()[-1] == "outputs             identical"


def test_runs_whose_inputs_are_not_told_say_what_is_known_of_them(llem: Callable[..., Ran], folder: Path) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1,),), ((2,),), read={1: 7})
    said = "inputs              1 of 2 requests are only known to have read equally many tokens"
    assert said in llem("compare", "a", "b").out.splitlines()


def test_a_long_list_of_differences_is_cut(llem: Callable[..., Ran], folder: Path) -> None:
    run_with(folder / "a", *(((1,),) for _ in range(8)))
    run_with(folder / "b", *(((2,),) for _ in range(8)))
    assert "and 3 more" in llem("compare", "a", "b").out


def test_experiments_of_a_study_are_named_by_their_folders(llem: Callable[..., Ran], folder: Path) -> None:
    for name, token in (("s/runs/0000-aa", 1), ("s/runs/0001-bb", 2)):
        mark_done(run_with(folder / name / "attempt-1", ((token,),)))
    ran = llem("compare", "s/runs/0000-aa", "s/runs/0001-bb")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "outputs             NOT identical")
    # Both are of one configuration, so the study is one group.
    ran = llem("compare", "s", "s/runs/0001-bb")
    assert (ran.code, "A  s (2 runs)" in ran.out) == (0, True)


def test_show_and_compare_say_the_same_of_what_engines_said(llem: Callable[..., Ran], folder: Path) -> None:
    study = engines_in(folder)
    shown = re.sub(r"\n {8}", " ", llem("show", "s").out)
    assert "\n1: says something else than row 1, of the same weights in fp32\n" in shown
    runs = [f"s/runs/{study.plan.folder_of(study.slot(number))}" for number in range(5)]
    for number, share, expected in (
        (1, "6 of 8 (75.00 %)", "equality            to be expected: the same weights in fp32"),
        (2, "2 of 9 (22.22 %)", "equality            not to be expected: bf16"),
    ):
        assert share.partition("(")[2].rstrip(")") in shown
        said = llem("compare", runs[0], runs[number]).out
        assert share in said
        assert expected in said.splitlines()
    assert "equality" not in llem("compare", runs[0], runs[4]).out


def test_a_folder_without_a_result_is_an_error_with_its_name(llem: Callable[..., Ran], folder: Path) -> None:
    run_with(folder / "a", ((1,),))
    ran = llem("compare", "a", "nothing")
    assert ran.code == 2
    assert "nothing" in ran.err


def test_energies_of_different_standing_are_told_in_the_order_of_the_runs(
    llem: Callable[..., Ran], folder: Path
) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1,),))
    result = ExperimentResult.from_json(folder / "a")
    values = {**result.model_dump(), "total_energy_j": 5.0, "measurement_warnings": ["gpu_throttled: hot"]}
    save_result(ExperimentResult.model_validate(values), folder / "a")
    assert "energy              questionable and not citable, in this order" in llem("compare", "a", "b").out


def test_what_is_to_be_said_of_a_file_is_said_once(
    llem: Callable[..., Ran], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1,),))
    assert llem("compare", "a", "b").code == 0
    told = [record.getMessage().split(":")[0] for record in caplog.records if "there is no DONE" in record.getMessage()]
    assert told == ["a/result.json", "b/result.json"]
