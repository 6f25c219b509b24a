"""One small file for each finished run of a study, so that nobody has to read its results to sum them up.

What is in ``runs/`` is the truth: a row that is missing, torn or of another attempt is made again from the result.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.domain.study.summary import ClockOffset
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.attempts import FAILURE_FILE
from llenergymeasure.results.persistence import MOST_BYTES, RESULT_FILE, as_written, result_of
from llenergymeasure.results.rows.columns import FIGURES, SETTINGS, Value
from llenergymeasure.results.rows.extraction import NoResultError, row_in
from llenergymeasure.results.study.circumstances import NEEDED, Circumstances, circumstances_of
from llenergymeasure.results.study.compact import Shapes
from llenergymeasure.results.study.directory import EVENTS_DIR, SlotState, StudyDirectory, kept_failure
from llenergymeasure.results.study.events import clocks_apart
from llenergymeasure.results.sums import DONE_FILE, Sums

_T = TypeVar("_T")

ROWS_DIR = "rows"
# Counts up when something in a row gets another meaning; a row of another version is made again.
ROW_VERSION = 5
_COLUMNS = frozenset(column.name for column in (*SETTINGS, *FIGURES))
# A row has some ten kilobytes.
_MOST_BYTES = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotRow:
    """What is kept of a finished run.

    ``values`` are the columns of ``llem results`` by name, without its settings, which the plan has.
    ``circumstances`` are what else decides whether figures of two runs are the same thing. ``done`` is the SHA-256 of
    the ``DONE`` of ``attempt``, which has the sums of its files, and ``files`` their sizes in bytes; of a run that lies
    in no folder there are none.
    """

    slot: int
    configuration: int
    block: int
    repeat: int
    config_hash: str
    values: Mapping[str, Value]
    circumstances: Circumstances
    attempt: str = ""
    done: str = ""
    files: Mapping[str, int] = field(default_factory=dict)
    row_version: int = ROW_VERSION


@dataclass(frozen=True, kw_only=True)
class StudyRows:
    """What there is of a study, by slots.

    ``failures`` are the slots whose attempts all failed, with the folder of the last one where there is one.
    ``problems`` say of which finished slots there is no row, and why. ``clocks`` is how far those of the workers were
    apart.
    """

    rows: Mapping[int, SlotRow] = field(default_factory=dict)
    failures: Mapping[int, tuple[ExperimentFailure, Path | None]] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict)
    clocks: ClockOffset | None = None


class RunValue(float):
    """A figure of a run that knows its run, so that those of unlike runs can be kept apart."""

    run: SlotRow

    def __new__(cls, value: float, run: SlotRow) -> Self:
        """A figure of a run."""
        own = super().__new__(cls, value)
        own.run = run
        return own


_ROW = TypeAdapter(SlotRow)
_NO_FILES: Mapping[str, int] = {}


def row_file(directory: StudyDirectory, slot: Slot) -> Path:
    """Where the row of a slot lies."""
    return directory.path / ROWS_DIR / f"{slot.slot:04d}.json"


def forget_row(directory: StudyDirectory, slot: Slot) -> None:
    """Remove the row of a slot whose attempt counts no more, so that nobody goes by it."""
    with contextlib.suppress(OSError):
        row_file(directory, slot).unlink(missing_ok=True)


def slots_with_rows(directory: StudyDirectory) -> set[int]:
    """The slots that have a row, which is left when one has finished; in one look, which reads none of them."""
    try:
        names = directory.files.names(directory.path / ROWS_DIR)
    except OSError:
        return set()
    return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal()}


def leave_row(directory: StudyDirectory, plan: StudyPlan, slot: Slot) -> SlotRow:
    """Write the row of a slot that has finished.

    Raises:
        ConfigError: it has not finished, or its result is not the one that was written.
        OSError: the row cannot be written.
    """
    found = directory.found(plan, slot)
    if found.state is not SlotState.FINISHED or found.attempt is None:
        raise ConfigError(f"slot {slot.slot} has not finished, so there is no row of it")
    row = _made(found.attempt, plan, slot)
    _write(row, row_file(directory, slot))
    return row


def row_of_attempt(directory: StudyDirectory, plan: StudyPlan, slot: Slot, attempt: Path) -> SlotRow:
    """The row of an attempt that has finished; one that is missing, torn or of another attempt is made again.

    Raises:
        ConfigError: the result cannot be read, or is not the one that was written.
    """
    file = row_file(directory, slot)
    kept = _kept(file)
    if kept is not None and _is_of(kept, attempt, plan, slot):
        return kept
    row = _made(attempt, plan, slot)
    # It is made again the next time.
    with contextlib.suppress(OSError):
        _write(row, file)
    return row


def value_in(directory: StudyDirectory, plan: StudyPlan, slot: Slot, metric: str) -> RunValue | None:
    """A metric of a run that has finished, such as ``tokens_per_second``; None where there is none of it yet."""
    found = directory.found(plan, slot)
    if found.state is not SlotState.FINISHED or found.attempt is None:
        return None
    row = _kept(row_file(directory, slot))
    if row is None or not _is_of(row, found.attempt, plan, slot):
        try:
            row = _made(found.attempt, plan, slot)
        except ConfigError:
            return None
    value = row.values.get(metric)
    return RunValue(value, row) if isinstance(value, (int, float)) else None


def row_of_result(result: ExperimentResult, plan: StudyPlan, slot: Slot) -> SlotRow:
    """The row of a run that lies in no folder.

    Raises:
        ConfigError: it is no result that a table can have.
    """
    return _row(as_written(result).encode(), result, plan, slot)


def is_whole(attempt: Path, row: SlotRow) -> bool:
    """Whether every file of an attempt is there with its size; no file is read, and no sum is made."""
    if attempt.name != row.attempt or DONE_FILE not in row.files:
        return False
    for name, n_bytes in row.files.items():
        try:
            if (attempt / name).stat().st_size != n_bytes:
                return False
        except OSError:
            return False
    return True


def rows(directory: StudyDirectory, plan: StudyPlan) -> StudyRows:
    """What there is of a whole study; rows that are missing or of another attempt are made again."""
    return RowReader(directory, plan).read()


def with_those_kept_here(
    found: StudyRows,
    plan: StudyPlan,
    results: Mapping[int, ExperimentResult],
    failures: Mapping[int, ExperimentFailure],
) -> StudyRows:
    """The same with runs that lie in no folder, by their slots, which count before what lies there."""
    own: dict[int, SlotRow] = {}
    problems = dict(found.problems)
    for number, result in results.items():
        try:
            own[number] = row_of_result(result, plan, plan.slots[number])
        except ConfigError as error:
            problems[number] = str(error)
    known = own.keys() | failures.keys()
    return StudyRows(
        rows={number: row for number, row in found.rows.items() if number not in known} | own,
        failures={number: told for number, told in found.failures.items() if number not in known}
        | {number: (failure, None) for number, failure in failures.items() if number not in own},
        problems={number: why for number, why in problems.items() if number not in known},
        clocks=found.clocks,
    )


class RowReader:
    """Reads rows as they come; of a run that has finished once, its row is not looked for again."""

    def __init__(self, directory: StudyDirectory, plan: StudyPlan, *, only_needed: bool = False) -> None:
        """Begin with nothing read.

        Args:
            directory: the folder of the study.
            plan: what it is.
            only_needed: keep no more of each row than a summary takes, for whoever reads on for days.
        """
        self._directory, self._plan, self._only_needed = directory, plan, only_needed
        self._rows: dict[int, SlotRow] = {}
        # What is alike in thousands of rows is kept once.
        self._alike: dict[str, Any] = {}
        self._shapes = Shapes()

    def read(self) -> StudyRows:
        """What there is by now."""
        failures: dict[int, tuple[ExperimentFailure, Path | None]] = {}
        problems: dict[int, str] = {}
        begun = self._directory.begun()
        for slot in self._plan.slots:
            if slot.slot in self._rows or self._plan.folder_of(slot) not in begun:
                continue
            found = self._directory.found(self._plan, slot)
            if found.attempt is None:
                continue
            if found.state is SlotState.FAILED:
                failures[slot.slot] = (self._failure(slot, found.attempt), found.attempt)
                continue
            try:
                row = row_of_attempt(self._directory, self._plan, slot, found.attempt)
                self._rows[slot.slot] = self._in_short(row, slot) if self._only_needed else row
            except ConfigError as error:
                problems[slot.slot] = str(error)
        return StudyRows(
            rows={number: self._rows[number] for number in sorted(self._rows)},
            failures=failures,
            problems=problems,
            clocks=clocks_apart(self._directory.path / EVENTS_DIR),
        )

    def _in_short(self, row: SlotRow, slot: Slot) -> SlotRow:
        behind = row.circumstances
        return SlotRow(
            # The plan has these numbers and texts already.
            slot=slot.slot,
            configuration=slot.configuration,
            block=slot.block,
            repeat=slot.repeat,
            config_hash=self._plan.hash_of(slot),
            values=self._shapes.compact({name: row.values[name] for name in NEEDED}),
            circumstances=Circumstances(
                sensors=self._once(behind.sensors),
                scopes=self._once(behind.scopes),
                devices=self._once(behind.devices),
                definitions=self._once(behind.definitions),
                counted_by=self._once(behind.counted_by),
                bounds_pct=cast("Mapping[str, float]", self._shapes.compact(behind.bounds_pct)),
                weights=self._once(behind.weights),
                prompts=sys.intern(behind.prompts),
                inputs=sys.intern(behind.inputs),
                engine=sys.intern(behind.engine),
                driver=sys.intern(behind.driver),
                cards=sys.intern(behind.cards),
                gpu_uuids=self._once(behind.gpu_uuids),
                host=sys.intern(behind.host),
                boot_id=sys.intern(behind.boot_id),
            ),
            attempt=sys.intern(row.attempt),
            done=row.done,
            files=_NO_FILES,
        )

    def _once(self, known: _T) -> _T:
        # What is written alike is of one kind, and equal.
        return cast("_T", self._alike.setdefault(repr(known), known))

    def _failure(self, slot: Slot, attempt: Path) -> ExperimentFailure:
        known = kept_failure(attempt)
        if known is not None:
            return known
        values, config_hash = self._plan.configurations[slot.configuration].values, self._plan.hash_of(slot)
        return ExperimentFailure(
            slot=slot.slot, name=str(values.get("name") or config_hash), measurement_config_hash=config_hash,
            error_type="unknown", message=f"{FAILURE_FILE} cannot be read",
        )  # fmt: skip


def _kept(file: Path) -> SlotRow | None:
    """The row that a file has; None where it has none."""
    try:
        row = _ROW.validate_python(
            from_json(read_regular(file, _MOST_BYTES), allow_inf_nan=False, cache_strings="keys")
        )
    except (OSError, ValueError, ValidationError):
        return None
    return row if row.row_version == ROW_VERSION and row.values.keys() == _COLUMNS else None


def _is_of(row: SlotRow, attempt: Path, plan: StudyPlan, slot: Slot) -> bool:
    place = (row.slot, row.configuration, row.block, row.repeat, row.config_hash)
    if place != (slot.slot, slot.configuration, slot.block, slot.repeat, plan.hash_of(slot)):
        return False
    try:
        return row.attempt == attempt.name and row.done == _digest(attempt / DONE_FILE)
    except OSError:
        return False


def _made(attempt: Path, plan: StudyPlan, slot: Slot) -> SlotRow:
    """The row of an attempt, from its result.

    Raises:
        ConfigError: the result cannot be read, or is not the one that was written.
    """
    file, done = attempt / RESULT_FILE, attempt / DONE_FILE
    try:
        content, digest, sums = read_regular(file, MOST_BYTES), _digest(done), Sums.beside(file)
        problem = f"{file}: there is no {DONE_FILE} beside it" if sums is None else sums.problem_with(file, content)
        if problem is not None:
            raise ConfigError(in_a_line(problem))
        names = json.loads(read_regular(done, MOST_BYTES))
        files = {name: (attempt / name).stat().st_size for name in (*names, DONE_FILE)}
    except OSError as error:
        raise ConfigError(in_a_line(f"{error.filename or file}: cannot be read: {error.strerror or error}")) from None
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(in_a_line(f"{done}: it is torn or was edited")) from None
    row = _row(content, result_of(content, file, sums), plan, slot)
    return replace(row, attempt=attempt.name, done=digest, files=files)


def _row(content: bytes, result: ExperimentResult, plan: StudyPlan, slot: Slot) -> SlotRow:
    config_hash = plan.hash_of(slot)
    if result.measurement_config_hash != config_hash:
        raise ConfigError(f"slot {slot.slot} is to run {config_hash}, and its result is of "
                          f"{result.measurement_config_hash}")  # fmt: skip
    try:
        values = row_in(content, None).values
    except NoResultError as error:
        raise ConfigError(in_a_line(f"slot {slot.slot}: {error}")) from None
    return SlotRow(
        slot=slot.slot,
        configuration=slot.configuration,
        block=slot.block,
        repeat=slot.repeat,
        config_hash=config_hash,
        values=values,
        circumstances=circumstances_of(result),
    )


def _write(row: SlotRow, file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    # What is lost with the power is made again.
    write_atomically(file, json.dumps(asdict(row), sort_keys=True) + "\n", durable=False)


def _digest(file: Path) -> str:
    return hashlib.sha256(read_regular(file, MOST_BYTES)).hexdigest()
