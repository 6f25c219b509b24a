"""What lies in some folders as one study: as it was planned, or as its results say where nobody planned it."""

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import PlannedConfiguration, Slot, StudyPlan
from llenergymeasure.domain.study.sentinel import is_of_a_sentinel
from llenergymeasure.domain.study.summary import StudySummary, SummaryRow
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.reading import OnSkipped, Skipped, results_in
from llenergymeasure.results.rows.extraction import ResultRow, settings_under_their_names
from llenergymeasure.results.sharing.opening import as_folder
from llenergymeasure.results.study.alike import machine_of
from llenergymeasure.results.study.directory import PLAN_FILE, STUDY_FILE, StudyDirectory
from llenergymeasure.results.study.rows import SlotRow, StudyRows, row_of_result, rows
from llenergymeasure.results.study.saying import FolderOf, folders_in
from llenergymeasure.results.study.summary import Summing


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a report is of.

    ``given`` are the paths as somebody named them. ``is_planned`` says whether there is the plan of a study behind it;
    otherwise ``plan`` is made up of results that are there, and nothing in it is paired. ``folder_of`` knows where the
    files of a run lie.
    """

    title: str
    given: tuple[Path, ...]
    plan: StudyPlan
    is_planned: bool
    found: StudyRows
    summary: StudySummary
    folder_of: FolderOf

    @functools.cached_property
    def _sides(self) -> dict[tuple[int, str | None], list[SlotRow]]:
        sides: dict[tuple[int, str | None], list[SlotRow]] = {}
        for number in sorted(self.found.rows):
            run = self.found.rows[number]
            sides.setdefault((run.configuration, machine_of(run)), []).append(run)
        return sides

    def runs_of(self, row: SummaryRow) -> list[SlotRow]:
        """The runs behind a row of the summary, in the order in which they were run."""
        return self._sides.get((row.configuration, row.machine), [])

    @property
    def runs(self) -> list[tuple[SummaryRow, SlotRow]]:
        """Every run with its row; runs of the sentinel have none."""
        return [(row, run) for row in self.summary.rows for run in self.runs_of(row)]

    def in_turns(self, most: int) -> list[tuple[SummaryRow, SlotRow]]:
        """So many runs at most: the first of each row, then the second of each, and so on."""
        turns = [(turn, row, run) for row in self.summary.rows for turn, run in enumerate(self.runs_of(row))]
        turns.sort(key=lambda each: (each[0], each[1].number))
        return [(row, run) for _, row, run in turns[:most]]

    def as_table(self) -> Iterator[ResultRow]:
        """Every run as a row of a table of results."""
        for _, run in self.runs:
            settings = settings_under_their_names(self.plan.configurations[run.configuration].values)
            folder = self.folder_of(run)
            yield ResultRow(dict(run.values), settings, None if folder is None else str(folder))


@contextlib.contextmanager
def gathered(paths: Sequence[Path], on_skipped: OnSkipped) -> Iterator[Gathered]:
    """What there is in folders of results or studies, or in archives, for as long as these are open.

    A single study is what it was planned as. Anything else is put together by configuration and kind of machine.

    Args:
        paths: as for ``llem results``.
        on_skipped: is told of each thing that cannot be used.

    Raises:
        ConfigError: a path is not there, or there is no result in all of them; the plan of a study is damaged.
    """
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(as_folder(path)) for path in paths]
        if len(places) == 1 and _is_study(places[0]):
            yield _planned(places[0], tuple(paths))
        else:
            yield _together(places, tuple(paths), on_skipped)


def _is_study(path: Path) -> bool:
    # Of what is no path this is false.
    return all(os.path.isfile(path / name) for name in (PLAN_FILE, STUDY_FILE))  # noqa: PTH113


def _planned(place: Path, given: tuple[Path, ...]) -> Gathered:
    directory = StudyDirectory(place)
    plan = directory.plan()
    found, folder_of = rows(directory, plan), folders_in(directory, plan)
    summary = Summing(plan, folder_of=folder_of).of(found)
    if not any(row.n_finished for row in summary.rows):
        raise config_error(f"{given[0]}: no experiment of this study has a result")
    return Gathered(
        title=plan.name,
        given=given,
        plan=plan,
        is_planned=True,
        found=found,
        summary=summary,
        folder_of=folder_of,
    )


def _together(places: Sequence[Path], given: tuple[Path, ...], on_skipped: OnSkipped) -> Gathered:
    made = _MadeUp(on_skipped)
    for result in results_in(places, on_skipped):
        made.add(result)
    if not made.rows:
        named = ", ".join(map(str, given))
        raise config_error(f"{named}: there is no result in it that can be used")
    plan, found = made.plan(_title(given)), StudyRows(rows=made.rows)

    def folder_of(run: SlotRow) -> Path | None:
        return made.folders.get(run.slot)

    return Gathered(
        title=plan.name,
        given=given,
        plan=plan,
        is_planned=False,
        found=found,
        summary=Summing(plan, folder_of=folder_of).of(found),
        folder_of=folder_of,
    )


def _title(given: Iterable[Path]) -> str:
    return ", ".join(path.name or str(path) for path in given)


class _MadeUp:
    """A study of results that nobody planned as one; of a result no more is kept than its row."""

    def __init__(self, on_skipped: OnSkipped) -> None:
        self.rows: dict[int, SlotRow] = {}
        self.folders: dict[int, Path] = {}
        self._on_skipped = on_skipped
        self._configurations: dict[str, dict[str, Any]] = {}
        self._places: dict[str, int] = {}
        self._slots: list[Slot] = []
        self._n_runs: Counter[str] = Counter()
        self._seen: dict[str, Path] = {}

    def add(self, result: ExperimentResult) -> None:
        """Take in a result, unless it is there already or of a sentinel, which is in no table."""
        folder = result.folder or Path()
        why = None
        if is_of_a_sentinel(result):
            why = "a run of the sentinel of a study, which is in no comparison"
        elif result.experiment_id in self._seen:
            why = f"it has the experiment id of {self._seen[result.experiment_id]}, which counts"
        if why is not None:
            self._on_skipped(Skipped(folder, why, damaged=False))
            return
        self._seen[result.experiment_id] = folder
        config_hash, number = result.measurement_config_hash, len(self._slots)
        configuration = self._places.get(config_hash, len(self._places))
        repeat = self._n_runs[config_hash]
        slot = Slot(slot=number, configuration=configuration, block=0, repeat=repeat)
        try:
            row = row_of_result(result, self._of_one(result), replace(slot, configuration=0))
        except ConfigError as error:
            self._on_skipped(Skipped(folder, str(error), damaged=True))
            return
        self._places.setdefault(config_hash, configuration)
        self._configurations.setdefault(config_hash, result.effective_config)
        self._n_runs[config_hash] += 1
        self._slots.append(slot)
        self.rows[number] = replace(row, configuration=configuration)
        self.folders[number] = folder

    def plan(self, name: str) -> StudyPlan:
        """The plan that would have given these."""
        return _plan(name, self._configurations, self._slots)

    def _of_one(self, result: ExperimentResult) -> StudyPlan:
        return _plan("", {result.measurement_config_hash: result.effective_config}, ())


def _plan(name: str, configurations: dict[str, dict[str, Any]], slots: Sequence[Slot]) -> StudyPlan:
    return StudyPlan(
        study_id="",
        name=name,
        created=datetime(1970, 1, 1, tzinfo=UTC),
        tool_version="",
        order="shuffled",
        seed=0,
        execution=StudyExecutionConfig(),
        configurations=tuple(
            PlannedConfiguration(values=values, config_hash=config_hash)
            for config_hash, values in configurations.items()
        ),
        slots=tuple(slots),
    )
