"""What happened in a study and when: a line of JSON for each event, in a file of its own for each worker."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llenergymeasure._telling import told_values


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
