"""``--reference``, of a study that is run and of one that is shown; and the sentinel in a dry run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.studies import Study, of_batches

Llem = Callable[..., Ran]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three batch sizes, three times each, all finished; its folder."""
    study = Study.of(tmp_path / "s", of_batches(1, 4, 8), 3)
    study.finish_all([80.0, 80.8, 81.6], [40.0, 40.4, 40.8], [20.0, 20.2, 20.4])
    return study.directory.path


def shown(llem: Llem, *args: str | Path) -> str:
    ran = llem("show", *args)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_a_study_is_shown_against_the_reference_that_is_asked_for(plain_llem: Llem, study: Path) -> None:
    for given, said in (
        ([], ["against 1: ", "\n     2: J/out tok x0.500 (0.500 to 0.500) different", "\n     3: J/out tok x0.250 "]),
        (
            ["--reference", "pytorch.batch_size=4"],
            [
                "against 2: ",
                "\n     1: J/out tok x2.000 (2.000 to 2.000) different",
                "\n     3: J/out tok x0.500 (0.500 to 0.500) ",
            ],
        ),
    ):
        out = shown(plain_llem, study, *given)
        assert [part for part in said if part not in out] == []
        assert out.splitlines()[-1] == "9 experiments, 0 failed"
    assert not list(study.glob("summary.*"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("n=100", r"--reference: 3 of 3 configurations have n: 100, .*: pytorch\.batch_size \(1, 4, 8\)$"),
        ("pytorch.batch_size=2", r"--reference: none of 3 configurations has pytorch\.batch_size: 2; "),
        ("batch=2", r"--reference\.batch: unknown key"),
    ],
)
def test_a_reference_that_is_none_is_wrong_usage(plain_llem: Llem, study: Path, given: str, said: str) -> None:
    ran = plain_llem("show", study, "--reference", given)
    assert (ran.code, ran.out) == (2, "")
    assert re.search(said, ran.err.strip()), ran.err


def test_a_single_result_has_no_reference(plain_llem: Llem, study: Path) -> None:
    run = next((study / "runs").iterdir())
    assert plain_llem("show", run).code == 0
    ran = plain_llem("show", run, "--reference", "n=100")
    assert (ran.code, "is no folder of a study, so there is nothing to compare" in ran.err) == (2, True)
    ran = plain_llem("show", study, "--pue", "1.2", "--intensity", "400")
    assert (ran.code, "this is a whole study; see llem footprint" in ran.err) == (2, True)


@pytest.mark.pytorch
def test_a_dry_run_counts_the_sentinel_and_names_the_reference(llem: Llem, model: str) -> None:
    given = ["--model", model, "--batch-size", "1,4", "--set", "energy.backend=null", "--cycles", "3"]
    sentinel = ["--set", "execution.sentinel.n=8", "--set", "execution.launcher=subprocess"]
    ran = llem("run", *given, *sentinel, "--reference", "pytorch.batch_size=4", "--dry-run")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[:3] for line in lines[2:5]] == [["1", "100", "1"], ["2", "100", "4"], ["sentinel", "8", "4"]]
    assert "runs: 2 configurations, 3 runs each, and 4 of the sentinel: 10 runs; order: blocks, seed 42" in lines
    assert "reference: 2" in lines


@pytest.mark.pytorch
def test_a_reference_of_the_command_line_is_refused_as_one(llem: Llem, folder: Path, model: str) -> None:
    given = ["--model", model, "--batch-size", "1,4", "--dry-run"]
    ran = llem("run", *given, "--reference", "precision=fp16")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("llem: command line: execution.reference: none of 2 configurations has precision: fp16; ")
    ran = llem("run", *given, "--set", "execution.sentinel.n=0")
    assert (ran.code, ran.err) == (
        2, "llem: execution.sentinel.n: Input should be greater than or equal to 1, got 0\n",
    )  # fmt: skip
    ran = llem("run", *given, "--set", "execution.sentinel=true", "--order", "shuffled")
    assert ran.code == 2
    assert ran.err.startswith("llem: command line: execution.sentinel: a sentinel is run at the beginning of every ")
    assert list(folder.iterdir()) == []
