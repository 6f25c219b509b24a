"""Calls that may not come back."""

import threading
import time

import pytest

from llenergymeasure.core.background import in_a_thread, within


def test_a_call_that_comes_back_gives_its_value_or_its_error() -> None:
    assert within(5.0, in_a_thread(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        within(5.0, in_a_thread(lambda: 1 / 0))


def test_one_that_does_not_is_waited_for_no_longer_than_asked() -> None:
    released = threading.Event()
    began_s = time.monotonic()
    pending = in_a_thread(lambda: released.wait(10))
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        within(0.05, pending)
    assert time.monotonic() - began_s < 1
    released.set()
    assert within(5.0, pending) is True


def test_a_call_that_times_out_by_itself_is_told_in_its_own_words() -> None:
    def slow() -> None:
        raise TimeoutError("the driver gave up")

    with pytest.raises(TimeoutError, match="the driver gave up"):
        within(5.0, in_a_thread(slow))
