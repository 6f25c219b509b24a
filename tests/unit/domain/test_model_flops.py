"""Forward passes counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.metrics import FlopsResult, FlopsTerms
from llenergymeasure.domain.model_flops import (
    AttentionLayer,
    ModelShape,
    cached_flops,
    recomputed_flops,
    total_of,
)
from tests.unit.domain.conftest import calm

# Two heads with queries of 4 and values of 2; two heads of 4 and 4 that see three tokens.
FULL = AttentionLayer(n_key_dims=8, n_value_dims=4)
WINDOWED = AttentionLayer(n_key_dims=8, n_value_dims=8, n_window_tokens=3)
SHAPE = ModelShape(n_linear_weights=1000, n_head_weights=50, attention=(FULL, WINDOWED))


def test_a_prompt_is_read_once_and_every_token_but_the_last_is_read_after_it() -> None:
    phases = cached_flops(SHAPE, 4, 3)
    # 4 tokens, one of which is scored; pairs 1 + 2 + 3 + 4, and 1 + 2 + 3 + 3 through the window.
    assert phases.prefill == FlopsTerms(linear=8000, attention=2 * 12 * 10 + 2 * 16 * 9, head=100)
    # The first two of three tokens see 5 and 6, and 3 and 3 through the window.
    assert phases.decode == FlopsTerms(linear=4000, attention=2 * 12 * 11 + 2 * 16 * 6, head=200)
    assert phases.prefill.total == 8000 + 528 + 100


def test_a_head_that_scores_prompts_runs_on_each_of_their_tokens() -> None:
    phases = cached_flops(SHAPE, 4, 3, scores_prompt=True)
    # 4 + 3 - 1 times: 4 for the prompt, and 2 for the first two of three tokens.
    assert (phases.prefill.head, phases.decode.head) == (2 * 50 * 4, 2 * 50 * 2)
    assert phases.prefill.linear == cached_flops(SHAPE, 4, 3).prefill.linear


@pytest.mark.parametrize("n_output", [0, 1])
def test_one_token_takes_no_decoding(n_output: int) -> None:
    nothing = FlopsTerms(linear=0, attention=0, head=0)
    assert cached_flops(SHAPE, 4, n_output).decode == nothing
    assert recomputed_flops(SHAPE, 4, n_output).decode == nothing


def test_without_a_cache_each_step_reads_everything_again() -> None:
    phases = recomputed_flops(SHAPE, 4, 3)
    assert phases.prefill == cached_flops(SHAPE, 4, 3).prefill
    # Passes over 5 and 6 tokens: 15 + 21 pairs, and (1 + 2 + 3 + 3 + 3) + (1 + 2 + 3 + 3 + 3 + 3) through the window.
    assert phases.decode == FlopsTerms(linear=22_000, attention=2 * 12 * 36 + 2 * 16 * 27, head=200)


def test_a_chunk_starts_anew() -> None:
    # 1 + 2 + 3 + 4, then 1 + 2
    assert AttentionLayer(n_key_dims=1, n_value_dims=1, n_chunk_tokens=4).n_pairs(6) == 13


@calm
@given(n=st.integers(0, 40), window=st.none() | st.integers(1, 50), chunk=st.none() | st.integers(1, 50))
def test_pairs_are_those_of_the_mask(n: int, window: int | None, chunk: int | None) -> None:
    window = None if chunk is not None else window
    layer = AttentionLayer(n_key_dims=1, n_value_dims=1, n_window_tokens=window, n_chunk_tokens=chunk)
    seen = sum(
        key <= query and (window is None or key > query - window) and (chunk is None or key // chunk == query // chunk)
        for query in range(n)
        for key in range(n)
    )
    assert layer.n_pairs(n) == seen


def test_sequences_add_up() -> None:
    total = total_of([cached_flops(SHAPE, 4, 3), cached_flops(SHAPE, 4, 3)])
    assert total.prefill == FlopsTerms(linear=16_000, attention=1056, head=200)
    assert total.decode == FlopsTerms(linear=8000, attention=912, head=400)


def test_unknown_attention_leaves_no_total() -> None:
    unknown = ModelShape(n_linear_weights=1000, n_head_weights=50, attention=None)
    phases = total_of([cached_flops(SHAPE, 4, 3), cached_flops(unknown, 4, 3)])
    assert phases.prefill == FlopsTerms(linear=16_000, attention=None, head=200)
    assert phases.prefill.total is None
    result = FlopsResult(value=1.0, method="m", confidence="high", prefill=phases.prefill, decode=phases.decode)
    assert result.model_flops is None


def test_both_phases_make_the_models_flops() -> None:
    one = FlopsTerms(linear=1, attention=2, head=3)
    both = FlopsResult(value=1.0, method="m", confidence="high", prefill=one, decode=one)
    assert both.model_flops == 12
    assert FlopsResult(value=1.0, method="m", confidence="high", prefill=one).model_flops is None
