"""Energy of a short and a long request, from windows whose truth is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.under_load.classes import classes_of
from llenergymeasure.domain.under_load.load_result import ClassesResult, SubWindow
from llenergymeasure.domain.under_load.traffic import Traffic
from tests.unit.domain.under_load.made import request

# A short request takes 3 J and a long one 40 J, and the machine idles at 50 W.
SHORT_J, LONG_J, IDLE_W = 3.0, 40.0, 50.0
N_SHORT = (4, 9, 6, 2, 8, 5, 7, 3, 6, 5)
N_LONG = (5, 2, 6, 4, 3, 7, 2, 5, 4, 6)


def served(part: int, n_tokens: int) -> RequestOutput:
    """A request that begins and ends in a part of ten seconds."""
    at_s = 10.0 * part
    times = tuple(at_s + 1.0 + i * 0.01 for i in range(n_tokens))
    return request(at_s + 0.5, at_s + 0.5, times[-1], output_tokens=n_tokens, token_times_s=times)


def windows(
    n_short: Sequence[int], n_long: Sequence[int], noise_j: Sequence[float] | None = None
) -> tuple[Traffic, list[SubWindow]]:
    requests = [served(k, 10) for k, n in enumerate(n_short) for _ in range(n)]
    requests += [served(k, 200) for k, n in enumerate(n_long) for _ in range(n)]
    noise_j = [0.0] * len(n_short) if noise_j is None else noise_j
    parts = [
        SubWindow(
            start_s=10.0 * k, end_s=10.0 * (k + 1), part_energy_j=IDLE_W * 10 + SHORT_J * s + LONG_J * n + e,
            output_tokens=1, energy_per_output_token_j=None,
        )
        for k, (s, n, e) in enumerate(zip(n_short, n_long, noise_j, strict=True))
    ]  # fmt: skip
    return Traffic(requests, 0.0, 10.0 * len(n_short)), parts


def values(found: ClassesResult | None) -> list[float | None]:
    assert found is not None
    return [None if each.per_request_j is None else each.per_request_j.value for each in found.classes]


def why_not(found: ClassesResult | None) -> list[str | None]:
    assert found is not None
    return [each.why_not for each in found.classes]


def test_the_truth_is_found_where_classes_vary_apart() -> None:
    traffic, parts = windows(N_SHORT, N_LONG)
    found = classes_of(traffic, parts, IDLE_W, most_of_short=10)
    assert values(found) == pytest.approx([SHORT_J, LONG_J])
    assert found is not None
    assert [(c.name, c.n_requests, c.status) for c in found.classes] == [
        ("short", 55, "resolved"), ("long", 44, "resolved"),
    ]  # fmt: skip


def test_the_median_of_answers_parts_the_classes_where_nothing_is_said() -> None:
    traffic, parts = windows(N_SHORT, N_LONG)
    found = classes_of(traffic, parts, IDLE_W)
    assert found is not None
    # 55 of 10 tokens and 44 of 200.
    assert found.n_most_tokens_of_short == 10
    assert values(found) == pytest.approx([SHORT_J, LONG_J])


def test_intervals_are_those_of_least_squares() -> None:
    noise = [2.0, -1.0, 0.5, -2.0, 1.0, 0.0, -0.5, 1.5, -1.5, 0.0]
    traffic, parts = windows(N_SHORT, N_LONG, noise)
    found = classes_of(traffic, parts, IDLE_W, most_of_short=10)
    assert found is not None
    # The same by formulas of two unknowns; t(.975, 8) is 2.306 (tables).
    s, n = np.array(N_SHORT, dtype=float), np.array(N_LONG, dtype=float)
    y = SHORT_J * s + LONG_J * n + np.array(noise)
    ss, nn, sn, sy, ny = s @ s, n @ n, s @ n, s @ y, n @ y
    det = ss * nn - sn * sn
    a, b = (nn * sy - sn * ny) / det, (ss * ny - sn * sy) / det
    variance = float(np.sum((y - a * s - b * n) ** 2)) / 8
    for each, value, own in zip(found.classes, (a, b), (nn, ss), strict=True):
        half = 2.306004 * (variance * own / det) ** 0.5
        assert each.per_request_j is not None
        assert each.per_request_j.value == pytest.approx(value)
        assert each.per_request_j.low == pytest.approx(value - half, rel=1e-6)
        assert each.per_request_j.high == pytest.approx(value + half, rel=1e-6)


def test_intervals_hold_the_truth_nineteen_times_of_twenty() -> None:
    random = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        traffic, parts = windows(N_SHORT, N_LONG, random.normal(0, 5, 10).tolist())
        found = classes_of(traffic, parts, IDLE_W, most_of_short=10)
        assert found is not None
        long = found.classes[1].per_request_j
        assert long is not None
        assert long.low is not None
        assert long.high is not None
        inside += long.low <= LONG_J <= long.high
    assert 0.92 <= inside / 300 <= 0.98


def test_classes_that_never_vary_apart_are_unresolved() -> None:
    traffic, parts = windows([2, 4, 6, 2, 4, 6, 8, 2, 4, 6], [1, 2, 3, 1, 2, 3, 4, 1, 2, 3])
    found = classes_of(traffic, parts, IDLE_W, most_of_short=10)
    assert values(found) == [None, None]
    assert (
        why_not(found)
        == ["short and long requests came in the same proportion in every part, so nothing parts them"] * 2
    )


def test_what_may_be_nothing_is_unresolved() -> None:
    noise = [40.0, -30.0, 20.0, -40.0, 30.0, 0.0, -20.0, 35.0, -35.0, 0.0]
    traffic, parts = windows(N_SHORT, N_LONG, noise)
    found = classes_of(traffic, parts, IDLE_W, most_of_short=10)
    assert found is not None
    assert [each.status for each in found.classes] == ["unresolved", "resolved"]
    assert found.classes[0].why_not == "its interval reaches down to zero"
    assert found.classes[0].per_request_j is not None


@pytest.mark.parametrize(
    ("n", "idle_w", "most", "why"),
    [
        (10, None, 10, "the power of idling with the model loaded is not known"),
        (4, IDLE_W, 10, "4 parts of the window are too few; 5 are needed"),
        (10, IDLE_W, 500, "all answers are of one class"),
    ],
)
def test_why_classes_cannot_be_told_apart(n: int, idle_w: float | None, most: float, why: str) -> None:
    traffic, parts = windows(N_SHORT[:n], N_LONG[:n])
    assert why_not(classes_of(traffic, parts, idle_w, most_of_short=most)) == [why, why]


def test_a_request_of_two_parts_counts_in_each_by_its_tokens() -> None:
    # Six tokens before ten seconds and four after, of one short request.
    times = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 11.0, 12.0, 13.0, 14.0)
    over = request(3.0, 3.0, 14.0, output_tokens=10, token_times_s=times)
    traffic, parts = windows(N_SHORT, N_LONG)
    joules = [p.part_energy_j or 0.0 for p in parts]
    with_it = [
        SubWindow(
            start_s=p.start_s, end_s=p.end_s, part_energy_j=j + SHORT_J * {0: 0.6, 1: 0.4}.get(k, 0.0),
            output_tokens=1, energy_per_output_token_j=None,
        )
        for k, (p, j) in enumerate(zip(parts, joules, strict=True))
    ]  # fmt: skip
    found = classes_of(Traffic([*traffic.requests, over], 0.0, 100.0), with_it, IDLE_W, most_of_short=10)
    assert values(found) == pytest.approx([SHORT_J, LONG_J])
    assert found is not None
    assert found.classes[0].n_requests == pytest.approx(56)


def test_nothing_is_said_without_joules_or_requests() -> None:
    traffic, parts = windows(N_SHORT, N_LONG)
    unknown = [SubWindow(start_s=0.0, end_s=1.0, part_energy_j=None, output_tokens=0, energy_per_output_token_j=None)]
    assert classes_of(traffic, unknown, IDLE_W) is None
    assert classes_of(Traffic([], 0.0, 1.0), parts, IDLE_W) is None
