"""The bench of the start: what it compares, and when it says that the promise is kept."""

from pathlib import Path

import pytest

from bench.startup import Command, _commands, _compared, _in_turns

FOLDER = Path("/environments")
N = 30


def taken(help_s: float, release_help_s: float | None) -> dict[str, list[float]]:
    found = {"ours nothing": [0.02] * N, "ours completion": [0.1] * N}
    found |= {"ours help": [help_s] * N, "ours version": [help_s] * N}
    if release_help_s is not None:
        found |= {"release help": [release_help_s] * N, "release version": [1.0] * N}
    return found


def test_three_times_as_long_is_kept_and_less_is_not() -> None:
    kept = _compared(taken(0.1, 0.3000001))["release_over_ours"]
    assert {what: (found["median_ratio"], found["kept"]) for what, found in kept.items()} == {
        "help": (3.0, True),
        "version": (10.0, True),
    }
    assert not _compared(taken(0.1, 0.29))["release_over_ours"]["help"]["kept"]


def test_few_rounds_keep_no_promise() -> None:
    few = {name: values[:5] for name, values in taken(0.1, 1.0).items()}
    assert not _compared(few)["release_over_ours"]["help"]["kept"]


def test_beside_nothing_at_all_there_is_a_ratio_and_no_promise() -> None:
    over = _compared(taken(0.1, None))["ours_over_python_c_pass"]
    assert {what: found["median_ratio"] for what, found in over.items()} == {
        "help": 5.0,
        "version": 5.0,
        "completion": 5.0,
    }


def test_a_release_that_cannot_be_had_is_left_out() -> None:
    assert _compared(taken(0.1, None))["release_over_ours"] == {}
    assert not any(name.startswith("release") for name in _commands(FOLDER, None))


def test_both_are_asked_the_same() -> None:
    commands = _commands(FOLDER / "ours", FOLDER / "theirs")
    for what in ("help", "version"):
        ours, theirs = commands[f"ours {what}"].words, commands[f"release {what}"].words
        assert (ours[0], theirs[0]) == ("/environments/ours/llem", "/environments/theirs/llem")
        assert ours[1:] == theirs[1:]


def test_every_round_begins_with_another_and_runs_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    commands = {name: Command(("sh", "-c", f"echo {name} >> {log}")) for name in ("a", "b", "c")}
    taken_s = _in_turns(commands, 3, tmp_path)
    # Once each beforehand, which counts for nothing.
    assert log.read_text(encoding="utf-8").split() == [*"abc", *"abc", *"bca", *"cab"]
    assert {name: len(values) for name, values in taken_s.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(value > 0 for values in taken_s.values() for value in values)
