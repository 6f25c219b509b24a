"""The rule by which a window is overloaded, on queues whose growth is known."""

import numpy as np
import pytest
from scipy import stats

from llenergymeasure.domain.under_load.overload import about_overload, overload_of
from llenergymeasure.domain.under_load.traffic import Traffic
from tests.unit.domain.under_load.made import request


def queue(rate: float, served_per_s: float, seconds: float = 100.0) -> Traffic:
    """Requests that come evenly and are served one after the other."""
    came = np.arange(0.5, seconds * rate) / rate
    ends, free_s = [], 0.0
    for came_s in came:
        free_s = max(free_s, came_s) + 1 / served_per_s
        ends.append(free_s)
    requests = [request(float(c), float(c), float(e)) for c, e in zip(came, ends, strict=True)]
    return Traffic(requests, 0.0, seconds)


def test_a_queue_that_grows_by_a_fifth_of_what_comes_is_overloaded() -> None:
    # Ten come and eight are served each second: two more wait after each, 200 after a hundred.
    found = overload_of(queue(10.0, 8.0))
    assert found is not None
    assert found.overloaded
    assert found.n_grown == pytest.approx(200, abs=2)
    assert found.share_of_arrivals == pytest.approx(0.2, abs=0.002)
    assert found.p_value < 1e-6
    (said,) = about_overload(found)
    assert said.flag == "overloaded"
    assert "grew by 200 over the window, 20 % of those that came" in said.text


def test_how_probable_a_slope_is_comes_from_students_t() -> None:
    # In the tenths of a hundred seconds 1 to 10 requests are there, and one more or less by turns.
    means = [k + 1 + (1 if k % 2 else -1) for k in range(10)]
    requests = [request(10.0 * k, 10.0 * k, 10.0 * k + 10.0) for k, n in enumerate(means) for _ in range(n)]
    found = overload_of(Traffic(requests, 0.0, 100.0))
    line = stats.linregress(range(10), means, alternative="greater")
    assert found is not None
    assert found.p_value == pytest.approx(line.pvalue)
    assert found.n_grown == pytest.approx(10 * line.slope)


def test_a_queue_of_which_all_is_served_is_not() -> None:
    found = overload_of(queue(10.0, 12.5))
    assert found is not None
    # A straight line that is level.
    assert not found.overloaded
    assert found.n_grown == pytest.approx(0.0, abs=0.1)
    assert about_overload(found) == []


def test_a_growth_of_less_than_a_twentieth_of_what_came_is_none() -> None:
    # 10 of 1,000 and 60 of 1,000, both without any doubt.
    little, more = overload_of(queue(10.0, 9.9)), overload_of(queue(10.0, 9.4))
    assert little is not None
    assert more is not None
    assert (little.overloaded, more.overloaded) == (False, True)
    assert little.n_grown == pytest.approx(10, abs=1)
    assert more.n_grown == pytest.approx(60, abs=1)


def test_a_growth_of_less_than_what_is_there_differs_by_anyway_is_none() -> None:
    # Of 40 that came nearly three more are there at the end than at the start, beside sixteen: twice the root is 8.
    steady = [request(-1.0, -1.0, 101.0) for _ in range(14)]
    coming = [request(float(t), float(t), float(t) + 1.0 + t / 15.0) for t in np.arange(0.5, 100.0, 2.5)]
    found = overload_of(Traffic([*steady, *coming], 0.0, 100.0))
    assert found is not None
    assert found.n_grown > 0.05 * 40
    assert found.p_value < 0.01
    assert not found.overloaded


def test_what_the_engine_had_no_room_for_is_what_grows() -> None:
    # One at a time, of 2 s, and one comes each second: half of them never begin before the end.
    requests = [request(float(i), 2.0 * i, 2.0 * i + 2.0) for i in range(50)]
    unsent = tuple(float(i) for i in range(50, 100))
    found = overload_of(Traffic(requests, -0.5, 99.5, unsent))
    assert found is not None
    assert found.overloaded
    assert found.n_grown == pytest.approx(50, abs=1.5)
    # Without them it would seem to be served.
    seen = overload_of(Traffic(requests, -0.5, 99.5))
    assert seen is not None
    assert not seen.overloaded


def test_of_few_requests_nothing_is_said() -> None:
    assert overload_of(queue(0.19, 0.1)) is None
    assert about_overload(None) == []


@pytest.mark.parametrize(("of_what_is_served", "most", "least"), [(0.8, 0.03, 0.0), (1.3, 1.0, 0.97)])
def test_independent_users_are_told_from_too_many(of_what_is_served: float, most: float, least: float) -> None:
    # Poisson arrivals at one server of exponential times, 480 requests: how often it is said of 100 windows.
    random = np.random.default_rng(7)
    n_said = 0
    for _ in range(100):
        came = np.cumsum(random.exponential(1.0, 580))
        took = random.exponential(of_what_is_served, 580)
        ends, free_s = [], 0.0
        for came_s, took_s in zip(came, took, strict=True):
            free_s = max(free_s, float(came_s)) + float(took_s)
            ends.append(free_s)
        requests = [request(float(c), float(c), e) for c, e in zip(came, ends, strict=True)]
        found = overload_of(Traffic(requests, float(came[99]), float(came[-1])))
        n_said += found is not None and found.overloaded
    assert least <= n_said / 100 <= most
