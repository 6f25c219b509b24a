"""CUDA_VISIBLE_DEVICES, read as CUDA reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.gpu.machine import driver_version, list_gpus, visible_gpus
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.environment import GpuInfo
from tests.fakes.nvml import FakeGpu, FakeNvml

A, B, C = "GPU-aaaa1111-0", "GPU-aaaa2222-0", "GPU-cccc3333-0"


def _machine() -> NvidiaDriver:
    return NvidiaDriver(FakeNvml(FakeGpu(A), FakeGpu(B), FakeGpu(C)))


def _no_driver() -> NvidiaDriver:
    library = FakeNvml()
    library.fail("nvmlInit")
    return NvidiaDriver(library)


def test_gpus_are_described_in_the_drivers_order() -> None:
    library = FakeNvml(
        FakeGpu(
            A,
            name="H100",
            memory_total=80_000_000_000,
            power_limit_w=500,
            architecture=9,
            compute_pids=(7,),
            compute_capability=(9, 0),
        ),
        FakeGpu(
            B,
            name="T4",
            memory_total=16_000_000_000,
            power_limit_w=70,
            power_limit_default_w=70,
            persistence_mode=0,
            architecture=6,
        ),
    )
    library.fail("nvmlDeviceGetCudaComputeCapability", uuid=B, value=3)
    library.fail("nvmlDeviceGetComputeRunningProcesses", uuid=B, value=3)
    assert list_gpus(NvidiaDriver(library)) == (
        GpuInfo(
            index=0,
            uuid=A,
            name="H100",
            memory_total_mb=80_000.0,
            memory_used_mb=2_000.0,
            persistence_mode=True,
            power_limit_w=500.0,
            power_limit_default_w=700.0,
            mig_mode=False,
            architecture=9,
            compute_capability=(9, 0),
            running_pids=(7,),
        ),
        GpuInfo(
            index=1,
            uuid=B,
            name="T4",
            memory_total_mb=16_000.0,
            memory_used_mb=2_000.0,
            persistence_mode=False,
            power_limit_w=70.0,
            power_limit_default_w=70.0,
            mig_mode=False,
            architecture=6,
            running_pids=None,
        ),
    )
    assert library.n_open == 0


def test_without_a_driver_there_is_nothing_and_no_error() -> None:
    assert list_gpus(_no_driver()) == ()
    assert driver_version(_no_driver()) is None
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0"}, _no_driver()).uuids == ()


def test_the_driver_version_is_read() -> None:
    assert driver_version(NvidiaDriver(FakeNvml(driver="535.1"))) == "535.1"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, (A, B, C)),
        ("", ()),
        ("1", (B,)),
        ("2,0", (C, A)),
        (" 1 , 0 ", (B, A)),
        ("0,7,1", (A,)),
        ("-1", ()),
        ("0,-1,1", (A,)),
        ("NoDevFiles", ()),
        ("0,,1", (A,)),
        (B, (B,)),
        (f"{C},{A}", (C, A)),
        ("GPU-cccc", (C,)),
        ("GPU-CCCC", (C,)),
        ("GPU-aaaa", ()),
        ("GPU-aaaa1,GPU-aaaa2", (A, B)),
        ("GPU-dddd,0", ()),
        ("2,GPU-aaaa1", (C, A)),
        ("9,MIG-1234", ()),
    ],
)
def test_the_variable_chooses_and_orders_gpus_and_ends_at_the_first_invalid_entry(
    listed: str | None, expected: tuple[str, ...]
) -> None:
    visible = visible_gpus({} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}, _machine())
    assert visible.uuids == expected
    assert visible.problem is None


@pytest.mark.parametrize("listed", ["MIG-1234", "mig-1234", "0,MIG-1234", "MIG-GPU-aaaa1111-0/3/0"])
def test_a_mig_slice_leaves_no_gpu_and_a_problem_that_names_it(listed: str) -> None:
    visible = visible_gpus({"CUDA_VISIBLE_DEVICES": listed}, _machine())
    assert visible.gpus == ()
    assert visible.problem is not None
    assert listed.rsplit(",", 1)[-1] in visible.problem


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert visible_gpus(driver=_machine()).uuids == (C,)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus(driver=_machine()).uuids == (A, B, C)


@given(
    st.one_of(st.text(max_size=30), st.lists(st.sampled_from(["0", "1", "2", "3", A, "GPU-", "x", ""])).map(",".join))
)
def test_any_value_gives_existing_gpus_each_at_most_once(listed: str) -> None:
    uuids = visible_gpus({"CUDA_VISIBLE_DEVICES": listed}, _machine()).uuids
    assert set(uuids) <= {A, B, C}
    assert len(set(uuids)) == len(uuids)


@pytest.mark.parametrize("environ", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_gpu_in_mig_mode_is_said_and_not_measured(environ: dict[str, str]) -> None:
    found = visible_gpus(environ, NvidiaDriver(FakeNvml(FakeGpu("GPU-a", mig_mode=1))))
    assert found.gpus == ()
    assert "GPU-a is in MIG mode" in (found.problem or "")
