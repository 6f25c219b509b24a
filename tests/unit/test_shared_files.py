"""How shared files are seen and made, and for how long an answer that passes is asked for again."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure._shared_files import FilesOfTheSystem, ReadFile


class Failing(os.PathLike[str]):
    """A path of which each use is an error at first, as on a server that was started anew."""

    def __init__(self, path: Path, n_errors: int, number: int) -> None:
        self.path, self.n_errors, self.number = path, n_errors, number

    def __fspath__(self) -> str:
        if self.n_errors:
            self.n_errors -= 1
            raise OSError(self.number, os.strerror(self.number))
        return str(self.path)


def asked(files: FilesOfTheSystem, question: str, path: Failing) -> object:
    """A question about a path, or what is done with it."""
    questions: dict[str, Callable[[], object]] = {
        "names": lambda: files.names(path),  # type: ignore[arg-type]
        "exists": lambda: files.exists(path),  # type: ignore[arg-type]
        "read": lambda: files.read(path, 9).content,  # type: ignore[arg-type]
        "create": lambda: files.create(path, b"it"),  # type: ignore[arg-type]
        "touch": lambda: files.touch(path),  # type: ignore[arg-type]
    }
    return questions[question]()


@pytest.mark.parametrize(
    ("question", "answer"), [("names", ["a"]), ("exists", True), ("read", b"text"), ("create", None), ("touch", None)]
)
@pytest.mark.parametrize("number", [errno.ESTALE, errno.EINTR, errno.EAGAIN])
def test_an_answer_that_passes_is_asked_for_again_a_few_times(
    tmp_path: Path, question: str, answer: object, number: int
) -> None:
    waits: list[float] = []
    files = FilesOfTheSystem(waits.append)
    (tmp_path / "a").write_bytes(b"text")
    path = tmp_path / {"names": "", "create": "new"}.get(question, "a")
    assert asked(files, question, Failing(path, 4, number)) == answer
    assert waits == [0.02, 0.04, 0.08, 0.16]
    with pytest.raises(OSError, match=os.strerror(number)):
        asked(files, question, Failing(tmp_path / "other", 5, number))
    assert waits == [0.02, 0.04, 0.08, 0.16] * 2
    with pytest.raises(OSError, match="Input/output error"):
        asked(files, question, Failing(path, 1, errno.EIO))
    assert len(waits) == 8


def test_what_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    files = FilesOfTheSystem()
    assert files.names(tmp_path / "no") == []
    assert not files.exists(tmp_path / "no" / "more")
    (tmp_path / "file").touch()
    assert not files.exists(tmp_path / "file" / "below")
    assert files.names(tmp_path / "file") == []
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "no", 1)


def test_a_file_is_created_by_one_alone_and_says_when_it_was_kept_fresh(tmp_path: Path) -> None:
    files, path = FilesOfTheSystem(), tmp_path / "a"
    files.create(path, b"first")
    with pytest.raises(FileExistsError):
        files.create(path, b"second")
    os.utime(path, (1, 1))
    assert files.read(path, 99) == ReadFile(b"first", 1.0)
    assert files.read(path, 2).content == b"fi"
    files.touch(path)
    assert abs(files.read(path, 99).changed_s - time.time()) < 60
    assert files.names(tmp_path) == ["a"]


def test_nothing_but_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="no regular file"):
            FilesOfTheSystem().read(tmp_path / name, 9)


def test_the_time_is_that_of_the_file_system_and_its_probe_does_not_stay(tmp_path: Path) -> None:
    assert abs(FilesOfTheSystem().now_s(tmp_path) - time.time()) < 60
    assert list(tmp_path.iterdir()) == []
    # A folder that takes nothing: the time of this machine.
    assert abs(FilesOfTheSystem().now_s(tmp_path / "no") - time.time()) < 60
