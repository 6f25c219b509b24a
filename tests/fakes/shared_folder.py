"""Several workers in one folder, as on a file system that shows each what others did up to two seconds later.

They are threads that take turns, one step at a time, in an order that a seed decides; a step is whatever one asks of
shared files, a sleep, or a part of a run. Time passes as the stage says. Any of them may stand still, or be killed,
between two steps. Who creates a file is exact, and everybody sees at once what it wrote itself.
"""

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure._shared_files import ON_DISK, ReadFile

DELAY_S = 2.0
_FIRST_S = 1.7e9


class Killed(BaseException):
    """Nothing of the worker goes on."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What may come between two steps, as shares of all steps; a pause lasts one of ``pauses_s``."""

    delay_s: float = DELAY_S
    pause: float = 0.0
    kill: float = 0.0
    pauses_s: tuple[float, float] = (1.0, 200.0)


@dataclass(eq=False)
class Actor:
    """A worker on the stage; ``beat`` is called every ``beat_s`` while it sleeps, ``skew_s`` is its clock's error."""

    stage: "Stage"
    name: str
    skew_s: float
    beat: Callable[[], object] = lambda: None
    beat_s: float = 5.0
    wakes_s: float = 0.0
    is_killed: bool = False
    is_over: bool = False
    problem: BaseException | None = None
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def step(self) -> None:
        """Let others go on, until it is this one's turn again."""
        if self.is_killed:
            raise Killed
        self.stage.back.release()
        self.turn.acquire()
        if self.is_killed:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, with signs of life."""
        until_s = self.stage.now_s + seconds
        while self.stage.now_s < until_s:
            self.wakes_s = min(until_s, self.stage.now_s + self.beat_s)
            self.step()
            self.beat()

    def clock(self) -> float:
        """Its own clock, which is that of nobody else."""
        return self.stage.now_s + self.skew_s


@dataclass
class _Seen:
    """A path: since when it is there, since when it says what it says, and by whom."""

    born_s: float
    by: str
    touched_s: list[tuple[float, str]] = field(default_factory=list)


class Stage:
    """Where they take turns, and the folder in which they work."""

    def __init__(self, folder: Path, seed: int, faults: Faults) -> None:
        """Begin with nobody on it."""
        self.folder, self.chance, self.faults = folder, random.Random(seed), faults
        self.now_s = _FIRST_S
        self.back = threading.Semaphore(0)
        self.actors: list[Actor] = []
        self.seen: dict[str, _Seen] = {}
        self.note("nobody")

    def enter(self, name: str, work: Callable[[Actor], object]) -> Actor:
        """One more, who begins when it is its turn."""
        actor = Actor(self, name, self.chance.uniform(-60, 60))

        def live() -> None:
            actor.turn.acquire()
            try:
                if not actor.is_killed:
                    work(actor)
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001 - told by whoever waits for it
                actor.problem = error
            finally:
                actor.is_over = True
                self.back.release()

        threading.Thread(target=live, name=name, daemon=True).start()
        self.actors.append(actor)
        return actor

    def play(self, most_steps: int = 100_000) -> None:
        """Let everybody go on until all are through, or killed."""
        for _ in range(most_steps):
            left = [actor for actor in self.actors if not actor.is_over]
            if not left:
                break
            ready = [actor for actor in left if actor.wakes_s <= self.now_s]
            if not ready:
                self.now_s = min(actor.wakes_s for actor in left)
                continue
            actor = self.chance.choice(ready)
            if self._may_go_on(actor):
                actor.turn.release()
                self.back.acquire()
                self.note(actor.name)
                self.now_s += self.chance.choice((0.0, 0.001, 0.05, 0.2))
        for actor in self.actors:
            assert actor.is_over, f"{actor.name} comes to no end"
            if actor.problem is not None:
                raise actor.problem

    def _may_go_on(self, actor: Actor) -> bool:
        if self.chance.random() < self.faults.kill:
            actor.is_killed = True
        elif self.chance.random() < self.faults.pause:
            actor.wakes_s = self.now_s + self.chance.uniform(*self.faults.pauses_s)
            return False
        return True

    def note(self, by: str) -> None:
        """Note what is new in the folder, which nobody else can have made."""
        there = set(_paths(self.folder))
        for path in there - self.seen.keys():
            self.seen[path] = _Seen(self.now_s, by)
        for path in self.seen.keys() - there:
            del self.seen[path]


def _paths(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(Path(entry.path))


@dataclass(frozen=True)
class DelayedFiles:
    """The files of a stage as one of its actors sees them: a ``SharedFiles``."""

    actor: Actor

    def names(self, folder: Path) -> list[str]:
        """See ``SharedFiles``; each name may or may not be listed yet."""
        self.actor.step()
        return [name for name in ON_DISK.names(folder) if self._sees(folder / name)]

    def exists(self, path: str | Path) -> bool:
        """See ``SharedFiles``."""
        self.actor.step()
        return ON_DISK.exists(path) and self._sees(path)

    def read(self, path: str | Path, most_bytes: int) -> ReadFile:
        """See ``SharedFiles``; of a file that is seen already the content may be missing still."""
        self.actor.step()
        if not self._sees(path):
            raise FileNotFoundError(path)
        content = ON_DISK.read(path, most_bytes).content
        known = self._known(path)
        seen_s = self._seen_s()
        touched = [at_s for at_s, by in known.touched_s if by == self.actor.name or at_s <= seen_s]
        return ReadFile(content if self._sees(path) else b"", max([known.born_s, *touched]))

    def create(self, path: str | Path, content: bytes) -> None:
        """See ``SharedFiles``; between it and what comes next there may be a pause too."""
        self.actor.step()
        ON_DISK.create(path, content)
        self.actor.step()

    def touch(self, path: str | Path) -> None:
        """See ``SharedFiles``."""
        self._known(path).touched_s.append((self.actor.stage.now_s, self.actor.name))

    def now_s(self, folder: Path) -> float:
        """See ``SharedFiles``."""
        self.actor.step()
        return self.actor.stage.now_s

    def _sees(self, path: str | Path) -> bool:
        known = self._known(path)
        return known.by == self.actor.name or known.born_s <= self._seen_s()

    def _known(self, path: str | Path) -> _Seen:
        # What is new since the last step is this one's own.
        stage = self.actor.stage
        return stage.seen.get(str(path)) or _Seen(stage.now_s, self.actor.name)

    def _seen_s(self) -> float:
        stage = self.actor.stage
        return stage.now_s - stage.chance.uniform(0, stage.faults.delay_s)
