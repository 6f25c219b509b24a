"""What nothing is better than."""

import itertools
import random

import pytest

from llenergymeasure.results.study.fronts import pareto


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [0]),
        # Drawn on paper: 0, 2 and 4 make the lower left edge; 1 is above 2, 3 to the right of it.
        ([(1, 5), (2, 4), (2, 3), (3, 3), (4, 1), (5, 2)], [0, 2, 4]),
        # Equal points stand beside each other.
        ([(1, 1), (1, 1), (1, 2)], [0, 1]),
        # One that is as good in one and better in the other wins.
        ([(1, 2), (1, 1), (2, 1)], [1]),
        # Less is better: as throughput is handed in below zero, the fastest is the least.
        ([(10, -3), (20, -5), (30, -4)], [0, 1]),
    ],
)
def test_the_front_of_a_small_set(points: list[tuple[float, float]], front: list[int]) -> None:
    assert pareto(points) == front


def test_it_is_what_comparing_all_with_all_gives() -> None:
    drawn = random.Random(5)
    for _ in range(200):
        points = [(float(drawn.randint(0, 6)), float(drawn.randint(0, 6))) for _ in range(drawn.randint(0, 12))]
        beaten = {
            b
            for a, b in itertools.permutations(range(len(points)), 2)
            if points[a] != points[b] and points[a][0] <= points[b][0] and points[a][1] <= points[b][1]
        }
        assert pareto(points) == [place for place in range(len(points)) if place not in beaten]
