"""Which GPU belongs to which of several processes."""

import pytest

from llenergymeasure.orchestration.processes.worker import own_gpu


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (None, ["0", "1", "2"]),
        ("0,1,2", ["0", "1", "2"]),
        ("3, 5,7,9", ["3", "5", "7"]),
        ("GPU-aa,GPU-bb,MIG-cc", ["GPU-aa", "GPU-bb", "MIG-cc"]),
        # Hidden GPUs stay hidden, and preflight has refused too few.
        ("", ["", "", ""]),
        ("-1", ["-1", "-1", "-1"]),
        ("4,6", ["4", "6", "4,6"]),
    ],
)
def test_each_process_is_shown_its_own_gpu(listed: str | None, found: list[str]) -> None:
    environ = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert [own_gpu(index, environ) for index in range(3)] == found
