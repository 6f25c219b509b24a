"""Folders to work in: put in place whole or gone at the end, and what a kill left of them gone with the next."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llenergymeasure._folders import put_in_place, remove_leftovers, working_folder

_WORKS = """
import sys, time
from pathlib import Path
from llenergymeasure._folders import working_folder
with working_folder(Path(sys.argv[1]), "killed") as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def at_work(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that works in a folder below ``parent``, and the folder."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _WORKS, str(parent)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".somebody.partial").mkdir()
    (tmp_path / "run_20260101T000000Z").mkdir()
    killed, left = at_work(tmp_path)
    alive, at_hand = at_work(tmp_path)
    killed.kill()
    killed.communicate()
    assert (left / "half").exists()
    caplog.set_level("INFO")
    with working_folder(tmp_path, "next") as folder:
        assert not left.exists()
        assert (at_hand / "half").exists()
        assert {p.name for p in tmp_path.iterdir() if p.suffix != ".llem-lock"} == {
            ".somebody.partial", "run_20260101T000000Z", at_hand.name, folder.name,
        }  # fmt: skip
    assert f"removing {left}, which a run that was killed left" in caplog.text
    alive.communicate("\n")
    assert {p.name for p in tmp_path.iterdir()} == {".somebody.partial", "run_20260101T000000Z"}


def test_a_process_that_ends_leaves_neither_folder_nor_lock(tmp_path: Path) -> None:
    process, _ = at_work(tmp_path)
    process.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_a_lock_or_a_folder_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    (tmp_path / ".a.12345678.llem-partial").symlink_to(theirs)
    (tmp_path / ".a.12345678.llem-lock").touch()
    (tmp_path / ".b.12345678.llem-partial").mkdir()
    (tmp_path / ".b.12345678.llem-lock").symlink_to(theirs / "new")
    remove_leftovers(tmp_path)
    assert {p.name for p in theirs.iterdir()} == {"file"}
    assert (tmp_path / ".b.12345678.llem-partial").exists()


def test_a_lock_alone_goes_once_it_is_old(tmp_path: Path) -> None:
    young, old = tmp_path / ".a.12345678.llem-lock", tmp_path / ".b.12345678.llem-lock"
    for lock in (young, old):
        lock.touch()
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_who_may_read_it_is_the_users_choice(tmp_path: Path) -> None:
    for mask in (0o002, 0o077):
        before = os.umask(mask)
        try:
            with working_folder(tmp_path, "run") as folder:
                assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
        finally:
            os.umask(before)


@pytest.mark.linux
def test_the_disk_has_it_all_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    with working_folder(tmp_path, "run") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
        assert put_in_place(folder, tmp_path / "run") == tmp_path / "run"
    assert set(flushed[:2]) == {folder / "inner", folder / "inner" / "file"}
    assert flushed[2:] == [folder, tmp_path]
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "inner", "file"]


def test_what_is_in_its_place_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    with pytest.raises(OSError, match="not empty"), working_folder(tmp_path, "run") as folder:
        put_in_place(folder, tmp_path / "run")
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "file"]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_where_nothing_can_be_locked_one_works_and_removes_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    left = tmp_path / ".a.12345678.llem-partial"
    left.mkdir()
    left.with_suffix(".llem-lock").touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with working_folder(tmp_path, "run") as folder:
        put_in_place(folder, tmp_path / "run")
    assert {p.name for p in tmp_path.iterdir()} == {left.name, ".a.12345678.llem-lock", "run"}
