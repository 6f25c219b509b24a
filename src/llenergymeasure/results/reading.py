"""The one reader of saved results: folders, folders of studies, files and patterns, each result once.

What cannot be used is told and passed over, so that one torn file does not cost a table of thousands; nothing is held
but the result that is being read and what tells it from others.
"""

import glob
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llenergymeasure._files import read_regular
from llenergymeasure._paths import expanded, unnameable
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.attempts import DAMAGED_FILE, FAILURE_FILE, attempt_number, to_be_read
from llenergymeasure.results.persistence import MOST_BYTES, RESULT_FILE, UNFINISHED_FILE, result_of
from llenergymeasure.results.rows.extraction import NoResultError, ResultRow, row_in
from llenergymeasure.results.sums import DONE_FILE, Sums

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_MOST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was passed over, and why.

    ``damaged`` is a result that is there and cannot be used; otherwise there is none, as of an experiment that
    ``failed`` and left word of it.
    """

    path: Path
    reason: str
    damaged: bool
    failed: bool = False

    def __str__(self) -> str:
        return f"{in_a_line(str(self.path))}: {in_a_line(self.reason)}"


OnSkipped = Callable[[Skipped], None]


def refuse_damaged(skipped: Skipped) -> None:
    """What is done with what cannot be used unless somebody says otherwise; what gave no result is a line in the log.

    Raises:
        ConfigError: it is a result that is damaged.
    """
    if skipped.damaged:
        raise config_error(f"result {skipped}")
    _log.warning("passed over: %s", skipped)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A ``result.json``; of a study's attempt nothing is believed that ``DONE`` has no sum of.

    ``key`` is the same of two names of one file.
    """

    file: str
    sums_needed: bool
    key: str


def files_in(paths: Iterable[str | Path] | str | Path, on_skipped: OnSkipped = refuse_damaged) -> Iterator[ResultFile]:
    """The files that ``results_in`` reads, each once, of which none is read.

    Raises:
        ConfigError: as ``results_in``.
    """
    seen: set[str] = set()
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        n_found = 0
        for found in _found_at(path):
            n_found += 1
            if isinstance(found, Skipped):
                on_skipped(found)
                continue
            try:
                status = os.stat(found.file)  # noqa: PTH116 - thousands of them
            except OSError as error:
                on_skipped(_unreadable(found.file, error))
                continue
            key = f"{status.st_dev}:{status.st_ino}"
            if key not in seen:
                seen.add(key)
                yield ResultFile(found.file, found.sums_needed, key)
        if not n_found:
            raise config_error(
                f"{path}: there is no result in it; name the folder of a run or a study, or one above it"
            )


def results_in(
    paths: Iterable[str | Path] | str | Path, on_skipped: OnSkipped = refuse_damaged
) -> Iterator[ExperimentResult]:
    """Every result below some paths, once, in the order of the paths and of the names in them.

    Args:
        paths: files, folders of results or of studies, folders with such in them, or patterns such as ``out/*-bf16_*``.
            Links to folders are not followed unless they are named, and hidden folders are not looked into.
        on_skipped: is told of each thing that cannot be used; without one a damaged result is an error.

    Raises:
        ConfigError: a path is not there, or has no result below it; a result is damaged and nobody wants to be told.
    """
    return results_of(files_in(paths, on_skipped), on_skipped)


def results_of(files: Iterable[ResultFile], on_skipped: OnSkipped = refuse_damaged) -> Iterator[ExperimentResult]:
    """The results in files that were found; each is read when it is asked for.

    Raises:
        ConfigError: one is damaged and nobody wants to be told.
    """

    def whole(content: bytes, sums: Sums | None, file: str) -> ExperimentResult:
        try:
            return result_of(content, Path(file), sums)
        except ConfigError as error:
            raise NoResultError(str(error).removeprefix(f"result {in_a_line(str(file))}: ")) from None

    return _read(files, whole, on_skipped)


def rows_in(paths: Iterable[str | Path] | str | Path, on_skipped: OnSkipped = refuse_damaged) -> Iterator[ResultRow]:
    """The same as rows of a table, which takes about twice as long as reading their JSON and not ten times.

    Raises:
        ConfigError: as ``results_in``.
    """

    def row(content: bytes, sums: Sums | None, file: str) -> ResultRow:
        # What was held against its sum has that one; of thousands of results each takes its time.
        digest = hashlib.sha256(content).hexdigest() if sums is None else sums.of(Path(file))
        return row_in(content, os.path.dirname(file) or ".", digest)  # noqa: PTH120 - thousands of them

    return _read(files_in(paths, on_skipped), row, on_skipped)


def _read(
    files: Iterable[ResultFile], understood: Callable[[bytes, Sums | None, str], _T], on_skipped: OnSkipped
) -> Iterator[_T]:
    for found in files:
        try:
            result = understood(*_content(found), found.file)
        except OSError as error:
            on_skipped(_unreadable(found.file, error))
        except NoResultError as error:
            on_skipped(Skipped(Path(found.file), str(error), damaged=True))
        else:
            yield result


def _unreadable(file: str, error: OSError) -> Skipped:
    return Skipped(Path(file), f"cannot be read: {error.strerror or error}", damaged=True)


@dataclass(frozen=True, slots=True)
class _Found:
    """What ``ResultFile`` is, before it is looked at."""

    file: str
    sums_needed: bool


def _content(found: ResultFile) -> tuple[bytes, Sums | None]:
    """What a ``result.json`` has in it, held against the sum in ``DONE`` where there is one, and what that has.

    Raises:
        NoResultError: the sum is another one, or misses.
        OSError: it cannot be read.
    """
    file = Path(found.file)
    content = read_regular(file, MOST_BYTES)
    sums = Sums.beside(file)
    if sums is None:
        if found.sums_needed:
            raise NoResultError(f"there is no {DONE_FILE} with its sum beside it, so it was not finished")
        return content, None
    problem = sums.problem_with(file, content)
    if problem is not None:
        raise NoResultError(problem.removeprefix(in_a_line(f"{file}: ")))
    return content, sums


def _found_at(path: str | Path) -> Iterator[_Found | Skipped]:
    """Results at one path, and what is none."""
    problem = unnameable(str(path))
    if problem is not None:
        raise config_error(f"result {str(path)[:_MOST_SHOWN]}: {problem}")
    given = expanded(path)
    if os.path.lexists(given):
        yield from _at(str(given))
        return
    # Sorted, so that the same pattern gives the same order everywhere.
    matches = sorted(glob.glob(str(given), recursive=True)) if glob.has_magic(str(given)) else []  # noqa: PTH207
    if not matches:
        raise config_error(f"{path}: there is no such file or folder")
    for match in matches:
        yield from _at(match)


def _at(path: str) -> Iterator[_Found | Skipped]:
    """Results in a file, or in a folder and all below it, by name; without recursion, for folders may be very deep."""
    if not os.path.isdir(path):  # noqa: PTH112 - as above
        yield _Found(path, sums_needed=False)
        return
    stack = [path]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as scanned:
                entries = {entry.name: entry for entry in scanned}
        except OSError as error:
            yield Skipped(Path(folder), f"cannot be looked into: {error.strerror or error}", damaged=True)
            continue
        attempt = attempt_number(os.path.basename(folder)) is not None and folder != path  # noqa: PTH119
        if attempt and DAMAGED_FILE in entries:
            yield _known_damaged(Path(folder))
        elif RESULT_FILE in entries:
            yield _Found(f"{folder}/{RESULT_FILE}", sums_needed=attempt and os.path.dirname(folder) != path)  # noqa: PTH120
        elif attempt or UNFINISHED_FILE in entries:
            yield _without_result(Path(folder), set(entries))
        else:
            attempts = {number: Path(folder, name) for name in entries if (number := attempt_number(name)) is not None}
            attempt_read = to_be_read(attempts)
            names = sorted(entries) if attempt_read is None else [attempt_read.name]
            below = [entries[name] for name in names if not name.startswith(".")]
            links = [entry for entry in below if entry.is_symlink() and entry.is_dir()]
            for link in links:
                said = "a link to a folder, which is not followed; name it"
                yield Skipped(Path(link.path), said, damaged=False)
            stack += [entry.path for entry in reversed(below) if entry.is_dir(follow_symlinks=False)]


def _known_damaged(folder: Path) -> Skipped:
    """An attempt that was found damaged when its study went on, and is run again."""
    try:
        why = read_regular(folder / DAMAGED_FILE, MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        why = str(error.strerror or error)
    said = f"it had finished and was found damaged ({why}); going on with its study runs it again"
    return Skipped(folder, said, damaged=True)


def _without_result(folder: Path, names: set[str]) -> Skipped:
    """Why an attempt gave no result."""
    if UNFINISHED_FILE in names:
        said = f"{UNFINISHED_FILE}: not all of it could be written, so there are no sums to hold it against"
        return Skipped(folder, said, damaged=False)
    if FAILURE_FILE not in names:
        return Skipped(folder, f"there is no {RESULT_FILE}: it is running, or was ended", damaged=False)
    try:
        failure = ExperimentFailure.model_validate_json(read_regular(folder / FAILURE_FILE, MOST_BYTES))
    except (OSError, ValueError):
        return Skipped(folder, f"it failed, and {FAILURE_FILE} cannot be read", damaged=True, failed=True)
    return Skipped(folder, f"it failed: {failure.error_type}: {failure.message}", damaged=False, failed=True)
