"""Who works on which part of a study: files that only one can create, kept fresh as long as their maker lives.

Whoever takes a part creates the next number of its files (``files``), and only where the newest is an ending, or
a taking that nobody keeps fresh any more. Whoever is through creates the next number too: where somebody else has it,
this one stood still for too long, and what it did is dropped. So what decides is creation, which the server of a shared
file system orders; what is merely seen may be some seconds old. What is old is told by the clock of the file system
that all workers share, so that their own clocks need not agree.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure.orchestration.studies.claiming.claim import Claim, Ground, own_clock_s
from llenergymeasure.orchestration.studies.claiming.files import Record, Trail, highest_numbers, taking
from llenergymeasure.orchestration.studies.claiming.workers import Worker

STALE_S = 60.0
# Signs of life until a claim without one is stale: some may be late, as on a file system far away.
_BEATS = 12
# Looks at the clock of the file system in that time; between them the own one tells how much has passed.
_LOOKS = 2

# Asked where nobody has a part, with the names of the attempts that were said to have ended: those that can be seen to
# say nothing of it, each with whether it can be seen at all; None where nothing is left of the part.
Unseen = Callable[[Collection[str]], Mapping[str, bool] | None]


def _all_is_seen(_: Collection[str]) -> Mapping[str, bool]:
    return {}


@dataclass
class Claims:
    """The claims of one worker on a study; a context in which they are kept fresh.

    ``stale_s`` is for how long a claim may go without a sign of life, ``heartbeat_s`` how often one is given; None is
    often enough. ``clock`` gives seconds that go on while the machine is suspended.
    """

    folder: Path
    worker: Worker = field(default_factory=Worker.this_process)
    stale_s: float = STALE_S
    heartbeat_s: float | None = None
    files: SharedFiles = ON_DISK
    clock: Callable[[], float] = own_clock_s
    _ground: Ground = field(init=False)
    _held: dict[str, Claim] = field(default_factory=dict)
    _trails: dict[str, Trail] = field(default_factory=dict)
    # The time of the file system, and of the own clock just after.
    _told_s: tuple[float, float] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        """Say once how all of them are kept."""
        self._ground = Ground(folder=self.folder, worker=self.worker, stale_s=self.stale_s, files=self.files,
                              clock=self.clock)  # fmt: skip

    def __enter__(self) -> Self:
        """Begin to keep claims fresh."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, (highest, n) in highest_numbers(self.files.names(self.folder)).items():
            # An older version removed files, so that counting on from the first would not find the others.
            if n < highest:
                self._trails[name] = Trail(highest)
        self._thread = threading.Thread(target=self._keep_fresh, name="claims", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is still held."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for claim in list(self._held.values()):
            self._give_back(claim)

    @contextlib.contextmanager
    def taken(self, name: str, unseen: Unseen = _all_is_seen) -> Iterator[Claim | None]:
        """The claim on a part, to the end of the body; None where another worker has it, or may be through with it.

        Args:
            name: the part.
            unseen: says what can be seen of what others did of it.

        Raises:
            OSError: nothing can be read or written there.
        """
        claim = self._take(name, unseen)
        try:
            yield claim
        finally:
            if claim is not None:
                self._give_back(claim)

    def refresh(self) -> None:
        """Give a sign of life of all that is held; one that cannot be given now is given the next time."""
        for claim in list(self._held.values()):
            with contextlib.suppress(OSError):
                claim.refresh()

    def _take(self, name: str, unseen: Unseen) -> Claim | None:
        # Before anything is looked at, so that nothing looks older than it was.
        now_s = self._now_s()
        trail = self._trails.setdefault(name, Trail())
        newest = trail.read_on(self.files, self.folder, name)
        if trail.number and not self._is_free(trail, newest, now_s):
            return None
        missing = unseen(tuple(trail.promised))
        if missing is None:
            self._forget(name)
            return None
        for attempt, is_there in missing.items():
            promise = trail.promised[attempt]
            # What was written on this host is seen here at once: what is gone was taken away since.
            if not self._is_old(promise, now_s) and (is_there or not promise.by.is_here()):
                return None
        return self._created(name, trail.number + 1, tuple(missing))

    def _created(self, name: str, number: int, overdue: tuple[str, ...]) -> Claim | None:
        # Before it is there: one that an interruption left without anybody who gives it back would be in the way of
        # everybody.
        claim = self._held[name] = Claim(self._ground, name, number, overdue, taking(self.worker), self.clock())
        if not claim.take():
            del self._held[name]
            return None
        self._forget(name)
        return claim

    def _forget(self, name: str) -> None:
        """Of a large study nobody keeps in mind what can be read again."""
        if self._trails[name].is_whole:
            del self._trails[name]

    def _is_free(self, trail: Trail, newest: Record | None, now_s: float) -> bool:
        if newest is None or (newest.ended is None and not self._is_old(newest, now_s)):
            return False
        # What cannot be seen may be an ending whose attempt cannot be seen either.
        return trail.is_whole or now_s - newest.changed_s > self.stale_s

    def _is_old(self, record: Record, now_s: float) -> bool:
        return now_s - record.changed_s > self.stale_s or record.by.is_gone()

    def _now_s(self) -> float:
        """The time of the file system, which is asked for now and then."""
        if self._told_s is None or self.clock() - self._told_s[1] > self.stale_s / _LOOKS:
            self._told_s = self.files.now_s(self.folder), self.clock()
        told_s, at_s = self._told_s
        return told_s + self.clock() - at_s

    def _give_back(self, claim: Claim) -> None:
        claim.give_back()
        self._held.pop(claim.name, None)

    def _keep_fresh(self) -> None:
        every_s = self.stale_s / _BEATS if self.heartbeat_s is None else self.heartbeat_s
        while not self._stop.wait(every_s):
            self.refresh()
