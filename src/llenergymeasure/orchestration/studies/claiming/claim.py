"""A part of a study that a worker has: kept fresh, ended, or found to be somebody else's by now."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure.orchestration.interruptions import held_back
from llenergymeasure.orchestration.studies.claiming.files import Manner, claim_file, ending, read_record
from llenergymeasure.orchestration.studies.claiming.workers import Worker


def own_clock_s() -> float:
    """Seconds that have passed for this machine, also while it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where a worker's claims lie, and how they are kept.

    ``stale_s`` is for how long one may go without a sign of life, and ``clock`` gives seconds that go on while the
    machine is suspended.
    """

    folder: Path
    worker: Worker
    stale_s: float
    files: SharedFiles = ON_DISK
    clock: Callable[[], float] = own_clock_s


@dataclass(eq=False)
class Claim:
    """A part of a study that is this worker's, unless somebody has taken it over.

    ``number`` is that of its newest file. ``overdue`` are attempts of others that were said to have ended, and never
    said how: whoever made them gives no sign of life, and may still wake.
    """

    ground: Ground
    name: str
    number: int
    overdue: tuple[str, ...]
    _content: bytes
    _fresh_s: float
    _is_there: bool = False
    _has_ended: bool = False
    _is_lost: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def path(self) -> Path:
        """Its newest file."""
        return Path(claim_file(self.ground.folder, self.name, self.number))

    @property
    def has_ended(self) -> bool:
        """Whether it was said how it ended."""
        return self._has_ended

    def is_superseded(self) -> bool:
        """Whether another worker took over, as from one that stood still for too long.

        Raises:
            OSError: that cannot be told.
        """
        with self._lock:
            if self._is_lapsed():
                # What can be seen may be from before others took over, and creation is not.
                self._go_on(self._content)
            elif not self._is_lost:
                following = claim_file(self.ground.folder, self.name, self.number + 1)
                self._is_lost = self.ground.files.exists(following)
            return self._is_lost

    def end(self, manner: Manner, attempt: str | None = None) -> bool:
        """Say how it ended, before anything else says so; False where another worker took over.

        Args:
            manner: ``finished`` and ``failed`` are promises that the attempt says so in a moment; one that cannot be
                kept is taken back by ``given_back``.
            attempt: the name of its folder.

        Raises:
            OSError: nothing can be written. It may be said, or half.
        """
        with self._lock:
            self._go_on(ending(self.ground.worker, manner, attempt))
            self._has_ended = self._has_ended or not self._is_lost
            return not self._is_lost

    def take(self) -> bool:
        """Create its first file; False where somebody else has.

        Raises:
            OSError: nothing can be written. It may be there, or half, and is to be given back; so is one whose making
                an interruption ended.
        """
        try:
            self.ground.files.create(claim_file(self.ground.folder, self.name, self.number), self._content)
        except FileExistsError:
            return False
        self._is_there = True
        return True

    def give_back(self) -> None:
        """Say that it ended, where that was not said; where nothing can be written it becomes stale."""
        if not self._has_ended:
            with held_back(), contextlib.suppress(OSError):
                if self._is_there or self._may_be_there():
                    self.end("given_back")

    def refresh(self) -> None:
        """Give a sign of life; where none was given for too long only a new file is one.

        Raises:
            OSError: none can be given.
        """
        with self._lock:
            if self._is_lapsed():
                self._go_on(self._content)
            elif not self._is_lost:
                began_s = self.ground.clock()
                self.ground.files.touch(self.path)
                self._fresh_s = began_s

    def _is_lapsed(self) -> bool:
        """Whether others may have taken over by now, by the clock of this machine."""
        return not self._is_lost and self.ground.clock() - self._fresh_s > self.ground.stale_s

    def _go_on(self, content: bytes) -> None:
        """Create the next file, unless somebody else has: then it is lost."""
        if self._is_lost:
            return
        began_s, path = self.ground.clock(), claim_file(self.ground.folder, self.name, self.number + 1)
        try:
            self.ground.files.create(path, content)
        except FileExistsError:
            # It may be this one's, where the answer to it was lost on the way.
            if not self._says(path, content):
                self._is_lost = True
                return
        self.number, self._content, self._fresh_s = self.number + 1, content, began_s

    def _may_be_there(self) -> bool:
        """Whether its first file may have been created after all.

        One that is torn may be somebody else's, who would then find it lost, and do it again.

        Raises:
            OSError: there is none.
        """
        found = read_record(self.ground.files, claim_file(self.ground.folder, self.name, self.number))
        return found.is_torn or found.by == self.ground.worker

    def _says(self, path: str, content: bytes) -> bool:
        try:
            return self.ground.files.read(path, len(content) + 1).content == content
        except OSError:
            return False
