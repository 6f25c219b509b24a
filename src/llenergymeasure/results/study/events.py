"""What happened in a study and when: a line of JSON for each event, in a file of its own for each worker."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llenergymeasure._telling import told_values
from llenergymeasure.domain.study.summary import ClockOffset

BEGIN = "begin"
# Clocks that are further apart are told: a look at a study may take as long.
MOST_APART_S = 1.0
# The kernel stamps files by a clock that it moves on at each tick, a hundred times a second at least; some file systems
# keep whole seconds.
_TICK_S, _WHOLE_S = 0.01, 1.0
_NS = 1_000_000_000
# A first line is some hundred bytes.
_MOST_BYTES = 2**16


@dataclass(frozen=True)
class Events:
    """The events of one worker. That a line cannot be written stops nothing."""

    file: Path | None
    now: Callable[[], datetime]

    def add(self, event: str, **about: Any) -> None:
        """Add an event, in one write, so that a line is torn only by a crash."""
        if self.file is None:
            return
        line = json.dumps(told_values({"time": self.now().isoformat(), "event": event, **about}))
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as opened:
                opened.write(line + "\n")
        except OSError:
            return

    def begin(self, clock: Callable[[], float], **about: Any) -> None:
        """Add that a worker begins, and how far the clock of the file system is before its own, in Unix time."""
        self.add(BEGIN, **about, **({} if self.file is None else _clock_in(self.file.parent, clock)))


def _clock_in(folder: Path, clock: Callable[[], float]) -> dict[str, float]:
    """The time of a file that is made now less our own, and what that may be off by, in seconds; nothing if none is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before_s = clock()
        # Made and gone again: its name tells nobody anything.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            file.write(b".")
            file.flush()
            made_ns = Path(file.name).stat().st_mtime_ns
            after_s = clock()
    except OSError:
        return {}
    return clock_of(made_ns, before_s, after_s)


def clock_of(made_ns: int, before_s: float, after_s: float) -> dict[str, float]:
    """How far the file system's clock is before one by which a file was made between two moments of Unix time.

    Args:
        made_ns: when the file was made, by the file system, in nanoseconds of Unix time.
        before_s: our time before that.
        after_s: and after it.
    """
    # It was made at any moment between, and its time was cut to what the file system keeps.
    grain_s = _TICK_S if made_ns % _NS else _WHOLE_S
    offset_s = made_ns / _NS + grain_s / 2 - (before_s + after_s) / 2
    return {"clock_offset_s": round(offset_s, 6), "clock_within_s": round((after_s - before_s + grain_s) / 2, 6)}


def clocks_apart(folder: Path) -> ClockOffset | None:
    """How far the clocks of workers were apart when they began; None where fewer than two told theirs.

    Args:
        folder: of the events; only the first line of each worker is read.
    """
    known = sorted(filter(None, map(_told_by, folder.glob("*.jsonl"))))
    if len(known) <= 1:
        return None
    (least_s, one_s), (most_s, other_s) = known[0], known[-1]
    return ClockOffset(largest_s=most_s - least_s, within_s=one_s + other_s, n_workers=len(known))


def _told_by(file: Path) -> tuple[float, float] | None:
    try:
        with file.open("rb") as opened:
            event = json.loads(opened.readline(_MOST_BYTES))
        told = float(event["clock_offset_s"]), float(event["clock_within_s"])
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return told if all(map(math.isfinite, told)) else None


def about_clocks(found: ClockOffset | None) -> list[str]:
    """A line where clocks of workers were apart by more than their bounds and a second."""
    if found is None or found.largest_s - found.within_s <= MOST_APART_S:
        return []
    return [
        f"the clocks of its {found.n_workers} workers were up to {found.largest_s:.1f} s apart "
        f"(+-{found.within_s:.2g} s): times of different machines have no order, and none is taken from another"
    ]


def events_in(folder: Path) -> Iterator[dict[str, Any]]:
    """All events of all workers, those of one in their order; torn lines are passed over."""
    for file in sorted(folder.glob("*.jsonl")):
        yield from events_of(file)


def events_of(file: Path) -> Iterator[dict[str, Any]]:
    """The events of one worker, in their order; none where its file cannot be read."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
