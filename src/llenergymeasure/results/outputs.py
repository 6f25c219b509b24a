"""The tokens of a saved run, and whether two runs said the same."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from llenergymeasure._files import open_regular
from llenergymeasure._paths import unnameable
from llenergymeasure.domain.equivalence import Answers, OutputComparison, compare_outputs
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import config_error, first_line
from llenergymeasure.results.persistence import RESULT_FILE, load_result
from llenergymeasure.results.sums import has_sums, problem_of

_log = logging.getLogger(__name__)
Run = Path | ExperimentResult

# How a request ended that was not answered, or not to its end.
_NOT_ANSWERED = ("error", "cancelled")
# Of tables that are compared in memory, a gigabyte or so.
_MOST_ROWS = 5_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestInput:
    """What a request read; ``digest`` is of its token ids, None where the engine did not tell.

    One that ``was_answered`` neither failed nor was cancelled: its answer is whole.
    """

    n_tokens: int
    digest: str | None
    was_answered: bool = True

    def differs_from(self, other: "RequestInput") -> bool:
        """Whether the two read other tokens, as far as is known."""
        if self.digest is None or other.digest is None:
            return self.n_tokens != other.n_tokens
        return self.digest != other.digest


class SavedRun:
    """A saved run and what lies beside it, each table read when it is asked for and no more than once."""

    def __init__(self, run: Run, *, strict: bool = False) -> None:
        """Read the result, unless this is one.

        Args:
            run: folder of a run, or its ``result.json``; of a study the folder of one of its experiments; or a result
                that was read from one.
            strict: refuse a table that is not the one that was written; else that is a line of the log.

        Raises:
            ConfigError: it cannot be read, or lies in no folder.
        """
        self.result, self._strict = _loaded(run), strict
        self.folder = _folder(self.result)

    @cached_property
    def answers(self) -> dict[int, Answers]:
        """Its tokens: {index of the request: [answers][tokens]}.

        Raises:
            ConfigError: the run has none beside it.
        """
        return read_outputs(self.result, strict=self._strict)

    @cached_property
    def inputs(self) -> dict[int, RequestInput]:
        """What its requests read, by their index.

        Raises:
            ConfigError: the run has no table of its requests.
        """
        return read_inputs(self.result, strict=self._strict)


def compare_runs(first: Run | SavedRun, second: Run | SavedRun) -> OutputComparison:
    """Compare the outputs of two saved runs.

    Requests that failed or were cancelled in one of them are left out: what there is of their answers says nothing.

    Args:
        first: as ``SavedRun`` takes it, or one, of which nothing is read again.
        second: the same of the other run.

    Raises:
        ConfigError: a run cannot be read, has no tokens or requests beside it, or the two read different prompts or
            different tokens of them.
    """
    a, b = (run if isinstance(run, SavedRun) else SavedRun(run) for run in (first, second))
    prompts, of_other = (run.result.prompts_digest for run in (a, b))
    if prompts != of_other:
        raise config_error(
            f"{a.folder} and {b.folder} had different prompts (prompts_digest {prompts[:12]} and {of_other[:12]}); "
            "compare runs of the same dataset, n, order and seed"
        )
    there = set(a.answers) | set(b.answers)
    lost = {index for run in (a, b) for index, request in run.inputs.items() if not request.was_answered}
    ours, theirs = ({index: ids for index, ids in run.answers.items() if index not in lost} for run in (a, b))
    common = set(ours) & set(theirs)
    if a.result.n_requests_excluded or b.result.n_requests_excluded:
        # Parts of a run, which end where time is over: what both ran can be compared.
        if not common:
            raise config_error(f"{a.folder} and {b.folder} are parts of a run that have no request in common")
        ours, theirs = ({index: run[index] for index in common} for run in (ours, theirs))
    elif lost and not common:
        raise config_error(f"{a.folder} and {b.folder}: there is no request that both answered")
    n_by_length = _check_inputs(a, b, common)
    try:
        found = compare_outputs(ours, theirs)
    except ValueError as error:
        raise config_error(f"{a.folder} and {b.folder} cannot be compared: {error}") from None
    return replace(found, n_left_out=len((there | lost) - common), n_inputs_by_length=n_by_length)


def read_outputs(run: Run, *, strict: bool = False) -> dict[int, Answers]:
    """The tokens of a saved run: {index of the request: [answers][tokens]}, the tokens of an answer in one piece.

    Args:
        run: as ``SavedRun`` takes it.
        strict: as there.

    Raises:
        ConfigError: the run cannot be read, or has none beside it.
    """
    result = _loaded(run)
    if result.outputs is None:
        raise config_error(
            f"result {_folder(result)}: its tokens were not kept (outputs is null); run it again with an output folder"
        )
    found: dict[int, list[Sequence[int]]] = {}
    for index, ids in _read_columns(_beside(result, result.outputs, strict), "index", "token_ids"):
        found.setdefault(index, []).append(ids)
    return dict(found)


def read_inputs(run: Run, *, strict: bool = False) -> dict[int, RequestInput]:
    """What the requests of a saved run read: {index of the request: its input}.

    Args:
        run: as ``SavedRun`` takes it.
        strict: as there.

    Raises:
        ConfigError: the run cannot be read, or has no table of its requests.
    """
    result = _loaded(run)
    if result.requests is None:
        raise config_error(
            f"result {_folder(result)}: the table of its requests was not kept (requests is null), so what they read "
            "is not known; run it again with an output folder"
        )
    optional = ("input_digest", "finish_reason")
    rows = _read_columns(_beside(result, result.requests, strict), "index", "input_tokens", optional=optional)
    return {
        index: RequestInput(n_tokens=n_tokens, digest=digest, was_answered=reason not in _NOT_ANSWERED)
        for index, n_tokens, digest, reason in rows
    }


def _loaded(run: Run) -> ExperimentResult:
    return run if isinstance(run, ExperimentResult) else load_result(run)


def _folder(result: ExperimentResult) -> Path:
    if result.folder is None:
        raise config_error(f"result {result.name}: it lies in no folder, so there are no tables beside it")
    return result.folder


def _check_inputs(ours: SavedRun, theirs: SavedRun, indices: Iterable[int]) -> int:
    """How many of these requests could only be compared by the length of their input.

    Raises:
        ConfigError: some of them read other tokens, or a run has no input of one of them.
    """
    first, second = ours.folder, theirs.folder
    pairs = {index: (ours.inputs.get(index), theirs.inputs.get(index)) for index in sorted(indices)}
    known = {index: (a, b) for index, (a, b) in pairs.items() if a is not None and b is not None}
    if len(known) < len(pairs):
        lost = next(index for index in pairs if index not in known)
        raise config_error(
            f"{first} and {second}: request {lost} has tokens and no row in a table of requests; run that one again"
        )
    other = [index for index, (a, b) in known.items() if a.differs_from(b)]
    if other:
        a, b = known[other[0]]
        alike = ", not the same ones" if a.n_tokens == b.n_tokens else ""
        raise config_error(
            f"{first} and {second} read other tokens for {len(other)} of {len(known)} common requests (request "
            f"{other[0]}: {a.n_tokens} and {b.n_tokens} tokens{alike}); "
            "compare runs with the same tokenizer, template, max_input_tokens and dataset"
        )
    return sum(a.digest is None or b.digest is None for a, b in known.values())


def _beside(result: ExperimentResult, name: str, strict: bool) -> Path:
    """A file beside a result.

    Raises:
        ConfigError: what the result names is no name of a file there, but nothing, or another place; or, where that is
            strict, it is not the one that was written.
    """
    file = _folder(result) / RESULT_FILE
    is_a_name = name not in ("", ".", "..") and Path(name).name == name and unnameable(name) is None
    if not is_a_name:
        raise config_error(f"result {file}: its table is named {name[:80]!r}; a table is a file beside the result")
    table = file.with_name(name)
    # Whether the result itself is the one that was written is told when it is read.
    if has_sums(file) and table.exists() and (problem := problem_of(table)) is not None:
        if strict:
            raise config_error(problem)
        _log.warning("%s", problem)
    return table


def _read_columns(path: Path, *names: str, optional: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Rows of a table; an optional column that older files have not is None.

    Raises:
        ConfigError: the table cannot be read, is no regular file, or misses a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as opened, pq.ParquetFile(opened) as file:
            there = [name for name in optional if name in file.schema_arrow.names]
            columns = [*names, *there]
            problem = _problem_of(file, columns)
            if problem is not None:
                raise config_error(f"{path}: cannot be read: {problem}")
            table = file.read(columns=columns)
    except OSError as error:
        raise config_error(f"{path}: cannot be read: {error.strerror or first_line(error)}") from None
    # Values that have no like in Python end in errors of its own.
    except (pa.ArrowException, KeyError, ValueError, OverflowError) as error:
        raise config_error(f"{path}: cannot be read: {first_line(error)}") from None
    missing = [name for name in names if _has_gaps(table.column(name))]
    if missing:
        raise config_error(f"{path}: cannot be read: a row has no {missing[0]}")
    wanted = [
        _values(table.column(name)) if name in columns else [None] * table.num_rows for name in (*names, *optional)
    ]
    return list(zip(*wanted, strict=True))


def _values(column: Any) -> Sequence[Any]:
    """The values of a column; lists of numbers in place, a million of which would be thirty megabytes in Python."""
    import pyarrow as pa

    if not pa.types.is_list(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    array = column.combine_chunks()
    numbers = memoryview(array.values.to_numpy())
    ends = array.offsets.to_pylist()
    return [numbers[start:end] for start, end in pairwise(ends)]


def _problem_of(file: Any, columns: Sequence[str]) -> str | None:
    """Why a Parquet file is not the table of a result; None if it is, as far as can be told without reading it."""
    import pyarrow as pa

    if file.metadata.num_rows > _MOST_ROWS:
        return f"it has {file.metadata.num_rows:,} rows, and at most {_MOST_ROWS:,} are compared"
    for name in columns:
        if name not in file.schema_arrow.names:
            return f"it has no column {name}"
        found = file.schema_arrow.field(name).type
        kind, is_right = {
            "token_ids": ("lists of integers", pa.types.is_list(found) and pa.types.is_integer(found.value_type)),
            **dict.fromkeys(
                ("input_digest", "finish_reason"), ("texts", pa.types.is_string(found) or pa.types.is_null(found))
            ),
        }.get(name, ("integers", pa.types.is_integer(found)))
        if not is_right:
            return f"its column {name} has values of type {found} in place of {kind}"
    return None


def _has_gaps(column: Any) -> bool:
    """Whether a value is missing, in the column or in its lists."""
    import pyarrow as pa

    inner = column.combine_chunks().flatten() if pa.types.is_list(column.type) else None
    return column.null_count > 0 or (inner is not None and inner.null_count > 0)
