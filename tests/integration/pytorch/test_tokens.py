"""Tokens of several answers, of answers without an end and of a length of their own, against decoding by hand."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from llenergymeasure import run_experiment
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.domain.inference import InferenceOutput, Prompt, latency_statistics, tokens_digest
from llenergymeasure.domain.plan import ExperimentPlan
from tests.fakes.pytorch import generated, prepared
from tests.integration.conftest import greedy_by_hand, save_tiny_llama
from tests.integration.pytorch.test_engine import TEXTS, generate, prompts, token_ids

N_TOKENS = 12


@pytest.fixture(scope="module")
def free(tiny_llama: Path) -> list[list[int]]:
    """[8 texts] tokens of each alone, decoded by hand and stopped by nothing but their number."""
    return [greedy_by_hand(tiny_llama, token_ids(tiny_llama, text), N_TOKENS, set()) for text in TEXTS]


@pytest.fixture(scope="module")
def stopping(tmp_path_factory: pytest.TempPathFactory, free: list[list[int]]) -> tuple[Path, int]:
    """A model that some texts end with early, and its end token."""
    end = free[1][2]
    return save_tiny_llama(tmp_path_factory.mktemp("stopping"), eos_token_id=end), end


def up_to(end: int, tokens: Sequence[int]) -> tuple[int, ...]:
    """The tokens up to and including the end."""
    return tuple(tokens[: tokens.index(end) + 1] if end in tokens else tokens)


def test_every_answer_is_counted_to_its_own_end(stopping: tuple[Path, int], free: list[list[int]]) -> None:
    model, end = stopping
    # Of one candidate there is but one draw, so that every sampled answer is the greedy one.
    decoder = {"do_sample": True, "top_k": 1, "num_return_sequences": 3}
    output = generate(model, TEXTS, decoder=decoder, pytorch={"batch_size": 8})
    for request, tokens in zip(output.requests, free, strict=True):
        own = up_to(end, tokens)
        assert request.output_ids == (own, own, own)
        assert request.output_tokens == 3 * len(own)
        assert request.output_digest == tokens_digest(own, own, own)
        assert len(request.token_times_s) == len(own)
        assert request.finish_reason == ("stop" if own[-1] == end else "length")


def test_answers_of_different_lengths_end_when_the_longest_does(stopping: tuple[Path, int]) -> None:
    model, end = stopping
    decoder = {"do_sample": True, "temperature": 3.0, "top_k": 0, "num_return_sequences": 40}
    (request,) = generate(model, TEXTS[1:2], decoder=decoder, max_output_tokens=40).requests
    lengths = [len(ids) for ids in request.output_ids]
    assert len(lengths) == 40
    assert len(set(lengths)) > 1, "the example must have answers of different lengths"
    assert all(end not in ids[:-1] for ids in request.output_ids)
    assert all(len(ids) == 40 or ids[-1] == end for ids in request.output_ids)
    assert request.output_tokens == sum(lengths)
    assert request.end_s == request.token_times_s[max(lengths) - 1]
    times = request.token_times_s
    statistics = latency_statistics([[request]])
    assert statistics is not None
    assert statistics.tpot_s is not None
    by_hand = [(times[n - 1] - times[0]) / (n - 1) for n in lengths if n > 1]
    assert statistics.tpot_s.n == len(by_hand)
    assert statistics.tpot_s.mean == pytest.approx(sum(by_hand) / len(by_hand))


def test_several_answers_of_a_beam_search_are_those_of_the_request_alone(tiny_llama: Path) -> None:
    decoder = {"num_beams": 4, "num_return_sequences": 2}
    output = generate(tiny_llama, TEXTS[:3], decoder=decoder, pytorch={"batch_size": 3})
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    for request, text in zip(output.requests, TEXTS, strict=False):
        ids = token_ids(tiny_llama, text)
        alone = model.generate(
            input_ids=torch.tensor([ids]),
            num_beams=4,
            num_return_sequences=2,
            do_sample=False,
            max_new_tokens=N_TOKENS,
            pad_token_id=1,
        )
        expected = [up_to(1, row[len(ids) :].tolist()) for row in alone]
        assert list(request.output_ids) == expected
        assert len(set(expected)) == 2


def test_an_end_token_that_is_ignored_ends_nothing(stopping: tuple[Path, int], free: list[list[int]]) -> None:
    model, end = stopping
    output = generate(model, TEXTS, decoder={"ignore_eos": True}, pytorch={"batch_size": 8})
    assert [list(*r.output_ids) for r in output.requests] == free
    assert any(end in ids for ids in free), "the example must have end tokens to be ignored"
    assert {r.finish_reason for r in output.requests} == {"length"}


@pytest.mark.parametrize("n_answers", [1, 2])
def test_requests_of_one_batch_may_have_lengths_of_their_own(
    stopping: tuple[Path, int], free: list[list[int]], n_answers: int
) -> None:
    model, _ = stopping
    limits = [1, 12, 5, 2, 3, 12, 7, 4]
    decoder: dict[str, Any] = {"ignore_eos": True}
    if n_answers > 1:
        decoder |= {"do_sample": True, "top_k": 1, "num_return_sequences": n_answers}
    output = with_lengths(model, limits, decoder=decoder)
    for request, tokens, limit in zip(output.requests, free, limits, strict=True):
        assert [list(ids) for ids in request.output_ids] == [tokens[:limit]] * n_answers
        assert request.end_s == request.token_times_s[limit - 1]


def test_a_batch_of_shorter_answers_ends_when_they_have_ended(tiny_llama: Path, free: list[list[int]]) -> None:
    # One token each: with anything more the last time would be a decoding step later than the first.
    output = with_lengths(tiny_llama, [1] * 8, decoder={"ignore_eos": True})
    assert [list(*r.output_ids) for r in output.requests] == [tokens[:1] for tokens in free]
    assert {len(r.token_times_s) for r in output.requests} == {1}


def with_lengths(model: Path, limits: Sequence[int], **fields: Any) -> InferenceOutput:
    """The texts in one batch, each with the most tokens that it may have."""
    config = ExperimentConfig.model_validate(
        {
            "model": str(model),
            "precision": "fp32",
            "max_output_tokens": N_TOKENS,
            "pytorch": {"batch_size": 8},
            **fields,
        }
    )
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        given = [
            Prompt(index=p.index, messages=p.messages, output_tokens=limit)
            for p, limit in zip(prompts(TEXTS), limits, strict=True)
        ]
        (batch,) = prepared(loaded, given)
        loaded.seed(config.random_seed)
        return generated(loaded, batch)


def test_drawn_token_ids_are_the_prompts_own_and_need_no_text(tiny_llama: Path) -> None:
    dataset = {"random": {"input_tokens": {"distribution": "uniform", "low": 3, "high": 9}, "output_tokens": 5}}
    config = ExperimentConfig.model_validate(
        {"model": str(tiny_llama), "precision": "fp32", "n": 6, "dataset": dataset, "pytorch": {"batch_size": 3}}
    )
    result = PyTorchBackend().run(config)
    assert result.n_requests == 6
    assert result.output_tokens == 6 * 5
    assert 6 * 3 <= result.input_tokens <= 6 * 9
    again = PyTorchBackend().run(config.model_copy(update={"name": "again"}))
    assert (again.outputs_digest, again.prompts_digest) == (result.outputs_digest, result.prompts_digest)


def test_what_a_request_was_given_is_told_after_template_and_truncation(tiny_llama: Path) -> None:
    long, short = " ".join(TEXTS), TEXTS[0]
    n_kept = len(token_ids(tiny_llama, short)) + 2
    kept = [token_ids(tiny_llama, text)[:n_kept] for text in (long, short)]
    output = generate(tiny_llama, [long, short], max_input_tokens=n_kept, pytorch={"batch_size": 2})
    assert [len(ids) for ids in kept] == [n_kept, n_kept - 2]
    assert [r.input_digest for r in output.requests] == [
        hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest() for ids in kept
    ]


def percentile(values: list[float], percent: float) -> float:
    """By linear interpolation between neighbours, written out."""
    ordered = sorted(values)
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("n_answers", [1, 2])
def test_latencies_can_be_worked_out_again_from_the_tables(
    tmp_path: Path, stopping: tuple[Path, int], n_answers: int
) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(stopping[0]),
            "precision": "fp32",
            "n": 30,
            "max_output_tokens": 40,
            "decoder": {"do_sample": True, "temperature": 3.0, "top_k": 0, "num_return_sequences": n_answers},
            "energy": {"backend": None},
            "warmup": {"n_warmup": 1},
            "execution": {"launcher": "in_process"},
            "pytorch": {"batch_size": 8},
            "output_dir": tmp_path,
        }
    )
    stats = run_experiment(config).latency_stats
    assert stats is not None
    (folder,) = tmp_path.iterdir()
    rows = pq.read_table(folder / "requests.parquet").to_pylist()
    answers = pq.read_table(folder / "outputs.parquet").to_pylist()
    times = {row["index"]: row["token_times_s"] for row in rows}
    lengths = [(a["index"], len(a["token_ids"])) for a in answers]
    assert len({n for _, n in lengths}) > 1, "the example must have answers of different lengths"
    gaps = [times[index][i + 1] - times[index][i] for index, n in lengths for i in range(n - 1)]
    for found, values in (
        (stats.itl_s, gaps),
        (stats.ttft_s, [each[0] for each in times.values()]),
        (stats.e2e_s, [each[-1] for each in times.values()]),
    ):
        assert found is not None
        assert found.n == len(values)
        expected = [percentile(values, percent) for percent in (50, 90, 95, 99)]
        assert [found.p50, found.p90, found.p95, found.p99] == pytest.approx(expected, rel=1e-9)
    assert [row["batch"] for row in rows] == [index // 8 for index in range(30)]
