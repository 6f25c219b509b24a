"""The folder of a study: its plan, and what of it is there already. What lies in it is the truth; nobody remembers."""

import contextlib
import enum
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from llenergymeasure._files import flush_files, open_regular, read_regular, write_atomically
from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure._telling import in_a_line, told_values
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.attempts import (
    DAMAGED_FILE,
    FAILURE_FILE,
    Counted,
    attempt_name,
    attempt_number,
    attempts_in,
    counted,
)
from llenergymeasure.results.persistence import RUNS_DIR

PLAN_FILE, STUDY_FILE = "plan.json", "study.yaml"
CLAIMS_DIR, EVENTS_DIR, CLUSTER_DIR = "claims", "events", "cluster"
BASELINE_FILE = "baseline.json"
PLAN_VERSION = 1
_PLAN = TypeAdapter(StudyPlan)
# A hundred thousand configurations of some three kilobytes.
_MOST_BYTES = 512 * 2**20
_HEAD_BYTES = 2**10
_DIGEST = re.compile(rb'"digest": "([0-9a-f]{64})"')


class SlotState(enum.Enum):
    """What there is of a slot."""

    OPEN = "open"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class FoundSlot:
    """What lies in the folder of a slot.

    ``attempt`` is the folder of the attempt that counts, ``n_failed`` attempts have left word that they failed, and
    ``silent`` ones no word of any kind, by their names (``results.attempts``).
    """

    state: SlotState
    attempt: Path | None = None
    n_failed: int = 0
    silent: frozenset[str] = frozenset()

    def is_through(self, retries: int) -> bool:
        """Whether nothing more is to be run of it, where one that failed is tried again so often."""
        return self.n_failed > retries if self.state is SlotState.FAILED else self.state is SlotState.FINISHED


@dataclass(frozen=True)
class StudyDirectory:
    """The folder of a study; ``files`` is how what lies in it is seen where others work on it too."""

    path: Path
    files: SharedFiles = ON_DISK

    def write(self, plan: StudyPlan, given: StudyConfig) -> None:
        """Write what the study is, before anything of it is run.

        Raises:
            OSError: it cannot be written.
        """
        said = told_values(given.model_dump(mode="json", exclude_unset=True))
        write_atomically(self.path / STUDY_FILE, yaml.safe_dump(said, sort_keys=False, allow_unicode=False))
        write_atomically(self.path / PLAN_FILE, _as_text(plan))

    def plan(self) -> StudyPlan:
        """The plan.

        Raises:
            ConfigError: there is none, or it is damaged.
        """
        file = self.path / PLAN_FILE
        try:
            written = json.loads(read_regular(file, _MOST_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{_shown(self.path)}: this is no folder of a study: it has no {PLAN_FILE}") from None
        except OSError as error:
            raise ConfigError(f"{_shown(file)}: cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{_shown(file)}: it is torn or was edited: {error}") from None
        return _understood(written, file)

    def folder(self, plan: StudyPlan, slot: Slot) -> Path:
        """Where the attempts of a slot lie."""
        return self.path / RUNS_DIR / plan.folder_of(slot)

    def begun(self) -> set[str]:
        """The names of the folders of slots that there are, in one look; none where there is nothing to look into."""
        try:
            return set(self.files.names(self.path / RUNS_DIR))
        except OSError:
            return set()

    def attempts(self, plan: StudyPlan, slot: Slot) -> dict[int, Path]:
        """The attempts at a slot, by their numbers; none where its folder cannot be looked into."""
        try:
            return attempts_in(self.folder(plan, slot), self.files)
        except OSError:
            return {}

    def found(self, plan: StudyPlan, slot: Slot) -> FoundSlot:
        """What there is of a slot; no result is read. What cannot be looked into is not there."""
        try:
            return self.seen(plan, slot)
        except OSError:
            return FoundSlot(state=SlotState.OPEN)

    def seen(self, plan: StudyPlan, slot: Slot, known: Collection[str] = ()) -> FoundSlot:
        """The same for whoever decides by it what to run.

        Args:
            plan: the plan of the study.
            slot: one of it.
            known: names of attempts that are known to be there, whether a listing has them yet or not.

        Raises:
            OSError: the folder of the slot cannot be looked into.
        """
        folder = self.folder(plan, slot)
        also = {n: folder / name for name in known if (n := attempt_number(name)) is not None}
        return _as_slot(counted(attempts_in(folder, self.files) | also, self.files))

    def new_attempt(self, plan: StudyPlan, slot: Slot) -> Path:
        """A new folder for the next attempt, which nobody else gets.

        Raises:
            OSError: it cannot be made.
        """
        folder = self.folder(plan, slot)
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(max(attempts_in(folder, self.files), default=0) + 1):
            attempt = folder / attempt_name(number)
            with contextlib.suppress(FileExistsError):
                attempt.mkdir()
                break
        # Names in a folder are on the disk when the folder is flushed: attempt, slot and runs.
        flush_files(list(attempt.parents)[:3])
        return attempt


def digest_in(path: Path) -> str | None:
    """The digest of the plan in a folder, of which no more is read than its beginning; None where there is none."""
    try:
        with open_regular(path / PLAN_FILE) as file:
            found = _DIGEST.search(file.read(_HEAD_BYTES))
    except OSError:
        return None
    return None if found is None else found[1].decode()


def mark_damaged(attempt: Path, why: str) -> None:
    """Note that an attempt that had finished does not count any more; nothing of it is taken away.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(attempt / DAMAGED_FILE, f"{why}\n")


def keep_failure(failure: ExperimentFailure, attempt: Path) -> None:
    """Leave word of why an attempt gave no result.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(attempt / FAILURE_FILE, failure.model_dump_json(indent=2) + "\n")


def kept_failure(attempt: Path) -> ExperimentFailure | None:
    """Why an attempt gave no result; None where that cannot be read."""
    try:
        return ExperimentFailure.model_validate_json(read_regular(attempt / FAILURE_FILE, _MOST_BYTES))
    except (OSError, ValidationError):
        return None


def _as_slot(there: Counted) -> FoundSlot:
    if there.finished:
        return FoundSlot(state=SlotState.FINISHED, attempt=there.attempt)
    silent = frozenset(map(attempt_name, there.silent))
    if there.n_failed:
        return FoundSlot(state=SlotState.FAILED, attempt=there.attempt, n_failed=there.n_failed, silent=silent)
    return FoundSlot(state=SlotState.OPEN, silent=silent)


def _as_text(plan: StudyPlan) -> str:
    """A plan as its file has it: a line for each configuration and each slot, in which nothing is secret."""
    head = {
        "plan_version": PLAN_VERSION,
        "digest": plan.digest,
        **_PLAN.dump_python(replace(plan, configurations=(), slots=()), mode="json"),
    }
    configurations = (
        {"hash": each.config_hash, "as_given": dict(each.as_given), "config": told_values(dict(each.values))}
        for each in plan.configurations
    )
    slots = (
        {
            "slot": each.slot,
            "hash": plan.hash_of(each),
            "configuration": each.configuration,
            "block": each.block,
            "repeat": each.repeat,
            **({"sentinel": True} if each.sentinel else {}),
        }
        for each in plan.slots
    )
    lists = {"configurations": ",\n".join(_lines(configurations)), "slots": ",\n".join(_lines(slots))}
    parts = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items() if name not in lists]
    parts += [f" {json.dumps(name)}: [\n{lines}\n ]" for name, lines in lists.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(values: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    return (f"  {json.dumps(value)}" for value in values)


def _understood(written: Any, file: Path) -> StudyPlan:
    version = written.get("plan_version") if isinstance(written, dict) else None
    if version != PLAN_VERSION:
        raise ConfigError(
            f"{_shown(file)}: its plan_version is {version!r}, and this version reads {PLAN_VERSION}; use the version "
            "of llenergymeasure that wrote it, or start a new study"
        )
    try:
        configurations = [
            {"values": each["config"], "config_hash": each["hash"], "as_given": each["as_given"]}
            for each in written.pop("configurations")
        ]
        hashes = [each.pop("hash") for each in written["slots"]]
        del written["plan_version"]
        digest = written.pop("digest")
        plan = _PLAN.validate_python({**written, "created": datetime.fromisoformat(written["created"]),
                                      "configurations": configurations})  # fmt: skip
        wrong = next((s.slot for s, kept in zip(plan.slots, hashes, strict=True) if plan.hash_of(s) != kept), None)
    except ConfigError as error:
        raise ConfigError(f"{_shown(file)}: {error}") from None
    except (ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{_shown(file)}: it is no plan of a study: {error!s:.300}") from None
    if wrong is None and plan.digest != digest:
        raise ConfigError(f"{_shown(file)}: its slots are others than those that were planned: it was edited")
    if wrong is not None:
        raise ConfigError(f"{_shown(file)}: slot {wrong} has another hash than its configuration")
    return plan


def _shown(path: Path) -> str:
    return in_a_line(str(path))
