"""A bar of tqdm that stays in one line of a terminal, however narrow that is and becomes."""

import os
import threading
from collections.abc import Mapping
from typing import IO, Any

from llenergymeasure._telling import in_a_line

_UNKNOWN_COLUMNS = 80
# Below the one words are worth more than a bar, below the other than the name of the program.
_LEAST_WITH_A_BAR, _LEAST_WITH_A_NAME = 70, 40
_NAME = "llem: "
# ``^C``, which the terminal puts where the cursor is; a line has room for it, and it is taken away with the bar.
_N_ECHO = 2


def goes_back(stream: IO[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether it is a terminal that can go back to the beginning of a line."""
    return stream.isatty() and (environ.get("TERM") or "dumb") != "dumb"


def columns_of(stream: IO[str]) -> int:
    """Columns that a line may have and not wrap: some terminals go on to the next one with the last of theirs."""
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        found = 0
    return max((found or _UNKNOWN_COLUMNS) - 1, 1)


def as_written(text: str, stream: IO[str]) -> str:
    """A line of text as a stream writes it: what its encoding lacks takes the columns of its escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return in_a_line(text).encode(encoding, "backslashreplace").decode(encoding)


def wipe(stream: IO[str]) -> None:
    """Take away what somebody else has left in the line of the cursor."""
    stream.write(f"\r{' ' * columns_of(stream)}\r")
    stream.flush()


def bar_on(stream: IO[str], description: str, total: float | None) -> Any:
    """A bar; without a ``total`` only words. ``told`` stands behind it, and ``n`` of the total are done."""
    # Imported here because only a terminal needs it.
    from tqdm import tqdm
    from tqdm.utils import disp_len

    class Bar(tqdm):  # type: ignore[type-arg]
        """One that has neither a thread nor a lock among processes of its own."""

        monitor_interval = 0
        told = ""
        _n_shown = 0

        @property
        def format_dict(self) -> dict[str, Any]:
            """What it is made of, for the width of this moment."""
            columns = columns_of(self.fp)
            has_a_bar = bool(self.total) and columns >= _LEAST_WITH_A_BAR
            return {
                **super().format_dict,
                "prefix": self.desc if columns >= _LEAST_WITH_A_NAME else self.desc.removeprefix(_NAME),
                "told": self.told,
                "ncols": max(columns - _N_ECHO, 1),
                "bar_format": "{desc} |{bar:20}| {told}" if has_a_bar else "{desc}: {told}",
            }

        def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002 - tqdm's signature
            """Write over what stands there; tqdm's own goes by a width that may have been another."""
            text = str(self) if msg is None else msg
            n_before = min(self._n_shown + _N_ECHO, columns_of(self.fp)) if self._n_shown else 0
            # Whoever is interrupted in the middle of it takes away as much as may be there.
            self._n_shown = max(self._n_shown, disp_len(text))
            self.fp.write(f"\r{' ' * n_before}\r{text}")
            self.fp.flush()
            self._n_shown = disp_len(text)

        def clear(self, nolock: bool = False) -> None:  # noqa: ARG002 - tqdm's signature
            """Leave an empty line."""
            if not self.disable:
                self.display("")

    Bar.set_lock(threading.RLock())
    return Bar(total=total or None, desc=as_written(description, stream), file=stream, leave=False, mininterval=0)
