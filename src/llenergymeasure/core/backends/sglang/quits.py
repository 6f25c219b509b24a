"""Processes of SGLang tell the one that started them by SIGQUIT that they failed.

Its own handlers then kill that process with all that is below it. This one notes it. It is a function of a module, for
SGLang hands it on to its processes.
"""

from types import FrameType

_came: list[int] = []


def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers of signals are called
    """Remember that a process of SGLang has failed."""
    _came.append(number)


def came() -> bool:
    """Whether one has since the last ``forget``."""
    return bool(_came)


def forget() -> None:
    """Begin anew."""
    _came.clear()
