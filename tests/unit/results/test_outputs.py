"""Tokens beside a result, and two runs compared by them."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import FinishReason, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import Sidecars
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.outputs import SavedRun, compare_runs, read_outputs
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.results.tables import write_outputs_parquet, write_requests_parquet
from llenergymeasure.testing import fake_process_result
from tests.fakes.requests import answered


def run_with(
    folder: Path,
    *requests: tuple[tuple[int, ...], ...],
    prompts: str = "p",
    name: str | None = "o",
    table: str | None = "r",
    n_excluded: int = 0,
    start: int = 0,
    read: Mapping[int, Sequence[int] | int] = MappingProxyType({}),
    lost: Mapping[int, FinishReason] = MappingProxyType({}),
    config: ExperimentConfig | None = None,
) -> Path:
    """A saved run whose requests, from ``start`` on, gave these answers; the last request is the first of the file.

    ``read`` has the tokens that a request read, or how many where nobody told which; of the others it was one, 0.
    ``lost`` says how requests ended that did not end by themselves.
    """
    rows = [
        replace(_row(index, answers, read.get(index, (0,))), finish_reason=lost.get(index, "length"))
        for index, answers in enumerate(requests, start)
    ]
    folder.mkdir(parents=True)
    if name is not None:
        write_outputs_parquet(rows[::-1], folder / name)
    if table is not None:
        write_requests_parquet(rows, folder / table, 0.0)
    raw = fake_process_result(ExperimentPlan.of(config or ExperimentConfig(model="m")))
    raw = raw.model_copy(update={"requests": tuple(rows), "n_requests_excluded": n_excluded, "prompts_digest": prompts})
    save_result(ExperimentResult.from_processes([raw], Sidecars(requests=table, outputs=name)), folder)
    return folder


def in_lists(run: Path) -> dict[int, list[list[int]]]:
    """The tokens of a run in lists of Python's own."""
    return {index: [list(ids) for ids in answers] for index, answers in read_outputs(run).items()}


def _row(index: int, answers: tuple[tuple[int, ...], ...], read: Sequence[int] | int) -> RequestOutput:
    if isinstance(read, int):
        return answered(index, answers, n_input=read)
    return answered(index, answers, given=read)


def test_the_table_has_a_row_for_each_answer_in_the_order_of_requests(tmp_path: Path) -> None:
    run = run_with(tmp_path / "a", ((1, 2), (3,)), ((4,),))
    assert pq.read_table(run / "o").to_pylist() == [
        {"index": 0, "answer": 0, "token_ids": [1, 2]},
        {"index": 0, "answer": 1, "token_ids": [3]},
        {"index": 1, "answer": 0, "token_ids": [4]},
    ]
    assert in_lists(run) == {0: [[1, 2], [3]], 1: [[4]]}


def test_two_runs_are_compared_by_their_folders_or_files(tmp_path: Path) -> None:
    one = run_with(tmp_path / "a", ((1, 2),), ((4,),))
    other = run_with(tmp_path / "b", ((1, 3),), ((4,),))
    found = compare_runs(one, other / "result.json")
    assert (found.n_identical, found.n_requests, found.n_equal_tokens, found.n_tokens) == (1, 2, 2, 3)
    assert ExperimentResult.from_json(one).outputs_digest != ExperimentResult.from_json(other).outputs_digest


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"prompts": "q"}, "had different prompts"),
        ({"name": None}, "its tokens were not kept"),
    ],
)
def test_what_cannot_be_compared_says_why(tmp_path: Path, other: dict[str, str | None], said: str) -> None:
    one = run_with(tmp_path / "a", ((1,),))
    with pytest.raises(ConfigError, match=said):
        compare_runs(one, run_with(tmp_path / "b", ((1,),), **other))  # type: ignore[arg-type]  # one of two fields


def test_other_requests_and_a_torn_table_say_so(tmp_path: Path) -> None:
    one = run_with(tmp_path / "a", ((1,),))
    with pytest.raises(ConfigError, match="cannot be compared: request 1 is in one of the runs only"):
        compare_runs(one, run_with(tmp_path / "b", ((1,),), ((1,),)))
    torn = run_with(tmp_path / "c", ((1,),))
    (torn / "o").write_bytes((torn / "o").read_bytes()[:-9])
    with pytest.raises(ConfigError, match=r"c/o: cannot be read"):
        compare_runs(one, torn)
    (torn / "o").unlink()
    with pytest.raises(ConfigError, match=r"c/o: cannot be read"):
        compare_runs(one, torn)


def test_parts_of_a_run_are_compared_by_the_requests_that_both_ran(tmp_path: Path) -> None:
    whole = run_with(tmp_path / "a", ((1,),), ((2,),), ((3,),))
    part = run_with(tmp_path / "b", ((1,),), ((9,),), n_excluded=1)
    found = compare_runs(whole, part)
    assert (found.n_requests, found.n_identical, found.n_left_out) == (2, 1, 1)


def test_parts_are_compared_by_what_their_common_requests_read(tmp_path: Path) -> None:
    read = {2: (1,), 3: (1, 2), 4: (1, 2, 3)}
    early = run_with(tmp_path / "a", ((1,),), ((2,),), n_excluded=3, start=2, read=read)
    late = run_with(tmp_path / "b", ((2,),), ((3,),), n_excluded=3, start=3, read=read)
    found = compare_runs(early, late)
    assert (found.n_requests, found.identical, found.n_left_out, found.n_inputs_by_length) == (1, True, 2, 0)


def test_requests_that_failed_or_were_cancelled_are_left_out(tmp_path: Path) -> None:
    whole = run_with(tmp_path / "a", ((1, 2),), ((3, 4),), ((5, 6),))
    # One was cut off after its first token, one failed before.
    part = run_with(tmp_path / "b", ((1, 9),), ((3,),), (), lost={1: "cancelled", 2: "error"})
    for found in (compare_runs(whole, part), compare_runs(part, whole)):
        assert (found.n_requests, found.n_equal_tokens, found.n_tokens, found.n_left_out) == (1, 1, 2, 2)
    longer = run_with(tmp_path / "c", ((1, 2),), ((3, 4),), ((5, 6),), ((7,),))
    with pytest.raises(ConfigError, match="request 3 is in one of the runs only"):
        compare_runs(longer, part)
    nothing = run_with(tmp_path / "d", (), (), (), lost=dict.fromkeys(range(3), "error"))
    with pytest.raises(ConfigError, match="there is no request that both answered"):
        compare_runs(whole, nothing)


def test_a_strict_reader_takes_no_other_table_than_was_written(tmp_path: Path) -> None:
    one, other = run_with(tmp_path / "a", ((1,),)), run_with(tmp_path / "b", ((1,),))
    for run in (one, other):
        mark_done(run)
    assert compare_runs(SavedRun(one, strict=True), SavedRun(other, strict=True)).identical
    write_outputs_parquet([answered(0, ((1, 2),))], other / "o")
    assert not compare_runs(one, other).identical
    with pytest.raises(ConfigError, match=r"b/o: it is not the file that was written"):
        compare_runs(SavedRun(one, strict=True), SavedRun(other, strict=True))


def test_common_requests_that_read_other_tokens_are_refused_whatever_the_totals(tmp_path: Path) -> None:
    two = run_with(tmp_path / "a", ((1,),), ((2,),), n_excluded=3, start=2, read={3: range(20)})
    one = run_with(tmp_path / "b", ((2,),), n_excluded=4, start=3, read={3: range(99)})
    with pytest.raises(ConfigError, match=r"other tokens for 1 of 1 common requests \(request 3: 20 and 99 tokens\)"):
        compare_runs(two, one)


def test_equally_many_tokens_of_another_vocabulary_are_other_inputs(tmp_path: Path) -> None:
    answers = (((1,),), ((2,),), ((3,),))
    one = run_with(tmp_path / "a", *answers, read={1: (5, 6), 2: (7,)})
    other = run_with(tmp_path / "b", *answers, read={1: (5, 9), 2: (8,)})
    said = (
        r"for 2 of 3 common requests \(request 1: 2 and 2 tokens, not the same ones\); compare runs with the same "
        "tokenizer, template, max_input_tokens and dataset"
    )
    with pytest.raises(ConfigError, match=said):
        compare_runs(one, other)


def test_without_the_digest_of_an_input_its_length_is_compared(tmp_path: Path) -> None:
    told = run_with(tmp_path / "a", ((1,),), ((2,),), read={1: (5, 6)})
    untold = run_with(tmp_path / "b", ((1,),), ((2,),), read={1: 2})
    longer = run_with(tmp_path / "c", ((1,),), ((2,),), read={1: 3})
    assert compare_runs(told, untold).n_inputs_by_length == 1
    with pytest.raises(ConfigError, match="request 1: 2 and 3 tokens"):
        compare_runs(told, longer)
    # A file from before there were digests.
    old = pq.read_table(told / "r").drop_columns(["input_digest"])
    pq.write_table(old, told / "r")
    assert compare_runs(told, untold).n_inputs_by_length == 2


def test_a_table_of_requests_that_is_missing_or_torn_says_so(tmp_path: Path) -> None:
    one = run_with(tmp_path / "a", ((1,),))
    with pytest.raises(ConfigError, match=r"b: the table of its requests was not kept \(requests is null\)"):
        compare_runs(one, run_with(tmp_path / "b", ((1,),), table=None))
    (one / "r").unlink()
    with pytest.raises(ConfigError, match=r"a/r: cannot be read"):
        compare_runs(one, one)
    run_with(tmp_path / "c", ((1,),), start=1)
    (one / "r").write_bytes((tmp_path / "c" / "r").read_bytes())
    with pytest.raises(ConfigError, match="request 0 has tokens and no row in a table of requests"):
        compare_runs(one, one)


def changed(run: Path, **values: object) -> Path:
    """The run with other values in its result."""
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")
    return run


@pytest.mark.parametrize("name", ["", ".", "..", "../b/o", "/dev/zero", "a\0b", "x" * 256, "folder", "pipe"])
@pytest.mark.parametrize("field", ["outputs", "requests"])
def test_a_table_that_is_no_file_beside_the_result_is_told(tmp_path: Path, field: str, name: str) -> None:
    one, other = run_with(tmp_path / "a", ((1,),)), run_with(tmp_path / "b", ((1,),))
    (other / "folder").mkdir()
    os.mkfifo(other / "pipe")
    with pytest.raises(ConfigError, match=r"table is a file|no regular file|a folder"):
        compare_runs(one, changed(other, **{field: name}))


@pytest.mark.parametrize(
    ("file", "columns", "said"),
    [
        ("o", {"index": ["0"], "token_ids": [[1]]}, "column index has values of type string"),
        ("o", {"index": [0], "token_ids": [["a"]]}, "token_ids has values of type list"),
        ("o", {"index": [0], "token_ids": [7]}, "column token_ids has values of type int64"),
        ("o", {"index": [0], "token_ids": [[1, None]]}, "a row has no token_ids"),
        ("o", {"index": [0, None], "token_ids": [[1], [2]]}, "a row has no index"),
        ("o", {"index": [0]}, "no column token_ids"),
        ("r", {"index": [0], "input_tokens": [1.5]}, "column input_tokens has values of type double"),
        ("r", {"index": [0], "input_tokens": [1], "input_digest": [5]}, "column input_digest has values of type int64"),
        ("r", {"index": [0], "input_tokens": [1], "finish_reason": [5]}, "finish_reason has values of type int64"),
    ],
)
def test_a_table_of_another_kind_is_told(tmp_path: Path, file: str, columns: dict[str, list[Any]], said: str) -> None:
    one, other = run_with(tmp_path / "a", ((1,),)), run_with(tmp_path / "b", ((1,),))
    pq.write_table(pa.table(columns), other / file)
    with pytest.raises(ConfigError, match=said):
        compare_runs(one, other)


def test_results_that_were_read_are_not_read_again(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        run_with(tmp_path / name, ((1, 2, 3),), ((4,),))
        results.append(ExperimentResult.from_json(tmp_path / name))
        (tmp_path / name / "result.json").unlink()
    assert compare_runs(*results).n_identical == 2


def test_a_result_that_lies_nowhere_has_no_tables(tmp_path: Path) -> None:
    result = ExperimentResult.from_json(run_with(tmp_path / "a", ((1,),))).kept_in(None)
    with pytest.raises(ConfigError, match="lies in no folder"):
        read_outputs(result)
