"""A stderr that nobody reads holds nobody."""

import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure._stderr import PatientWriter
from tests.fakes.effort import PATIENCE_S

SHOWN = (
    "import sys; from llenergymeasure._stderr import *; use_patient_stderr(); print(type(sys.stderr.buffer).__name__)"
)


@dataclass(frozen=True)
class Pipe:
    """Both ends of a pipe."""

    out: int
    into: int

    def fill(self) -> None:
        """Write to it, as somebody else might, until it is full."""
        os.set_blocking(self.into, False)
        try:
            while True:
                os.write(self.into, b"." * select.PIPE_BUF)
        except BlockingIOError:
            pass
        os.set_blocking(self.into, True)

    def read(self) -> bytes:
        """All that is in it."""
        os.set_blocking(self.out, False)
        found = b""
        while select.select([self.out], [], [], 0)[0] and (more := os.read(self.out, 2**20)):
            found += more
        return found


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One that is empty."""
    ends = Pipe(*os.pipe())
    yield ends
    for end in (ends.out, ends.into):
        os.close(end)


class Clock:
    """Takes ten minutes from one look to the next."""

    now_s = 0.0

    def __call__(self) -> float:
        """Seconds."""
        self.now_s += 600.0
        return self.now_s


def test_what_a_full_pipe_does_not_take_is_dropped_and_what_comes_later_is_not(pipe: Pipe) -> None:
    pipe.fill()
    writer = PatientWriter(pipe.into, patience_s=1.0, clock=Clock())
    assert writer.write(b"dropped\n") == 8
    assert b"dropped" not in pipe.read()
    assert writer.write(b"told\n") == 5
    assert pipe.read() == b"told\n"


def test_nobody_waits_again_where_it_was_in_vain(pipe: Pipe) -> None:
    pipe.fill()
    # A clock that stands still: whoever waits at all waits for the test's own limit.
    writer = PatientWriter(pipe.into, patience_s=PATIENCE_S, clock=lambda: 0.0)
    writer._waits = False
    assert writer.write(b"dropped\n") == 8
    pipe.read()
    writer.write(b"told\n")
    assert writer._waits


def test_a_slow_reader_gets_all_of_it(pipe: Pipe) -> None:
    pipe.fill()
    text = b"".join(b"line %d\n" % i for i in range(100_000))
    writer = PatientWriter(pipe.into, patience_s=PATIENCE_S)
    thread = threading.Thread(target=writer.write, args=(text,))
    thread.start()
    found = b""
    while not found.endswith(b"line 99999\n"):
        found += os.read(pipe.out, 10_000)
    thread.join(PATIENCE_S)
    assert found.lstrip(b".") == text


def test_a_part_may_be_all_that_there_is_room_for(pipe: Pipe) -> None:
    writer = PatientWriter(pipe.into, patience_s=0.0)
    text = b"x" * 2**21
    assert writer.write(text) == len(text)
    assert 0 < len(pipe.read()) < len(text)


def test_others_who_have_the_pipe_go_on_waiting(pipe: Pipe) -> None:
    PatientWriter(pipe.into).write(b"x")
    assert os.get_blocking(pipe.into)


def test_a_pipe_that_nobody_can_read_any_more_is_an_error() -> None:
    out, into = os.pipe()
    writer = PatientWriter(into)
    os.close(out)
    with pytest.raises(BrokenPipeError):
        writer.write(b"x")
    os.close(into)


@pytest.mark.parametrize(
    ("to", "patient"), [("a pipe", True), ("a terminal", True), ("a file", False), ("nowhere", False)]
)
def test_only_what_can_be_full_is_written_to_with_patience(tmp_path: Path, to: str, patient: bool) -> None:
    leader, follower = pty.openpty()
    with (tmp_path / "file").open("w") as file:
        given: dict[str, Any] = {
            "a pipe": subprocess.PIPE,
            "a terminal": follower,
            "a file": file,
            "nowhere": subprocess.DEVNULL,
        }
        ran = subprocess.run(
            [sys.executable, "-c", SHOWN], stdout=subprocess.PIPE, stderr=given[to], text=True, check=True
        )
    for end in (leader, follower):
        os.close(end)
    assert (ran.stdout.strip() == "PatientWriter") == patient


def test_a_terminal_is_one_still_and_its_lines_come_at_once() -> None:
    leader, follower = pty.openpty()
    code = (
        "import sys; from llenergymeasure._stderr import *; use_patient_stderr()\n"
        "print(sys.stderr.isatty(), sys.stderr.fileno(), 'é', file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    subprocess.run([sys.executable, "-c", code], stderr=follower, env=env, check=True)
    assert os.read(leader, 1000) == "True 2 é\r\n".encode()
    for end in (leader, follower):
        os.close(end)
