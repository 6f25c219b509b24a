"""Where results lie below a folder, and what of a study is not there: nothing is passed over without a line."""

import os
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure.results.verification.bundle import DONE, RESULT, STATE, Bundle, as_json
from llenergymeasure.results.verification.findings import Report

_PLAN, _STUDY, _RUNS, _FAILURE = "plan.json", "study.yaml", "runs", "failure.json"
_ATTEMPT = re.compile(r"attempt-\d+")


@dataclass
class Places:
    """Folders of results, by name, and what is to be said of the folder in which they lie."""

    report: Report
    results: list[Path] = field(default_factory=list)
    # Attempts that have none.
    without: list[Path] = field(default_factory=list)


def places_of(path: Path) -> Places:
    """The results that a path means: its own, that of a file, or all that lie below it.

    Links are told and not followed. Where nothing looks like a result there are none.
    """
    places = Places(Report(path))
    if path.name == RESULT and not path.is_dir():
        places.results.append(path.parent)
    elif not path.is_dir() or {RESULT, DONE} & set(_names_in(path)):
        places.results.append(path)
    else:
        _walk(path, places)
    return places


def _walk(top: Path, places: Places) -> None:
    report, results = places.report, set[Path]()

    def told(error: OSError) -> None:
        place = Path(error.filename)
        # What lies in a result is for its own report to say.
        if not _lies_in(place, results):
            report.damaged(_called(place, top), f"it cannot be looked into: {error.strerror or error}")

    studies = []
    for place, folders, names in os.walk(top, followlinks=False, onerror=told):
        folder = Path(place)
        if _PLAN in names and (_RUNS in folders or _STUDY in names):
            studies.append(folder)
        if not _lies_in(folder, results):
            _look_at(folder, folders, names, places)
            results.update(places.results[-1:])
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    for study in studies:
        with report.part(_called(study / _PLAN, top)):
            _check_slots(study, places)


def _look_at(folder: Path, folders: Sequence[str], names: Sequence[str], places: Places) -> None:
    """Whether a folder is that of a result, and what in it is a link."""
    top = places.report.folder
    if {RESULT, DONE} & {*folders, *names}:
        places.results.append(folder)
        return
    if _FAILURE in names:
        places.without.append(folder)
        places.report.unverifiable(_called(folder, top), "it failed, and there is no result")
    elif STATE in folders and any(name.endswith(".done") for name in _names_in(folder / STATE)):
        places.results.append(folder)
        return
    elif (STATE in folders or _ATTEMPT.fullmatch(folder.name)) and folder != top:
        places.without.append(folder)
        places.report.unverifiable(_called(folder, top), f"there is no result: {_WHY}")
    for name in sorted([*folders, *names]):
        path = folder / name
        # A link to a file is none of a result's.
        if not name.startswith(".") and os.path.islink(path) and not os.path.isfile(path):  # noqa: PTH113, PTH114
            places.report.damaged(_called(path, top), "it is a link, which is not followed: results may lie behind it")


_WHY = "it is still running, was ended, or somebody has taken the result away"


def _check_slots(study: Path, places: Places) -> None:
    """Hold the slots of a study against its plan."""
    top, runs = places.report.folder, study / _RUNS
    slots = as_json(Bundle(study, {_PLAN: study / _PLAN}), _PLAN)["slots"]
    planned = [f"{slot['slot']:04d}-{slot['hash']}" for slot in slots]
    attempts = (folder for folder in [*places.results, *places.without] if folder.is_relative_to(runs))
    there = {folder.relative_to(runs).parts[0] for folder in attempts if folder != runs}
    for name in planned:
        if name not in there:
            places.report.unverifiable(_called(runs / name, top), f"{_PLAN} has it, and there is no result: {_WHY}")
    for name in sorted(there.difference(planned)):
        places.report.add("differs", _called(runs / name, top), f"{_PLAN} has no such slot")


def _names_in(folder: Path) -> Iterator[str]:
    try:
        yield from os.listdir(folder)  # noqa: PTH208 - names, also of what cannot be looked at
    except OSError:
        # Whoever looks into it next says so.
        return


def _lies_in(place: Path, results: Set[Path]) -> bool:
    return not results.isdisjoint([place, *place.parents])


def _called(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix()
