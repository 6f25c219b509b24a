"""Random prompts and grouped ones on a real model: exact lengths, the model's own ids, like lengths together."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llenergymeasure import run_experiment
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.prompts.random import random_token_ids
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from tests.fakes.pytorch import generated, prepared
from tests.integration.conftest import VOCABULARY, greedy_by_hand, save_tiny_llama

DRAWN = {
    "input_tokens": {"distribution": "uniform", "low": 2, "high": 20},
    "output_tokens": {"distribution": "lognormal", "median": 6, "sigma": 0.5, "low": 2},
}


def run(model: Path, dataset: Any, **fields: Any) -> tuple[list[list[Request]], list[RequestOutput]]:
    """The batches, and what was answered in the order in which it was run."""
    config = ExperimentConfig.model_validate(
        {"model": str(model), "precision": "fp32", "max_output_tokens": 12, "dataset": dataset, "n": 7, **fields}
    )
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        batches = prepared(loaded, select_prompts(config).prompts)
        loaded.seed(config.random_seed)
        return [list(b) for b in batches], [r for batch in batches for r in generated(loaded, batch).requests]


def test_random_prompts_have_exactly_their_lengths_in_and_out_whatever_ends_the_model(tmp_path: Path) -> None:
    dataset = {"random": {"input_tokens": 5, "output_tokens": 9}}
    # As end token one that is said often without one; that it is never drawn makes other prompts, so it is looked for.
    _, free = run(save_tiny_llama(tmp_path / "free"), dataset, pytorch={"batch_size": 4})
    for end, _ in Counter(token for r in free for token in r.output_ids[0]).most_common(10):
        model = save_tiny_llama(tmp_path / f"ending-{end}", eos_token_id=end)
        batches, requests = run(model, dataset, pytorch={"batch_size": 4})
        if any(end in r.output_ids[0][:-1] for r in requests):
            break
    assert any(end in r.output_ids[0][:-1] for r in requests), "the example must meet its end token"
    assert [(r.input_tokens, r.output_tokens, r.finish_reason) for r in requests] == [(5, 9, "length")] * 7
    prompts = [p for batch in batches for p in batch]
    assert not {0, 1, end} & {token for p in prompts for token in p.token_ids}
    assert len({p.token_ids for p in prompts}) == 7
    assert not any(p.truncated for p in prompts)


def test_the_ids_are_those_of_seed_and_index_and_greedy_answers_follow_from_them(tiny_llama: Path) -> None:
    batches, requests = run(tiny_llama, {"random": DRAWN, "order": "grouped"}, pytorch={"batch_size": 3})
    for given, request in zip((r for batch in batches for r in batch), requests, strict=True):
        # <s> and </s> are 0 and 1.
        ids = random_token_ids(len(given.token_ids), VOCABULARY, {0, 1}, 42, given.index)
        assert given.token_ids == ids
        assert request.output_ids == (tuple(greedy_by_hand(tiny_llama, list(ids), given.max_output_tokens, set())),)


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
def test_grouped_batches_hold_like_lengths_and_answer_alike(tiny_llama: Path, order: str) -> None:
    dataset = {"name": "mixed", "order": order}
    batches, requests = run(tiny_llama, dataset, pytorch={"batch_size": 3}, max_input_tokens=200)
    lengths = [[len(p.token_ids) for p in batch] for batch in batches]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    flat = [n for batch in lengths for n in batch]
    assert (flat == sorted(flat, reverse=True)) == (order == "grouped")
    assert sorted(r.index for r in requests) == list(range(7))
    _, shuffled = run(tiny_llama, "mixed", pytorch={"batch_size": 1}, max_input_tokens=200)
    alone = {r.index: r.output_ids for r in shuffled}
    assert {r.index: r.output_ids for r in requests} == alone


def test_the_result_of_random_prompts_has_their_lengths_and_their_digest(tiny_llama: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "model": str(tiny_llama),
        "precision": "fp32",
        "n": 7,
        "max_output_tokens": 12,
        "energy": {"backend": None},
        "warmup": {"n_warmup": 1},
        "dataset": {"random": DRAWN, "order": "grouped"},
        "pytorch": {"batch_size": 3},
    }
    result = run_experiment(**fields, output_dir=tmp_path)
    selection = select_prompts(ExperimentConfig.model_validate(fields))
    wanted = [(p.n_random_tokens, p.output_tokens) for p in selection.prompts]
    (table,) = tmp_path.glob("*/requests.parquet")
    rows = pq.read_table(table).to_pylist()
    assert [(r["input_tokens"], r["output_tokens"]) for r in rows] == wanted
    assert result.prompts_digest == selection.digest
    assert result.output_tokens == sum(length for _, length in wanted if length is not None)
    assert result.effective_config["decoder"]["ignore_eos"] is True
    assert not [w for w in result.measurement_warnings if w.startswith(("prompts_truncated", "dataset_too_small"))]
