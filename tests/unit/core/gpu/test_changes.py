"""Changes between reads."""

from llenergymeasure.core.gpu.changes import Change, changes_of


def test_a_change_lies_between_the_looks_at_the_clock_around_both_reads() -> None:
    (change,) = changes_of([(0.0, 1.0, 5.0), (3.0, 4.0, 7.0), (5.0, 6.0, 7.0)])
    assert change == Change(0.0, 4.0, 5.0, 7.0)
    assert (change.time_s, change.width_s) == (2.0, 2.0)


def test_failed_reads_are_no_changes() -> None:
    reads = [(0.0, 1.0, 5.0), (1.0, 2.0, None), (2.0, 3.0, 5.0), (3.0, 4.0, 6.0)]
    assert [(change.time_s, change.width_s, change.new) for change in changes_of(reads)] == [(3.0, 1.0, 6.0)]
    assert list(changes_of([(0.0, 1.0, None), (1.0, 2.0, 5.0)])) == []
