"""The folder of the socket: this user's alone, and gone even after a process that was killed."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llenergymeasure.core.backends.llamacpp.socket_place import place_of_socket, remove_left_behind


@pytest.fixture
def root() -> Iterator[Path]:
    # A socket's path has some 100 bytes, and a test's own folder may be longer.
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_has_the_process_in_its_name_and_goes_in_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    with place_of_socket() as path:
        (folder,) = root.iterdir()
        assert path.parent == folder
        assert folder.name.startswith(f"llem-{os.getpid()}-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        remove_left_behind(root)
        assert folder.exists()
    assert list(root.iterdir()) == []


def test_a_long_path_is_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = root / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with place_of_socket() as path:
        assert len(str(path).encode()) <= 103
        assert list(deep.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_load(
    root: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    left = root / f"llem-{gone}-abc"
    left.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left / "llama.sock"))
    with place_of_socket():
        assert not left.exists()


def test_nothing_else_goes(root: Path, gone: int) -> None:
    answered, elsewhere = root / f"llem-{gone}-abc", root / "kept"
    others = [root / "llem-abc", root / f"llem-{gone}", root / f"llem-{os.getpid()}-abc", elsewhere]
    for folder in (answered, *others):
        folder.mkdir()
    link = root / f"llem-{gone}-link"
    link.symlink_to(elsewhere)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(answered / "llama.sock"))
        listening.listen()
        remove_left_behind(root)
    assert sorted(root.iterdir()) == sorted([answered, link, *others])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folders_of_others_stay(root: Path, gone: int) -> None:
    left = root / f"llem-{gone}-abc"
    left.mkdir()
    os.chown(left, 12345, -1)
    remove_left_behind(root)
    assert left.exists()
