"""Calls that run beside what is going on."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import TypeVar

_Value = TypeVar("_Value")


def in_a_thread(call: Callable[[], _Value]) -> "Future[_Value]":
    """Begin a call in a thread of its own; one that never comes back keeps nothing but that thread.

    An executor would wait for its threads when the process ends, and so for a driver that hangs.

    Returns:
        A future with what the call gives, or raises; ``within`` waits for it.
    """
    future: Future[_Value] = Future()

    def run() -> None:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(value)

    Thread(target=run, name="background-call", daemon=True).start()
    return future


def within(patience_s: float, future: "Future[_Value]") -> _Value:
    """What a call gives within so many seconds from now.

    Raises:
        TimeoutError: it has not come back.
        Exception: what it raised.
    """
    try:
        return future.result(patience_s)
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"no answer within {patience_s:g} s") from None


def at_once(call: Callable[[], _Value]) -> "Future[_Value]":
    """Call here and now, where time passes only when somebody lets it; the future has ended already."""
    future: Future[_Value] = Future()
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - as in a thread
        future.set_exception(error)
    return future


@contextmanager
def again_and_again(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call every so many seconds while the body runs, in a thread of its own; what it raises ends it.

    Raises:
        Exception: what the call raised, when the body is through.
    """
    over, raised = threading.Event(), list[Exception]()

    def go_on() -> None:
        try:
            while not over.wait(every_s):
                call()
        except Exception as error:  # noqa: BLE001 - raised again where the body ends
            raised.append(error)

    thread = Thread(target=go_on, name="again-and-again", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]
