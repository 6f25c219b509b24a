"""``llem verify``."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.fakes.bundles import bundle_of
from tests.fakes.command import Ran
from tests.fakes.damages import sums_written
from tests.unit.results.verification.test_bundles import raw_of


def test_what_agrees_and_what_differs_have_their_exit_codes(llem: Callable[..., Ran], folder: Path) -> None:
    bundle_of(folder / "a", [raw_of()])
    bundle_of(folder / "b", [raw_of()])
    ran = llem("verify", "a", "b")
    assert (ran.code, ran.err) == (0, "")
    assert [line.partition(": ")[2].split(":")[0] for line in ran.out.splitlines()] == ["not verifiable", "agrees"] * 2
    written = json.loads((folder / "b" / "result.json").read_text())
    (folder / "b" / "result.json").write_text(json.dumps({**written, "output_tokens": 400}))
    sums_written(folder / "b")
    ran = llem("verify", "a", "b")
    assert (ran.code, ran.err) == (1, "")
    assert "b: differs: output_tokens: the file says 400, derived 4" in ran.out.splitlines()
    assert ran.out.splitlines()[-1].startswith("b: does not agree: ")


def test_a_folder_without_a_result_is_told_and_one_that_is_not_there_is_refused(
    llem: Callable[..., Ran], folder: Path
) -> None:
    (folder / "empty").mkdir()
    ran = llem("verify", "empty")
    assert (ran.code, ran.out.splitlines()[0]) == (1, "empty: damaged: result.json: there is no such file")
    ran = llem("verify", "nowhere")
    assert ran.code == 2
    assert "nowhere: there is no such folder or archive" in ran.err


def test_many_differences_are_counted_and_not_all_shown(llem: Callable[..., Ran], folder: Path) -> None:
    bundle_of(folder / "a", [raw_of()])
    written = json.loads((folder / "a" / "result.json").read_text())
    strangers = {f"field_{number}": 1 for number in range(60)}
    (folder / "a" / "result.json").write_text(json.dumps({**written, **strangers}))
    sums_written(folder / "a")
    lines = llem("verify", "a").out.splitlines()
    assert lines[-2] == "a: not verifiable: and 21 more"
    assert len(lines) == 42


def test_an_archive_is_worked_out_again_as_the_folder_that_was_packed(llem: Callable[..., Ran], folder: Path) -> None:
    bundle_of(folder / "a", [raw_of()])
    assert llem("pack", "a", "-o", "a.zip").code == 0
    written = json.loads((folder / "a" / "result.json").read_text())
    of_folder = llem("verify", "a")
    ran = llem("verify", "a.zip")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "".join(f"a.zip{line.removeprefix('a')}\n" for line in of_folder.out.splitlines())
    (folder / "a" / "result.json").write_text(json.dumps({**written, "output_tokens": 400}))
    sums_written(folder / "a")
    assert llem("pack", "a", "-o", "b.zip").code == 0
    ran = llem("verify", "a.zip", "b.zip")
    assert ran.code == 1
    assert "b.zip: differs: output_tokens: the file says 400, derived 4" in ran.out.splitlines()


def test_of_a_study_each_result_has_its_lines_and_the_folder_those_of_what_is_not_there(
    llem: Callable[..., Ran], folder: Path
) -> None:
    slots = [f"000{slot}-{raw_of().measurement_config_hash}" for slot in range(2)]
    for name in slots:
        bundle_of(folder / "s" / "runs" / name / "attempt-1", [raw_of()])
    assert llem("pack", "s", "-o", "s.zip").code == 0
    lines = llem("verify", "s.zip").out.splitlines()
    assert [line.partition(": ")[0] for line in lines[1::2]] == [
        f"s.zip/runs/{name}/attempt-1" for name in slots
    ]  # fmt: skip
    (folder / "s" / "runs" / "0002-c").symlink_to(folder / "s" / "runs" / slots[0])
    ran = llem("verify", "s")
    assert ran.code == 1
    link = "s: damaged: runs/0002-c: it is a link, which is not followed: results may lie behind it"
    assert ran.out.splitlines()[-2:] == [link, "s: does not agree: 0 figures derived again, 1 damaged"]
