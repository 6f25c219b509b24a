"""Results as CSV, a row per experiment, written as they arrive."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure._files import write_atomically
from llenergymeasure._paths import expanded
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.rows.extraction import NoResultError, row_of, setting_columns
from llenergymeasure.results.rows.frames import csv_lines
from llenergymeasure.results.rows.table import ResultTable, columns_with


def export_csv(results: Sequence[ExperimentResult], path: Path) -> Path:
    """Write [n] results with every column of ``llem results``; an absent value is an empty cell.

    A text that a spreadsheet would take for a formula begins with a single quote.

    Raises:
        FileExistsError: the file is there already.
        OSError: it cannot be written.
    """
    path = expanded(path)
    names = columns_with(setting_columns([result.effective_config for result in results]))
    if path.exists():
        raise FileExistsError(f"{path} exists and is not overwritten")
    write_atomically(path, csv_lines([names]) + "".join(_line(result, names) for result in results))
    return path


class ArrivingCsv:
    """The same file, which has each result as soon as there is one: what a study had finished when it is killed.

    Its columns are those of the settings that differ in the plan. A row that could not be written is written before the
    next one; ``problem`` says what was not written in the end.
    """

    def __init__(self, path: Path):
        """Take a path; the file is made when the first result is there."""
        self.path = expanded(path)
        self._names = columns_with([])
        self._waiting: list[str] = []
        self._left_out: list[str] = []
        self._n_bytes = -1
        self.problem: str | None = None

    def planned(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """What the results to come are of, as their ``effective_config`` will be."""
        self._names = columns_with(setting_columns(configs))

    def finished(self, result: ExperimentResult) -> None:
        """Write a row, so that the disk has it; what cannot be written is for ``problem``, and raises nothing."""
        try:
            self._waiting.append(_line(result, self._names))
        except NoResultError as error:
            # Of an engine from elsewhere, whose result cannot be read either.
            self._left_out.append(f"{result.name} is not in it: {error}")
        self._write()

    def close(self) -> None:
        """Make the file where no result came, and try once more where something could not be written."""
        if self._waiting or self._n_bytes < 0:
            self._write()
        self.problem = self.problem or "; ".join(self._left_out) or None

    def _write(self) -> None:
        # One that is there is never overwritten, and what was begun here only goes on.
        is_new = self._n_bytes < 0
        lines = "".join([*([csv_lines([self._names])] if is_new else []), *self._waiting]).encode()
        flags = os.O_WRONLY | (os.O_CREAT | os.O_EXCL if is_new else os.O_APPEND)
        try:
            descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            self.problem = error.strerror or str(error)
            return
        try:
            _append_whole(descriptor, lines, max(self._n_bytes, 0))
        except OSError as error:
            self.problem = error.strerror or str(error)
            if is_new:
                self.path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)
        self.problem = None
        self._waiting.clear()
        self._n_bytes = max(self._n_bytes, 0) + len(lines)


def _append_whole(descriptor: int, lines: bytes, n_before: int) -> None:
    """Write lines and wait for the disk; what was written of them is taken back where not all can be.

    Raises:
        OSError: not all of it could be written.
    """
    try:
        n_written = 0
        while n_written < len(lines):
            n_written += os.write(descriptor, lines[n_written:])
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, n_before)
        raise


def _line(result: ExperimentResult, names: Sequence[str]) -> str:
    """The row of one result."""
    return csv_lines(ResultTable([row_of(result)]).rows(names))
