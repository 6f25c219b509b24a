"""Whatever is given, and whatever is shown: a message and a code, and nothing that a terminal would obey."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from llenergymeasure.cli.streams import show
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import load_result, save_result
from tests.fakes.command import Ran
from tests.unit.results.test_outputs import run_with

Llem = Callable[..., Ran]

BROKEN = ["a\0b", "a\udcffb", "x" * 256, "x/" * 3000]


def is_a_message(ran: Ran) -> None:
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert ran.err.startswith(("llem: ", "Usage: "))
    assert not any(words in ran.err for words in ("Traceback", "unforeseen", "https://errors.pydantic.dev"))
    assert not any(character in ran.err for character in "\x1b\x00\u202e\udcff")


@pytest.mark.pytorch
@pytest.mark.parametrize(
    "text", [*BROKEN, "\x1b[31m\u202e", "~no-such-user-here/x", "/dev/zero/x", "${NOT_SET_HERE}/x"]
)
@pytest.mark.parametrize(
    "place",
    ["--model", "--dataset", "-o", "--export-csv", "--backend", "--precision", "", "lora.path", "name", "dataset.hub",
     "dataset.path", "output_dir", "pytorch.assistant_model", "pytorch.subfolder", "passthrough_kwargs.x", "lora"],
)  # fmt: skip
def test_what_nothing_can_be_called_ends_in_a_message(llem: Llem, model: str, place: str, text: str) -> None:
    flags = [place, text] if place.startswith("-") else ["--set", f"{place}={text}" if place else text]
    ran = llem("run", "--dry-run", "--precision", "fp32", *(() if place == "--model" else ("--model", model)), *flags)
    if ran.code == 0:
        assert not any(character in ran.out for character in "\x1b\x00\u202e\udcff")
    else:
        is_a_message(ran)


@pytest.mark.parametrize("text", [*BROKEN, "/dev/zero", "pipe", "empty"])
def test_what_is_no_run_is_not_compared(llem: Llem, folder: Path, text: str) -> None:
    run_with(folder / "a", ((1,),))
    (folder / "empty").mkdir()
    ran = llem("compare", "a", text)
    is_a_message(ran)
    assert ran.code == 2


@pytest.mark.parametrize("args", [["\x1b[2J"], ["run", "--\x1b[2J"], ["run", "-n", "\x1b[2J"], ["\udcff"]])
def test_wrong_usage_is_repeated_escaped(llem: Llem, args: list[str]) -> None:
    ran = llem(*args)
    is_a_message(ran)
    assert "\\x1b[2J" in ran.err or "\\udcff" in ran.err


def test_a_settings_difference_cannot_colour_a_terminal(llem: Llem, folder: Path) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1,),))
    result = ExperimentResult.from_json(folder / "a")
    values = {**result.effective_config, "model": "evil\x1b[31m\nenergy   citable"}
    save_result(result.model_copy(update={"effective_config": values}), folder / "a")
    out = llem("compare", "a", "b").out
    assert "\\x1b[31m" in out
    assert "\x1b" not in out
    assert not any(line.startswith("energy   citable") for line in out.splitlines())


def test_home_and_secrets_are_not_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    show("in /home/me/r with 0123456789abcdef\n\x1b[2J", err=True)
    assert capsys.readouterr().err == "in ~/r with ${SOME_API_KEY}\n\\x1b[2J\n"


@pytest.mark.pytorch
def test_paths_of_the_command_line_begin_at_home(
    llem: Llem, model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(model).parent
    monkeypatch.setenv("HOME", str(home))
    (home / "run.yaml").write_text("model: ~/a-model\nprecision: fp32\n", encoding="utf-8")
    (home / "p.txt").write_text("one\n", encoding="utf-8")
    ran = llem("run", "--dry-run", "~/run.yaml", "-o", "~/results", "--dataset", "~/p.txt", "--export-csv", "~/x.csv")
    assert ran.code == 0, ran.err
    assert "model: ~/a-model" in ran.out
    assert "results would go to ~/results" in ran.out
    assert str(home) not in ran.out + ran.err


NAMED = "x\nforged\x1b"


@pytest.mark.parametrize(
    "args",
    [
        ("results", "absent\nforged\x1b"),
        ("results", "a", "--columns", "n\nforged\x1b"),
        ("results", "a", "-o", "there\nforged\x1b"),
        ("results", "a", "two\nforged\x1b", "three\nforged\x1b", "--x\nforged\x1b"),
        ("show", NAMED),
        ("verify", "absent\nforged\x1b"),
        ("compare", "a", NAMED),
        ("compare", NAMED, NAMED),
        ("compare", "a", "b", "--fail-if", "x\nforged\x1b"),
        ("attach", NAMED, "there\nforged\x1b"),
        ("attach", "a", "absent\nforged\x1b"),
        ("attach", "a", "there\nforged\x1b"),
        ("attach", "a", "empty\nforged\x1b"),
        ("cite", NAMED),
        ("pack", "a", "--license", "x\nforged\x1b"),
        ("footprint", "a", "--intensity", "1", "--country", "x\nforged\x1b"),
        ("run", "--export-csv", "there\nforged\x1b"),
        ("run", "--export-csv", "absent\nforged\x1b/x"),
        ("x\nforged\x1b",),
        ("show", "a", "x\nforged\x1b"),
    ],
)
def test_no_name_begins_a_line_of_a_message(llem: Llem, folder: Path, args: tuple[str, ...]) -> None:
    for name in ("a", "b"):
        run_with(folder / name, ((1,),))
    result = load_result(folder / "a")
    save_result(result.model_copy(update={"end_time": result.start_time + timedelta(seconds=2)}), folder / "a")
    (folder / NAMED).mkdir()
    (folder / NAMED / "result.json").write_text("{", encoding="utf-8")
    (folder / "there\nforged\x1b").write_text("time,W\nx,1\n", encoding="utf-8")
    (folder / "empty\nforged\x1b").write_text("", encoding="utf-8")
    ran = llem(*args)
    is_a_message(ran)
    assert "\\nforged\\x1b" in ran.err
    assert not [line for line in ran.err.splitlines() if line.removeprefix("llem: ").startswith("forged")]


def test_no_name_of_a_group_begins_a_line_of_a_comparison(llem: Llem, folder: Path) -> None:
    for name in ("a", NAMED):
        run_with(folder / name, ((1,),))
    ran = llem("compare", "a", NAMED, "--fail-if", "tokens_per_second < -1%")
    assert ran.code == 0
    assert "B  x\\nforged\\x1b (1 run)" in ran.out.splitlines()
    assert "\nforged" not in ran.out + ran.err
    (folder / NAMED / "o").unlink()
    ran = llem("compare", "a", NAMED)
    assert "\nforged" not in ran.out + ran.err
