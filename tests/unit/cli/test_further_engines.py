"""Engines of other distributions, from the command line."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Ran
from tests.unit.conftest import Install

BROKEN = "import a_library_that_is_not_there\n"
STUBBORN = """
class Engine:
    name = "stubborn"
    packages = ()
    def load(self, plan): raise RuntimeError("loaded")
    def installation_problem(self): raise ValueError("ask another\\nline two")
"""
COMMON = ("--model", "any", "--set", "energy.backend=null", "-n", "3")


def line_of(ran: Ran, label: str) -> str:
    """The paragraph of a label, in one line."""
    lines = ran.out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(label))
    end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    return " ".join(" ".join(lines[start:end]).split())


def test_each_is_a_line_and_a_broken_one_takes_no_other_down(
    toy: None, install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_bad": BROKEN}, {"bad": "llem_bad:Engine"}, "llem-bad")
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:Engine"}, "llem-stubborn")
    ran = llem("config")
    assert (ran.code, ran.err) == (0, "")
    assert line_of(ran, "engine toy").startswith("engine toy usable")
    assert line_of(ran, "engine bad") == (
        "engine bad not usable: the engine 'bad' of llem-bad 1.0 cannot be loaded: ModuleNotFoundError: No module "
        "named 'a_library_that_is_not_there'"
    )
    assert line_of(ran, "engine stubborn") == (
        "engine stubborn not usable: the engine 'stubborn' of llem-stubborn 1.0 failed when it was asked: ValueError: "
        "ask another"
    )
    assert "engine pytorch" in ran.out


def test_the_schema_for_editors_has_its_section(toy: None, llem: Callable[..., Ran]) -> None:
    schema = json.loads(llem("config", "--schema").out)
    assert "toy" in schema["properties"]
    assert schema["properties"]["backend"]["enum"][-2:] == ["toy", "auto"]


def test_a_dry_run_shows_its_section(toy: None, llem: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text("model: any\nbackend: toy\nn: 3\nenergy: {backend: null}\ntoy: {n_tokens: 2}\n", encoding="utf-8")
    ran = llem("run", path, "--set", "toy.label=mine", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert "toy:\n  n_tokens: 2\n  label: mine" in ran.out


def test_it_measures(toy: None, llem: Callable[..., Ran], folder: Path) -> None:
    ran = llem("run", *COMMON, "--backend", "toy", "--set", "toy.n_tokens=5", "--set", "warmup.n_warmup=1", "--quiet")
    assert (ran.code, ran.err) == (0, "")
    [path] = folder.glob("results/any-toy-fp32_*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["output_tokens"] == 15
    assert result["effective_config"]["toy"] == {"n_tokens": 5, "label": None}
    assert result["environment_snapshot"]["engine"] == {"toy build": "plain"}
    assert logging.getLogger("toy.library").level == logging.ERROR


def test_a_flag_that_its_section_lacks_is_refused(toy: None, llem: Callable[..., Ran]) -> None:
    ran = llem("run", *COMMON, "--backend", "toy", "--batch-size", "2")
    assert (ran.code, ran.out) == (2, "")
    assert "--batch-size: the engine 'toy' has no field batch_size" in ran.err


def test_one_that_raises_when_it_is_asked_is_told_in_one_line(install: Install, llem: Callable[..., Ran]) -> None:
    install({"llem_stubborn": STUBBORN}, {"stubborn": "llem_stubborn:Engine"}, "llem-stubborn")
    ran = llem("run", *COMMON, "--backend", "stubborn", "--dry-run")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "llem: the engine 'stubborn' of llem-stubborn 1.0 failed when it was asked: ValueError: ask another\n"
    )


@pytest.mark.parametrize("arguments", [("--model", "any", "--dry-run"), ("--model", "any", "--set", "n=0")])
def test_a_broken_one_is_no_ones_burden_that_does_not_ask_for_it(
    arguments: tuple[str, ...], install: Install, llem: Callable[..., Ran]
) -> None:
    install({"llem_bad": BROKEN}, {"bad": "llem_bad:Engine"}, "llem-bad")
    assert "bad" not in llem("run", *arguments).err


def test_what_is_left_to_the_machine_is_shown_and_kept_in_the_result(
    toy: None, llem: Callable[..., Ran], folder: Path
) -> None:
    auto = ("--backend", "auto", "--set", "toy.n_tokens=5", "--precision", "auto")
    ran = llem("run", *COMMON, *auto, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert "# backend: auto is toy here\n# precision: auto is fp16 here\n" in ran.out
    assert llem("run", *COMMON, *auto, "--quiet").code == 0
    [path] = folder.glob("results/any-toy-fp16_*/result.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert (result["effective_config"]["backend"], result["effective_config"]["precision"]) == ("toy", "fp16")
    assert "precision was given as auto, and is fp16 on this machine" in result["reproducibility_notes"]
