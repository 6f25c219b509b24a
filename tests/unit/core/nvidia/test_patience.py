"""Calls that may not come back."""

import threading
import time

import pytest

from llenergymeasure.core.nvidia.patience import Pending


def test_a_call_that_comes_back_gives_its_value_or_its_error() -> None:
    assert Pending(lambda: 7).result(5.0) == 7
    with pytest.raises(ZeroDivisionError):
        Pending(lambda: 1 / 0).result(5.0)


def test_one_that_does_not_is_waited_for_no_longer_than_asked() -> None:
    released = threading.Event()
    began_s = time.monotonic()
    pending = Pending(lambda: released.wait(10))
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        pending.result(0.05)
    assert time.monotonic() - began_s < 1
    released.set()
    assert pending.result(5.0) is True
