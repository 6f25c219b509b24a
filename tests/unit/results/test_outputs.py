"""Tokens beside a result, and two runs compared by them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.outputs_table import write_outputs_parquet
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.outputs import compare_runs, read_outputs
from llenergymeasure.results.persistence import save_result
from llenergymeasure.testing import fake_process_result
from tests.fakes.requests import answered


def run_with(
    folder: Path,
    *requests: tuple[tuple[int, ...], ...],
    prompts: str = "p",
    name: str | None = "o",
    n_excluded: int = 0,
) -> Path:
    """A saved run whose requests gave these answers; the last request is the first of the file."""
    rows = [answered(index, answers) for index, answers in enumerate(requests)]
    folder.mkdir()
    if name is not None:
        write_outputs_parquet(rows[::-1], folder / name)
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m")))
    raw = raw.model_copy(update={"requests": tuple(rows), "outputs_file": name, "prompts_digest": prompts})
    raw = raw.model_copy(update={"n_requests_excluded": n_excluded})
    save_result(ExperimentResult.from_processes([raw]), folder)
    return folder


def test_the_table_has_a_row_for_each_answer_in_the_order_of_requests(tmp_path: Path) -> None:
    run = run_with(tmp_path / "a", ((1, 2), (3,)), ((4,),))
    assert pq.read_table(run / "o").to_pylist() == [
        {"index": 0, "answer": 0, "token_ids": [1, 2]},
        {"index": 0, "answer": 1, "token_ids": [3]},
        {"index": 1, "answer": 0, "token_ids": [4]},
    ]
    assert read_outputs(run) == {0: [[1, 2], [3]], 1: [[4]]}


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


def test_the_same_prompts_cut_to_other_lengths_are_other_inputs(tmp_path: Path) -> None:
    one, other = run_with(tmp_path / "a", ((1,),)), run_with(tmp_path / "b", ((1,),))
    result = ExperimentResult.from_json(other).model_copy(update={"input_tokens": 99})
    save_result(result, other)
    with pytest.raises(ConfigError, match="read 1 and 99 tokens of the same prompts"):
        compare_runs(one, other)
