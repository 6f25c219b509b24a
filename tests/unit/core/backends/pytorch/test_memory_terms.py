"""Arithmetic of memory against numbers worked out by hand."""

from dataclasses import replace

import pytest

from llenergymeasure.core.backends.pytorch.memory_terms import (
    Widths,
    Work,
    block_bytes,
    cache_bytes,
    estimate,
    step_bytes,
    sum_of,
)
from llenergymeasure.core.memory.shape import LayerCache
from llenergymeasure.domain.metrics import MemoryEstimate

# 4 heads of 8 with 2 for keys and values, bf16: a key and a value of 16 numbers each, 2 bytes.
FULL = LayerCache(n_bytes_per_token=64)
WINDOW = replace(FULL, n_window_tokens=10)
WIDTHS = Widths(n_hidden=32, n_mlp=100, n_queries=32, n_keys=16, n_heads=4, n_vocabulary=1000)
WORK = Work(n_sequences=3, n_input=50, n_output=20, n_bytes_per_value=2)


def test_the_cache_grows_with_every_token_of_every_sequence() -> None:
    # 2 layers x 64 bytes x 3 sequences x 50 tokens, then 70
    assert cache_bytes([FULL, FULL], WORK) == (19_200, 26_880)


def test_a_window_holds_the_prompt_whole_until_the_next_step() -> None:
    # Full: 50 then 70 tokens. Window of 10: 50 tokens then 10.
    assert cache_bytes([FULL, WINDOW], WORK) == (64 * 3 * 100, 64 * 3 * 80)


def test_read_in_pieces_a_window_holds_itself_and_a_piece() -> None:
    assert cache_bytes([WINDOW], replace(WORK, n_chunk=8)) == (64 * 3 * 18, 64 * 3 * 10)


def test_a_prompt_shorter_than_the_window_is_all_there_is() -> None:
    assert cache_bytes([WINDOW], replace(WORK, n_input=4, n_output=3)) == (64 * 3 * 4, 64 * 3 * 7)


def test_a_static_cache_is_made_for_its_length_from_the_start() -> None:
    assert cache_bytes([FULL, WINDOW], replace(WORK, n_cache_tokens=128)) == (64 * 3 * 138, 64 * 3 * 138)


def test_a_state_does_not_grow() -> None:
    assert cache_bytes([LayerCache(n_bytes_per_token=0, n_fixed_bytes=5000)], WORK) == (15_000, 15_000)


def test_without_a_cache_nothing_is_kept_and_everything_read_again() -> None:
    work = replace(WORK, keeps_cache=False)
    assert cache_bytes([FULL], work) == (0, 0)
    assert work.n_read == 70


def test_a_block_at_its_fullest_is_in_its_mlp() -> None:
    # Per token: 4 x 32 + 3 x 100 = 428 values, against 3 x 32 + 4 x 32 + 4 x 16 = 288 in attention.
    # 150 tokens of 2 bytes; masks of 3 x 50 x 50 truth values and numbers.
    assert block_bytes(WIDTHS, WORK) == 428 * 150 * 2 + 7500 * 3
    assert block_bytes(WIDTHS, replace(WORK, n_sequences=1)) == 428 * 50 * 2


def test_reading_in_pieces_makes_a_block_smaller() -> None:
    assert block_bytes(WIDTHS, replace(WORK, n_sequences=1, n_chunk=10)) == 428 * 10 * 2


def test_attention_that_writes_its_scores_down_takes_their_square() -> None:
    # 4 heads x 50 x 50 scores: 2 bytes, 4 in fp32, 4 of the softmax; in fp32 there is no copy.
    work = replace(WORK, n_sequences=1, stores_attention=True)
    assert block_bytes(WIDTHS, work) == 288 * 50 * 2 + 10_000 * 10
    assert block_bytes(WIDTHS, replace(work, n_bytes_per_value=4)) == 288 * 50 * 4 + 10_000 * 8


def test_a_step_takes_tables_of_the_vocabulary() -> None:
    assert step_bytes(WIDTHS, replace(WORK, n_score_tables=10.5)) == 3 * 1000 * 4 * 10.5
    every = replace(WIDTHS, scores_last_only=False)
    assert step_bytes(every, replace(WORK, n_score_tables=1)) == 3 * 1000 * 4 + 3 * 50 * 1000 * 2


def test_the_fullest_moment_is_the_prompt_or_the_end_and_not_both() -> None:
    layers = [FULL] * 10
    found = estimate(1e6, layers, WIDTHS, WORK, on_gpu=True)
    # After the prompt 96 000 and a block of 150 900; at the end 134 400 and, with 2.75 tables, 33 000.
    assert found.weights_mb == 1.0
    assert found.kv_cache_mb == pytest.approx(0.1344)
    assert found.activations_mb == pytest.approx((96_000 + 150_900 - 134_400) / 1e6)
    assert found.overhead_mb == pytest.approx(0.1 * 246_900 / 1e6)
    long = estimate(1e6, layers, WIDTHS, replace(WORK, n_output=2000), on_gpu=True)
    # 10 x 64 x 3 x 2050; while a layer's are made anew its 64 x 3 x 2050 are there twice.
    assert long.kv_cache_mb == pytest.approx(3.936)
    assert long.activations_mb == pytest.approx(0.3936)


def test_the_heap_of_a_cpu_loses_half_of_the_cache_five_blocks_and_some_tables() -> None:
    found = estimate(0, [FULL] * 10, WIDTHS, WORK, on_gpu=False)
    assert found.overhead_mb == pytest.approx((0.5 * 134_400 + 5 * 150 * 32 * 2 + 1.5 * 12_000) / 1e6)


def test_blocks_that_the_kernel_takes_back_leave_no_holes() -> None:
    # 600 000 tokens x 32 x 2 bytes are 38.4 MB, keys of a layer 19.2 MB: half of the cache is lost, of blocks nothing.
    work = replace(WORK, n_sequences=1, n_input=600_000, n_output=0)
    found = estimate(0, [FULL], WIDTHS, work, on_gpu=False)
    assert found.overhead_mb == pytest.approx((0.5 * 38.4e6 + 1.5 * 4000) / 1e6)
    work = replace(work, n_input=1_200_000)
    assert estimate(0, [FULL], WIDTHS, work, on_gpu=False).overhead_mb == pytest.approx(0.006)


def test_what_is_not_known_is_none_and_the_rest_stands() -> None:
    no_cache = estimate(2e6, None, WIDTHS, WORK, on_gpu=False)
    assert (no_cache.weights_mb, no_cache.kv_cache_mb, no_cache.total_mb) == (2.0, None, None)
    assert no_cache.certain_mb == 2.0
    no_widths = estimate(2e6, [FULL], None, WORK, on_gpu=False)
    assert (no_widths.activations_mb, no_widths.overhead_mb) == (None, None)
    assert no_widths.certain_mb == pytest.approx(2.0 + 64 * 3 * 70 / 1e6)


def test_models_in_memory_together_add_up_part_by_part() -> None:
    one = MemoryEstimate(weights_mb=1.0, kv_cache_mb=2.0, activations_mb=3.0, overhead_mb=4.0)
    other = replace(one, activations_mb=None, unknown=("activations: why",))
    assert sum_of([one, one]) == MemoryEstimate(weights_mb=2.0, kv_cache_mb=4.0, activations_mb=6.0, overhead_mb=8.0)
    both = sum_of([one, other, other])
    assert (both.kv_cache_mb, both.activations_mb, both.unknown) == (6.0, None, ("activations: why",))
