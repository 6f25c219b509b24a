"""What code of others raises, in one line, and what passes through."""

import functools
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

import pytest

from llenergymeasure.exceptions import ForeignExitError, contained, first_line, in_one_line


class Panic(BaseException):
    """As of a library in Rust."""


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("bye"), Panic("at line 3")])
def test_what_would_end_the_process_is_an_error_that_says_what_it_was(error: BaseException) -> None:
    with pytest.raises(ForeignExitError) as caught, contained():
        raise error
    assert in_one_line(caught.value) == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), GeneratorExit()])
def test_what_is_an_error_already_or_an_interruption_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, contained():
        raise error
    assert caught.value is error


class Program:
    """A program that uses the package, and has a handler of its own."""

    def end(self, number: int, _: FrameType | None) -> None:
        """As a scheduler's SIGTERM is usually handled."""
        sys.exit(128 + number)

    __call__ = end


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
@pytest.mark.parametrize(
    "handler",
    [
        lambda number, _: sys.exit(128 + number),
        Program().end,
        Program(),
        functools.partial(lambda code, number, _: sys.exit(code + number), 128),
        functools.lru_cache(lambda number, _: sys.exit(128 + number)),
    ],
    ids=["plain", "bound", "object", "partial", "wrapped"],
)
def test_what_a_handler_of_a_signal_raises_ends_the_program(handler: Callable[[int, FrameType | None], None]) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit) as caught, contained():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143


def test_what_a_library_makes_of_a_ctrl_c_ends_the_program() -> None:
    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(130)

    with pytest.raises(SystemExit), contained():
        interrupted()


@pytest.mark.parametrize(
    ("error", "first", "whole"),
    [
        (ValueError("  one\n two"), "one", "ValueError: one"),
        (ValueError(""), "ValueError", "ValueError"),
        (ValueError("\n\n"), "ValueError", "ValueError"),
        (KeyError("x"), "'x'", "KeyError: 'x'"),
        (ValueError("y" * 1000), "y" * 300, f"ValueError: {'y' * 300}"),
    ],
)
def test_an_error_in_one_line(error: Exception, first: str, whole: str) -> None:
    assert first_line(error) == first
    assert in_one_line(error) == whole
