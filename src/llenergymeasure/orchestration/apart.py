"""Calls that run code of others which may end its process: in a copy of this one, so that it is another's end."""

import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from llenergymeasure.exceptions import ForeignExitError, contained, in_one_line
from llenergymeasure.orchestration.process_group import ending


def apart(call: Callable[[], str]) -> str:
    """The text that a call gives, made in a fork of this process; where there is no fork, in this one.

    Raises:
        ForeignExitError: it raised something, or its process ended without an answer.
    """
    if not hasattr(os, "fork"):
        with contained():
            return call()
    # A fork has everything at hand that is imported here, and does not run the caller's own program again.
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(call, there), daemon=True)
    process.start()
    there.close()
    try:
        answer = json.loads(here.recv_bytes())
    except EOFError:
        process.join()
        raise ForeignExitError(f"it ended its process, which {ending(process.exitcode or 0)}") from None
    finally:
        here.close()
        process.kill()
        process.join()
    if "raised" in answer:
        raise ForeignExitError(answer["raised"])
    return str(answer["text"])


def _answer(call: Callable[[], str], to: Connection) -> None:
    try:
        answer = {"text": call()}
    except BaseException as error:  # noqa: BLE001 - told in the process that asked
        answer = {"raised": in_one_line(error)}
    to.send_bytes(json.dumps(answer).encode())
    to.close()
    # Nothing that this process would do at its end belongs to the copy.
    os._exit(0)
