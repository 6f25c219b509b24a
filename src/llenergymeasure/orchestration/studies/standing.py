"""Where a study stands, from its folder alone."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.domain.study.summary import ClockOffset
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.orchestration.studies.claiming.workers import Worker
from llenergymeasure.results.persistence import RUNS_DIR
from llenergymeasure.results.study.directory import (
    CLAIMS_DIR,
    EVENTS_DIR,
    PLAN_FILE,
    STUDY_FILE,
    FoundSlot,
    SlotState,
    StudyDirectory,
    digest_in,
    kept_failure,
)
from llenergymeasure.results.study.events import clocks_apart, events_of
from llenergymeasure.results.study.rows import value_in
from llenergymeasure.results.study.stopping import StopRule

State = Literal["finished", "running", "unfinished"]


@dataclass(frozen=True, kw_only=True)
class StudyStanding:
    """Where a study stands.

    ``failed`` has why, None where that cannot be read, and where its log lies; ``running`` has who runs it;
    ``interrupted`` was begun, has neither a result nor word of a failure, and nobody runs it. ``n_not_needed`` runs are
    not made as things stand, because ``execution.stop`` finds the interval narrow enough without them.
    """

    path: Path
    plan: StudyPlan
    n_finished: int
    failed: tuple[tuple[Slot, ExperimentFailure | None, Path], ...]
    running: tuple[tuple[Slot, Worker], ...]
    interrupted: tuple[Slot, ...]
    n_to_do: int
    n_not_needed: int
    run_s: float | None
    clocks: ClockOffset | None = None

    @property
    def n_planned(self) -> int:
        """How many runs its plan has."""
        return len(self.plan.slots)

    @property
    def in_words(self) -> str:
        """Such as ``11 of 24 finished, 2 running, 11 to do``."""
        counts = {
            "running": len(self.running),
            "failed": len(self.failed),
            "interrupted": len(self.interrupted),
            "to do": self.n_to_do,
            "not needed as things stand": self.n_not_needed,
        }
        said = [f"{n} {what}" for what, n in counts.items() if n]
        return ", ".join([f"{self.n_finished} of {self.n_planned} finished", *said])

    @property
    def state(self) -> State:
        """Whether anything is left to do, and whether anybody does it."""
        if self.running:
            return "running"
        return "unfinished" if self.interrupted or self.n_to_do else "finished"

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest will take one worker, if it takes as long as before; None where nothing is known."""
        n_left = len(self.running) + len(self.interrupted) + self.n_to_do
        return None if self.run_s is None else n_left * self.run_s


def standing_of_study(path: Path, files: SharedFiles = ON_DISK) -> StudyStanding:
    """Where a study stands; no result is read, and each of its folders is listed once.

    Raises:
        ConfigError: there is no study, or its plan is damaged.
    """
    directory = StudyDirectory(path, files)
    plan = directory.plan()
    failed, running, interrupted = list[tuple[Slot, ExperimentFailure | None, Path]](), list[tuple[Slot, Worker]](), []
    n_finished = n_to_do = n_not_needed = 0
    rule, begun = rule_of(directory, plan), directory.begun()
    holders = Holders(path / CLAIMS_DIR, plan.execution.takeover_after_s, directory.files)
    for slot in plan.slots:
        is_begun = plan.folder_of(slot) in begun
        found = directory.found(plan, slot) if is_begun else FoundSlot(state=SlotState.OPEN)
        if found.state is SlotState.FINISHED:
            n_finished += 1
        elif (holder := holders.of(f"{slot.slot:04d}", found.silent)) is not None:
            running.append((slot, holder))
        elif found.attempt is not None and found.is_through(plan.execution.retries):
            failed.append((slot, kept_failure(found.attempt), found.attempt))
        elif is_begun and directory.attempts(plan, slot):
            interrupted.append(slot)
        elif rule.is_needed(slot):
            n_to_do += 1
        else:
            n_not_needed += 1
    return StudyStanding(
        path=path,
        plan=plan,
        n_finished=n_finished,
        failed=tuple(failed),
        running=tuple(running),
        interrupted=tuple(interrupted),
        n_to_do=n_to_do,
        n_not_needed=n_not_needed,
        run_s=_run_s(path / EVENTS_DIR),
        clocks=clocks_apart(path / EVENTS_DIR),
    )


def rule_of(directory: StudyDirectory, plan: StudyPlan) -> StopRule:
    """Which runs of a study are needed, by what its folder has."""
    stop = plan.execution.stop
    return StopRule(plan, lambda slot: None if stop is None else value_in(directory, plan, slot, stop.metric))


def studies_in(path: Path) -> Iterator[Path]:
    """The folders of studies that a folder is, or has directly in it, in the order of their names.

    Raises:
        ConfigError: it cannot be looked into.
    """
    if _is_study(path):
        yield path
        return
    try:
        below = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be looked into: {error.strerror or error}") from None
    yield from filter(_is_study, below)


def known_run_s(parent: Path) -> dict[str, float]:
    """How long runs took in the studies of a folder: seconds by the hash of the configuration, the median of each."""
    took_s: dict[str, list[float]] = {}
    try:
        studies = list(studies_in(parent))
    except ConfigError:
        return {}
    for path in studies:
        try:
            names = [each.name for each in (path / RUNS_DIR).iterdir()]
        except OSError:
            continue
        hashes = {slot: config_hash for slot, _, config_hash in (name.partition("-") for name in names)}
        for slot, seconds in _runs_s(path / EVENTS_DIR):
            if (config_hash := hashes.get(f"{slot:04d}")) is not None:
                took_s.setdefault(config_hash, []).append(seconds)
    return {config_hash: median(times) for config_hash, times in took_s.items()}


def unfinished_like(plan: StudyPlan, parent: Path) -> Iterator[StudyStanding]:
    """Studies in a folder that run the same and are not through, and that nobody runs now."""
    digest = plan.digest
    try:
        below = sorted(each for each in parent.iterdir() if digest_in(each) == digest)
    except OSError:
        return
    for path in below:
        with contextlib.suppress(ConfigError):
            standing = standing_of_study(path)
            if standing.state == "unfinished":
                yield standing


def _is_study(path: Path) -> bool:
    return (path / PLAN_FILE).is_file() and (path / STUDY_FILE).is_file()


def _run_s(events: Path) -> float | None:
    """How long a run took, its rest included: the median time from one start to the end of the run, in seconds."""
    took_s = [seconds for _, seconds in _runs_s(events)]
    return median(took_s) if took_s else None


def _runs_s(events: Path) -> Iterator[tuple[int, float]]:
    """Each run that finished: its slot, and the seconds from its start to its end, by the clock of who ran it."""
    for file in sorted(events.glob("*.jsonl")):
        began: dict[int, datetime] = {}
        for event in events_of(file):
            try:
                at, slot = datetime.fromisoformat(event["time"]), int(event.get("slot", -1))
            except (KeyError, TypeError, ValueError):
                continue
            if event.get("event") == "start":
                began[slot] = at
            elif event.get("event") == "finished" and slot in began:
                yield slot, (at - began[slot]).total_seconds()
