"""A study as it is seen from outside while it runs: its slots, who works on them and where, and what waits."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure.domain.study.plan import Slot
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.orchestration.cluster.kinds import KINDS, JobState
from llenergymeasure.orchestration.cluster.signs import EVERY_S, Signs, signs_in
from llenergymeasure.orchestration.cluster.submissions import Submission, submissions_of
from llenergymeasure.orchestration.studies.standing import StudyStanding, standing_of_study
from llenergymeasure.results.study.directory import EVENTS_DIR
from llenergymeasure.results.study.events import events_of

# A worker that has missed so many of its signs is silent.
_MISSED = 4
# A scheduler is not asked more often, however often it is looked.
_ASK_EVERY_S = 15.0


@dataclass(frozen=True)
class SeenWorker:
    """A worker that has not said that it ended.

    ``silent_s`` is for how long nothing new was heard of it, by the clock of whoever watches; ``slots`` are those that
    it has.
    """

    signs: Signs
    silent_s: float
    slots: tuple[Slot, ...]

    @property
    def is_silent(self) -> bool:
        """Whether it has missed several of its signs."""
        return self.silent_s > _MISSED * EVERY_S


@dataclass(frozen=True)
class Seen:
    """What was seen at once.

    ``jobs`` are those that have not ended, None where the scheduler does not answer, for the reason in ``unasked``.
    ``stopped`` are words of workers that ended before the study did.
    """

    standing: StudyStanding
    workers: tuple[SeenWorker, ...]
    jobs: tuple[tuple[Submission, tuple[JobState, ...]], ...] | None
    unasked: str | None
    stopped: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more: it is through, or nobody is there or will come."""
        if self.standing.state == "finished":
            return True
        nobody = not self.standing.running and not any(not each.is_silent for each in self.workers)
        return nobody and self.jobs is not None and not any(jobs for _, jobs in self.jobs)

    @property
    def left_s(self) -> float | None:
        """Seconds until it is through, with as many workers as there are; None where that is not known."""
        one_s = self.standing.left_s
        n = max(1, sum(not each.is_silent for each in self.workers))
        return None if one_s is None else one_s / n


@dataclass
class Watching:
    """Looks at a study again and again.

    Args:
        path: its folder.
        clock: monotonic seconds.
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _heard: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    _asked_s: float | None = None
    _jobs: tuple[tuple[Submission, tuple[JobState, ...]], ...] | None = ()
    _unasked: str | None = None

    def look(self) -> Seen:
        """What is to be seen now.

        Raises:
            ConfigError: there is no study.
        """
        standing = standing_of_study(self.path)
        self._ask()
        held: dict[tuple[str, int], list[Slot]] = {}
        for slot, who in standing.running:
            held.setdefault((who.host, who.pid), []).append(slot)
        workers = tuple(self._seen(each, held) for each in signs_in(self.path) if not each.ended)
        # One that has nothing and has been silent from the beginning is of an earlier day.
        workers = tuple(each for each in workers if each.slots or not each.is_silent)
        return Seen(standing, workers, self._jobs, self._unasked, self._stopped())

    def _seen(self, signs: Signs, held: Mapping[tuple[str, int], list[Slot]]) -> SeenWorker:
        who, now_s = (signs.host, signs.pid), self.clock()
        if who not in self._heard:
            # How old it is at first only its own clock tells; clocks of nodes may differ.
            age_s = max(0.0, time.time() - signs.seen_s)
            self._heard[who] = signs.n_signs, now_s - age_s
        elif self._heard[who][0] != signs.n_signs:
            self._heard[who] = signs.n_signs, now_s
        return SeenWorker(signs, now_s - self._heard[who][1], tuple(held.get(who, ())))

    def _ask(self) -> None:
        now_s = self.clock()
        if self._asked_s is not None and now_s - self._asked_s < _ASK_EVERY_S:
            return
        self._asked_s = now_s
        try:
            self._jobs = tuple((each, tuple(KINDS[each.executor].alive(each))) for each in submissions_of(self.path))
            self._unasked = None
        except PreFlightError as error:
            self._jobs, self._unasked = None, str(error)

    def _stopped(self) -> tuple[str, ...]:
        said: dict[str, None] = {}
        for file in sorted((self.path / EVENTS_DIR).glob("*.jsonl")):
            for event in events_of(file):
                if event.get("event") == "end" and event.get("stopped"):
                    with contextlib.suppress(TypeError):
                        said[str(event["stopped"])] = None
        return tuple(said)
