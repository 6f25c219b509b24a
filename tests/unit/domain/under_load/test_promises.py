"""Promises, what met them, and joules per token that came as promised."""

from dataclasses import replace

import pytest

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.under_load.promises import promises_of
from tests.unit.domain.under_load.made import failed, request, traffic


def answered(due_s: float, ttft_s: float, n_tokens: int, tpot_s: float) -> RequestOutput:
    """An answer whose tokens come evenly."""
    times = tuple(due_s + ttft_s + i * tpot_s for i in range(n_tokens))
    return request(due_s, due_s, times[-1], output_tokens=n_tokens, token_times_s=times)


def test_goodput_is_of_requests_that_met_all_and_joules_go_over_their_tokens() -> None:
    # Of five that ended, the second is late to begin, the third slow, the fourth failed. Times are sums of eighths.
    requests = [
        answered(101.0, 0.25, 5, 0.125),
        answered(102.0, 0.75, 5, 0.125),
        answered(103.0, 0.25, 5, 0.5),
        failed(104.0, 105.0),
        answered(106.0, 0.25, 1, 0.0),
    ]
    found = promises_of(traffic(requests), {"ttft_p95_s": 0.5, "tpot_p95_s": 0.25, "e2e_p95_s": None}, 60.0)
    assert found is not None
    assert (found.n_ended, found.n_good, found.good_share) == (5, 2, 0.4)
    # Five tokens and one; a single one has no time after the first.
    assert found.n_good_output_tokens == 6
    assert found.good_requests_per_second == pytest.approx(0.2)
    assert found.good_tokens_per_second == pytest.approx(0.6)
    assert found.joules_per_good_token == pytest.approx(10.0)
    ttft, tpot = found.promised
    assert (ttft.latency, ttft.limit_s, tpot.latency, tpot.limit_s) == ("ttft", 0.5, "tpot", 0.25)
    # The 95th percentile of five lies between the fourth and the last, which failed.
    assert (ttft.p95_s, tpot.p95_s) == (None, None)
    # Of five requests nobody says whether it was met.
    assert (ttft.met, found.met) == (None, None)


def test_tokens_count_where_they_lie_and_requests_where_they_end() -> None:
    # Tokens at 109, 110, 111 and 112 s: two in the window, in which it does not end.
    over_the_end = answered(108.0, 1.0, 4, 1.0)
    # Tokens at 99, 100, 101 and 102 s: two of them are in the window.
    over_the_start = answered(98.0, 1.0, 4, 1.0)
    found = promises_of(traffic([over_the_start, over_the_end]), {"e2e_p95_s": 5.0}, 40.0)
    assert found is not None
    assert (found.n_ended, found.n_good, found.n_good_output_tokens, found.joules_per_good_token) == (1, 1, 4, 10.0)
    # One that was given up was not good, whatever it had given.
    given_up = promises_of(
        traffic([over_the_start, replace(over_the_end, finish_reason="cancelled")]), {"e2e_p95_s": 5.0}, 40.0
    )
    assert given_up is not None
    assert given_up.n_good_output_tokens == 2


@pytest.mark.parametrize(
    ("n_slow", "n_failed", "p95_s", "met"),
    [
        # The percentile of 41 values is the 39th, counted from 1.
        (0, 0, 0.5, True),
        (2, 0, 0.5, True),
        (3, 0, 3.0, False),
        # A request that failed is later than any other: two are beyond, three are not.
        (0, 2, 0.5, True),
        (0, 3, None, False),
        (1, 2, 3.0, False),
    ],
)
def test_the_percentile_is_over_all_that_ended(n_slow: int, n_failed: int, p95_s: float | None, met: bool) -> None:
    fine = [request(101.0, 101.0, 101.5) for _ in range(41 - n_slow - n_failed)]
    slow = [request(101.0, 101.0, 104.0) for _ in range(n_slow)]
    found = promises_of(
        traffic([*fine, *slow, *(failed(102.0, 103.0) for _ in range(n_failed))]), {"e2e_p95_s": 2}, 1.0
    )
    assert found is not None
    assert (found.promised[0].p95_s, found.promised[0].met, found.met) == (p95_s, met, met)


def test_one_promise_that_was_broken_is_enough() -> None:
    # Nobody told when the first token came; all were too slow.
    requests = [request(101.0, 101.0, 109.0) for _ in range(30)]
    found = promises_of(traffic(requests), {"ttft_p95_s": 1.0, "e2e_p95_s": 2.0}, None)
    assert found is not None
    assert [each.met for each in found.promised] == [None, False]
    assert found.met is False
    assert (found.n_good, found.joules_per_good_token) == (0, None)


def test_of_several_answers_the_slowest_counts() -> None:
    # Tokens at 1, 2 and 4 s: an answer of two takes a second for its second token, one of three 1.5 s for each.
    both = request(
        101.0, 101.0, 105.0, output_tokens=5, token_times_s=(102.0, 103.0, 105.0), output_ids=((1, 2), (1, 2, 3))
    )  # fmt: skip
    for limit_s, n_good in ((1.5, 1), (1.25, 0)):
        found = promises_of(traffic([both]), {"tpot_p95_s": limit_s}, None)
        assert found is not None
        assert found.n_good == n_good


def test_nothing_is_said_where_nothing_was_promised() -> None:
    assert promises_of(traffic([]), None, 1.0) is None
    assert promises_of(traffic([]), {"ttft_p95_s": None}, 1.0) is None
    nobody = promises_of(traffic([]), {"ttft_p95_s": 1.0}, 1.0)
    assert nobody is not None
    assert (nobody.good_share, nobody.promised[0].p95_s, nobody.joules_per_good_token) == (None, None, None)
