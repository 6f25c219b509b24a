"""How far a run is, on stderr: a bar that writes over itself on a terminal, else a line every ten seconds."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Self

from llenergymeasure._telling import in_a_line
from llenergymeasure.core.progress import Progress
from llenergymeasure.core.progress.bar import as_written, bar_on, goes_back, wipe
from llenergymeasure.domain.plan import Shown, ShownAs

_EVERY_S: Mapping[ShownAs, float] = {"bar": 0.5, "lines": 10.0}
# Before so much of it is done nobody can say how long the rest takes.
_LEAST_DONE_S = 1.0
_MINUTE_S, _HOUR_S = 60, 3600
# The progress of this process, which lines of the log have to step around.
_current: list["ShownProgress"] = []


def shown_as(stream: IO[str], environ: Mapping[str, str] = os.environ) -> ShownAs:
    """What a stream can show: a bar only where it is a terminal that can go back to the beginning of a line."""
    return "bar" if goes_back(stream, environ) else "lines"


@dataclass
class _Phase:
    """Where a phase stands."""

    name: str
    began_s: float
    n: int | None = None
    unit: str = ""
    for_s: float | None = None
    n_done: int = 0
    n_tokens: int = 0
    note: str = ""
    last_s: float | None = None

    def left_s(self, now_s: float) -> float | None:
        """Seconds until it is over, as far as can be said."""
        elapsed_s = now_s - self.began_s
        if self.for_s is not None:
            return max(self.for_s - elapsed_s, 0.0)
        if self.n is None or self.last_s is None or self.last_s - self.began_s < _LEAST_DONE_S:
            return None
        each_s = (self.last_s - self.began_s) / self.n_done
        return max((self.n - self.n_done) * each_s - (now_s - self.last_s), 0.0)

    def tokens_per_s(self) -> float | None:
        """Output tokens of what has ended, over the time until it had."""
        if not self.n_tokens or self.last_s is None or self.last_s <= self.began_s:
            return None
        return self.n_tokens / (self.last_s - self.began_s)


@dataclass
class ShownProgress(Progress):
    """Shows progress while its body runs.

    Args:
        shown: how, and of which run of a study.
        stream: where; None is stderr as it is then.
        clock: monotonic seconds.
    """

    shown: Shown
    stream: IO[str] | None = None
    clock: Callable[[], float] = time.monotonic
    _phase: _Phase | None = None
    _later_s: float | None = None
    _read_watts: Callable[[], str] | None = None
    _bar: Any = None
    _lock: Any = field(default_factory=threading.RLock)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        _current.append(self)
        self._thread = threading.Thread(target=self._go_on, name="progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show nothing any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_EVERY_S["bar"])
        self.end()
        _current.remove(self)

    def begin(self, phase: str, *, n: int | None = None, unit: str = "", for_s: float | None = None) -> None:
        """Show this phase from now on."""
        with self._lock:
            self.end()
            self._phase = _Phase(phase, self.clock(), n, unit, for_s)
            if self.shown.kind == "bar":
                self._draw()

    def done(self, n: int = 1, n_tokens: int = 0) -> None:
        """Count; it is shown when it is time."""
        # Without the lock: a terminal that takes nothing must not hold up what is measured.
        phase = self._phase
        if phase is not None:
            phase.n_done += n
            phase.n_tokens += n_tokens
            phase.last_s = self.clock()

    def note(self, text: str) -> None:
        """Show this beside it."""
        phase = self._phase
        if phase is not None:
            phase.note = text

    def later(self, seconds: float | None) -> None:
        """Add this to what is left of the phase."""
        self._later_s = seconds

    def watts(self, read: Callable[[], str] | None) -> None:
        """Show what it reads; one that fails shows nothing."""
        self._read_watts = read

    def end(self) -> None:
        """Take away what is shown."""
        with self._lock:
            self._phase = None
            if self._bar is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._bar.close()
            self._bar = None

    def at_run(self, n: int, of: int, later_s: float | None) -> None:
        """Say so from now on."""
        self.shown = Shown(kind=self.shown.kind, number=n, n_runs=of, later_s=later_s)

    def handed_on(self) -> Shown:
        """In the same way."""
        return self.shown

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """While the body runs another process shows it; one that was ended has left its bar on the terminal."""
        try:
            yield
        except BaseException:
            if self.shown.kind == "bar":
                with contextlib.suppress(OSError, ValueError):
                    wipe(self.stream or sys.stderr)
            raise

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """While the body writes lines of its own nothing stands where they go."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            yield
            if self._bar is not None:
                self._bar.refresh()

    def _go_on(self) -> None:
        while not self._over.wait(_EVERY_S[self.shown.kind]):
            # What cannot be shown is no reason to end.
            with contextlib.suppress(Exception), self._lock:
                self._draw()

    def _draw(self) -> None:
        phase = self._phase
        if phase is None:
            return
        parts, head = self._parts(phase, self.clock()), f"llem: {self._head()}{phase.name}"
        stream = self.stream or sys.stderr
        if self.shown.kind == "lines":
            stream.write(in_a_line(f"{head}: {', '.join(parts)}") + "\n")
            stream.flush()
            return
        if self._bar is None:
            self._bar = bar_on(stream, head, phase.n if phase.for_s is None else phase.for_s)
        self._bar.n = phase.n_done if phase.for_s is None else min(self.clock() - phase.began_s, phase.for_s)
        self._bar.told = as_written(", ".join(parts), stream)
        self._bar.refresh()

    def _head(self) -> str:
        return f"{self.shown.number} of {self.shown.n_runs}, " if self.shown.n_runs else ""

    def _parts(self, phase: _Phase, now_s: float) -> list[str]:
        """What is to be said, the most needed first: a narrow terminal cuts the rest off."""
        elapsed_s, left_s = now_s - phase.began_s, phase.left_s(now_s)
        parts = []
        if phase.n is not None:
            parts.append(f"{phase.n_done} of {phase.n} {phase.unit}".rstrip())
        elif phase.for_s is None:
            parts.append(f"{in_words(elapsed_s)} so far")
        if phase.note:
            parts.append(phase.note)
        rate = phase.tokens_per_s()
        if rate is not None:
            parts.append(f"{rate:.3g} tok/s")
        watts = self._read_watts() if self._read_watts is not None else ""
        if watts:
            parts.append(watts)
        # One that has taken longer than was thought has no time left that anybody knows.
        if left_s:
            parts.append(f"{in_words(left_s)} left of this")
            if self._later_s is not None:
                left_s += self._later_s
                parts[-1] = f"{in_words(left_s)} left"
        if self.shown.later_s is not None:
            parts.append(f"{in_words(self.shown.later_s + (left_s or 0.0))} of the study")
        return parts


def in_words(seconds: float) -> str:
    """Such as "40 s", "3 min 20 s" and "2 h 5 min"."""
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        minutes, rest = divmod(whole, _MINUTE_S)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(whole / _MINUTE_S), _MINUTE_S)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


@contextlib.contextmanager
def showing(shown: Shown | None) -> Iterator[Progress]:
    """Progress that is shown while the body runs, or none."""
    if shown is None:
        yield Progress()
        return
    with ShownProgress(shown) as progress:
        yield progress


@contextlib.contextmanager
def beside_progress() -> Iterator[None]:
    """While the body writes to stderr, what this process shows of its progress is out of the way."""
    with contextlib.ExitStack() as stack:
        for each in _current:
            stack.enter_context(each.aside())
        yield
