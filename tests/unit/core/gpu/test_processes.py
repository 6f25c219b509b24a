"""Whose processes are on the GPUs."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.gpu.processes import ForeignProcesses, foreign_processes, own_pids, pids_before
from llenergymeasure.domain.environment import GpuInfo

OWN = {100, 101}
pids = st.sets(st.integers(1, 12), max_size=5)


@pytest.mark.parametrize(
    ("before", "at_end", "foreign_before", "foreign_at_end"),
    [
        ([], [100], [], []),
        ([], [100, 101], [], []),
        ([7], [7, 100], [7], [7]),
        ([7], [100], [7], []),  # gone by then, but it was in the baseline
        ([], [8, 101], [], [8]),  # a child of ours is as good as we are
        ([100], [100], [], []),  # ours from an earlier experiment in this process
        ([], [4711], [], []),  # a container: this may be ourselves under the host's number
        ([7], [7, 4711], [7], [7]),  # a container with somebody else in it
        ([7], [4711], [7], []),
        (None, None, [], []),
        (None, [7, 100], [], [7]),
        ([7], None, [7], []),
    ],
)
def test_others_are_told_from_ours_also_where_pids_are_the_hosts(
    before: list[int] | None, at_end: list[int] | None, foreign_before: list[int], foreign_at_end: list[int]
) -> None:
    assert foreign_processes(before, at_end, OWN) == ForeignProcesses(
        pids_before_load=frozenset(foreign_before), pids_at_end=frozenset(foreign_at_end)
    )


@given(pids, pids, pids)
def test_we_are_never_foreign_and_who_is_foreign_was_listed(before: set[int], at_end: set[int], own: set[int]) -> None:
    found = foreign_processes(before, at_end, own)
    assert not (found.pids_before_load | found.pids_at_end) & own
    assert found.pids_before_load <= before
    assert found.pids_at_end <= at_end


def test_children_are_our_own() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = own_pids()
        assert {os.getpid(), child.pid} <= found
        assert os.getppid() not in found
        child.communicate(b"\n")


def test_a_snapshot_knows_who_was_there() -> None:
    def gpu(running: tuple[int, ...] | None) -> GpuInfo:
        return GpuInfo(index=0, uuid="GPU-a", name="G", running_pids=running)

    assert pids_before([gpu((7, 8)), gpu((8, 9)), gpu(None)]) == frozenset({7, 8, 9})
    assert pids_before([gpu(())]) == frozenset()
    assert pids_before([gpu(None)]) is None
    assert pids_before([]) is None
