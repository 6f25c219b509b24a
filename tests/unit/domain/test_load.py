"""How requests arrive."""

import pytest

from llenergymeasure.domain.load import Load, in_groups


@pytest.mark.parametrize(
    ("load", "capacity", "sizes"),
    [
        (Load.in_batches(2), None, [2, 2, 1]),
        (Load.in_batches(2), 4, [2, 2, 1]),
        (Load.at_most(3), None, [3, 2]),
        (Load.all_at_once(), 4, [4, 1]),
        (Load.all_at_once(), None, [5]),
        (Load.at_due_times([0.0] * 5), 2, [2, 2, 1]),
    ],
)
def test_a_unit_is_what_is_at_work_at_the_same_time(load: Load, capacity: int | None, sizes: list[int]) -> None:
    units = load.units_of(range(5), capacity)
    assert [len(unit) for unit in units] == sizes
    assert [item for unit in units for item in unit] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n_at_once", [None, 0, -1])
@pytest.mark.parametrize("kind", ["batches", "concurrency"])
def test_a_load_without_the_number_it_needs_is_refused(kind: str, n_at_once: int | None) -> None:
    with pytest.raises(ValueError, match=f"kind {kind} needs n_at_once of 1 or more, not {n_at_once}"):
        Load(kind=kind, n_at_once=n_at_once)  # type: ignore[arg-type]


def test_nobody_waits_for_due_times_in_warm_up() -> None:
    assert Load.at_due_times([5.0]).of_one_unit() == Load.all_at_once()
    assert Load.at_most(2).of_one_unit() == Load.at_most(2)


def test_groups_are_consecutive() -> None:
    assert in_groups("abcde", 2) == [("a", "b"), ("c", "d"), ("e",)]
    assert in_groups([], 2) == []
