"""All that goes out: escaped for a terminal, into streams that may be full, closed, or of a terminal that is gone."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from llenergymeasure._stderr import use_patient_stderr
from llenergymeasure._telling import told, visible, visible_in_json

if TYPE_CHECKING:
    from llenergymeasure.core.progress import Progress

_STANDARD = (0, 1, 2)


class _Closed:
    """Whether stdout was closed before the program began."""

    stdout = False


def make_usable() -> None:
    """Give streams that are closed a place to go, so that no file that is opened later takes their number.

    stderr holds nobody afterwards; stdout, such as that of a pager, does as long as it takes.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one: those below are in use by now.
            os.open(os.devnull, os.O_RDWR)
            _Closed.stdout = _Closed.stdout or descriptor == 1
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    use_patient_stderr()


def show(text: str, *, err: bool = False, is_json: bool = False) -> None:
    """Print lines: control characters escaped, ``~`` for the home directory, names for secrets.

    Nothing else in the command line prints.

    Args:
        text: the lines.
        err: to stderr.
        is_json: it is JSON, and stays JSON that says the same.

    Raises:
        OSError: the stream does not take it.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = (visible_in_json if is_json else visible)(told(text))
    # A terminal of another encoding shows what it lacks escaped too.
    click.echo(shown.encode(encoding, "backslashreplace").decode(encoding), err=err)
    stream.flush()


def why_not_shown(text: str, *, is_json: bool = False) -> str | None:
    """Print a text on stdout, to the last byte; why that cannot be done, None where it was."""
    if _Closed.stdout:
        return "it is closed"
    try:
        show(text, is_json=is_json)
    except (OSError, ValueError) as error:  # a ValueError of a file that was closed under it
        abandon(1)
        return getattr(error, "strerror", None) or str(error)
    return None


def tell(line: str) -> None:
    """Print a line on stderr, where there is anybody to read it."""
    with contextlib.suppress(OSError, ValueError):
        show(line, err=True)


def begin_a_line() -> None:
    """Take away what stands where the next line goes: a bar, or the ``^C`` that a terminal writes itself."""
    # Imported here because only who is interrupted needs it.
    from llenergymeasure.core.progress.bar import goes_back, wipe

    with contextlib.suppress(OSError, ValueError):
        if goes_back(sys.stderr):
            wipe(sys.stderr)


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator["Progress"]:
    """How far a run is, shown on stderr while the body runs, unless quiet."""
    # Imported here because only what takes long needs it.
    from llenergymeasure.core.progress.shown import showing, shown_as
    from llenergymeasure.domain.plan import Shown

    with showing(None if quiet else Shown(kind=shown_as(sys.stderr))) as shown:
        yield shown


def abandon(descriptor: int) -> None:
    """Let what is still to be written there go nowhere, so that ending does not fail on it again."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def settle() -> bool:
    """Write out what is left of stdout and stderr; whether stdout took all of it."""
    complete = True
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            abandon(descriptor)
            complete = complete and descriptor != 1
    return complete
