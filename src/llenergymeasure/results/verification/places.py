"""Where results lie below a folder, and what of a study is not there: nothing is passed over without a line."""

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure.results.verification.bundle import DONE, RESULT, STATE
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.slots import (
    PLAN,
    RUNS,
    Attempts,
    check_names,
    check_slots,
    is_attempt,
    is_run_again,
)

_STUDY, _FAILURE, _UNFINISHED = "study.yaml", "failure.json", "result.unfinished.json"
_DAMAGED = "DAMAGED"


@dataclass
class Places:
    """Folders of results, by name, and what is to be said of the folder in which they lie."""

    report: Report
    results: list[Path] = field(default_factory=list)
    # Attempts that have none, and those of them that say why.
    without: list[Path] = field(default_factory=list)
    explained: list[Path] = field(default_factory=list)


def places_of(path: Path) -> Places:
    """The results that a path means: its own, that of a file, or all that lie below it.

    Links are told and not followed. Where nothing looks like a result there are none.
    """
    is_file = path.name == RESULT and not path.is_dir()
    places = Places(Report(path.parent if is_file else path))
    if is_file:
        places.results.append(path.parent)
    elif not path.is_dir() or {RESULT, DONE} & set(_names_in(path)):
        places.results.append(path)
    else:
        _walk(path, places)
    check_names(places.results, places.report)
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
        if PLAN in names and (RUNS in folders or _STUDY in names):
            studies.append(folder)
        if not _lies_in(folder, results):
            _look_at(folder, folders, names, places)
            results.update(places.results[-1:])
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    for study in studies:
        with report.part(_called(study / PLAN, top)):
            check_slots(study, Attempts(places.results, places.without, places.explained), report)


def _look_at(folder: Path, folders: Sequence[str], names: Sequence[str], places: Places) -> None:
    """Whether a folder is that of a result, and what in it is a link."""
    top = places.report.folder
    if _DAMAGED in names and is_run_again(folder):
        places.without.append(folder)
        places.explained.append(folder)
        places.report.unverifiable(_called(folder, top), _RUN_AGAIN)
        return
    if {RESULT, DONE} & {*folders, *names}:
        places.results.append(folder)
        return
    why = next((why for name, why in _EXPLAINED.items() if name in names), None)
    if why is not None:
        places.without.append(folder)
        places.explained.append(folder)
        places.report.unverifiable(_called(folder, top), why)
    elif STATE in folders and any(name.endswith(".done") for name in _names_in(folder / STATE)):
        places.results.append(folder)
        return
    elif is_attempt(folder) and not [*folders, *names]:
        places.without.append(folder)
        places.explained.append(folder)
        places.report.damaged(_called(folder, top), _EMPTY)
    elif (STATE in folders or is_attempt(folder)) and folder != top:
        places.without.append(folder)
        places.report.unverifiable(_called(folder, top), f"there is no result: {_WHY}")
    for name in sorted([*folders, *names]):
        path = folder / name
        # A link to a file is none of a result's.
        if not name.startswith(".") and os.path.islink(path) and not os.path.isfile(path):  # noqa: PTH113, PTH114
            places.report.damaged(_called(path, top), "it is a link, which is not followed: results may lie behind it")


_EXPLAINED = {
    _FAILURE: "it failed, and there is no result",
    _UNFINISHED: f"{_UNFINISHED}: not all of it could be written, so there is nothing to hold it against",
}
_RUN_AGAIN = f"{_DAMAGED}: it was found damaged when its study went on, and run again in a later attempt"
_EMPTY = "it is empty, and what begins there leaves a log at once, so its files were taken away"
_WHY = "it is still running, was ended, or somebody has taken the result away"


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
