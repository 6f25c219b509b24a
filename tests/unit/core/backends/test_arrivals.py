"""Which requests may begin."""

import time
from dataclasses import replace

import pytest

from llenergymeasure.core.backends.arrivals import PATIENCE_S, Arrivals
from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.load import Load

REQUESTS = [Request(index=i, token_ids=(1,), max_output_tokens=1) for i in range(3)]


def begun(waiting: Arrivals, n_in_flight: int = 0) -> list[int]:
    """Indices of what begins now, each staying in flight."""
    found: list[int] = []
    while (due := waiting.due(n_in_flight + len(found))) is not None:
        found.append(due[0].index)
    return found


@pytest.mark.parametrize(
    ("load", "most", "first"),
    [
        (Load.all_at_once(), None, [0, 1, 2]),
        (Load.all_at_once(), 2, [0, 1]),
        (Load.at_most(2), None, [0, 1]),
        (Load.at_most(2), 1, [0]),
        (Load.at_most(9), None, [0, 1, 2]),
    ],
)
def test_as_many_begin_as_the_load_and_the_engine_have_room_for(load: Load, most: int | None, first: list[int]) -> None:
    waiting = Arrivals(REQUESTS, load, most)
    assert begun(waiting) == first
    assert waiting.wait_s(len(first)) == PATIENCE_S
    assert bool(waiting) is (len(first) < 3)
    assert begun(waiting, len(first) - 1) == [0, 1, 2][len(first) : len(first) + 1]


def test_none_begins_before_it_is_due_and_the_wait_is_for_the_next() -> None:
    before_s = time.monotonic()
    waiting = Arrivals(REQUESTS, Load.at_due_times([0.0, 0.02, 60.0]))
    after_s = time.monotonic()
    first = waiting.due(0)
    assert first is not None
    assert first[1] is not None
    assert before_s <= first[1] <= after_s
    assert waiting.wait_s(1) <= 0.02
    time.sleep(0.03)
    assert waiting.wait_s(1) == 0.0
    assert begun(waiting, 1) == [1]
    # The last is a minute off; whoever waits looks up before.
    assert (waiting.due(0), waiting.wait_s(0)) == (None, PATIENCE_S)


def test_no_request_is_waited_for_that_has_no_room() -> None:
    waiting = Arrivals(REQUESTS, Load(kind="due_times", due_s=(0.0, 0.0, 0.0), n_at_once=1))
    assert begun(waiting) == [0]
    assert waiting.wait_s(1) == PATIENCE_S


def test_none_begins_once_no_more_are_to_arrive() -> None:
    closed: list[bool] = []
    waiting = Arrivals(REQUESTS, replace(Load.at_most(1), closed=lambda: bool(closed)))
    assert begun(waiting) == [0]
    closed.append(True)
    assert (bool(waiting), waiting.due(0), waiting.wait_s(0)) == (False, None, PATIENCE_S)


def test_what_was_due_before_no_more_are_to_arrive_begins_all_the_same() -> None:
    waiting = Arrivals(REQUESTS, replace(Load.at_due_times([0.0, 0.01, 60.0]), closed=lambda: time.monotonic() > end_s))
    end_s = time.monotonic() + 0.05
    time.sleep(0.1)
    assert begun(waiting) == [0, 1]
    assert not waiting


def test_every_request_has_a_time_of_its_own() -> None:
    with pytest.raises(ValueError, match="3 requests have 2 due times"):
        Arrivals(REQUESTS, Load.at_due_times([0.0, 1.0]))
