"""What a node that attends runs of the engine: a command that is started, watched and ended."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from llenergymeasure._keeper import kept
from llenergymeasure.core.backends.journal import Journal
from llenergymeasure.exceptions import BackendError

_PATIENCE_S = 15.0


def filled_in(command: Sequence[str], *, first: str, node: int, n_nodes: int) -> list[str]:
    """The words of a command with what only the run knows.

    Args:
        command: in which ``{first}`` stands for the name of the first node, ``{node}`` for the number of this one,
            ``{n}`` for how many there are.
        first: that name.
        node: that number, from 1 on.
        n_nodes: how many.
    """
    told = {"{first}": first, "{node}": str(node), "{n}": str(n_nodes)}
    words = list(command)
    for name, value in told.items():
        words = [word.replace(name, value) for word in words]
    return words


class NodeCommand:
    """A command that runs beside what is measured."""

    def __init__(self, keeper: "subprocess.Popen[bytes]", journal: Journal, shown: str) -> None:
        self._keeper, self._journal, self._shown = keeper, journal, shown

    def must_live(self) -> None:
        """Look whether it runs.

        Raises:
            BackendError: it has ended, with the last that it wrote.
        """
        code = self._keeper.poll()
        if code is not None:
            said = self._journal.cause() or self._journal.tail()
            raise BackendError(
                f"nodes.command ({self._shown}) ended with exit code {code}{f': {said}' if said else ''}"
            )


@contextlib.contextmanager
def running(command: Sequence[str] | None) -> Iterator[NodeCommand | None]:
    """A command, running while the body does, and ended with all that it has started; None of none.

    Raises:
        BackendError: it cannot be started.
    """
    if command is None:
        yield None
        return
    journal = Journal()
    try:
        with subprocess.Popen(
            [sys.executable, "-P", *kept(list(command), _PATIENCE_S)],
            stdin=subprocess.DEVNULL,
            stdout=journal.fileno(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as keeper:
            try:
                yield NodeCommand(keeper, journal, command[0])
            finally:
                keeper.terminate()
    except OSError as error:
        raise BackendError(f"nodes.command ({command[0]}) cannot be started: {error.strerror or error}") from None
    finally:
        journal.close()
