"""What is free, as the kernel, control groups and the driver say it."""

from pathlib import Path

import pytest

from llenergymeasure.core.memory.free import (
    cgroup_free_mb,
    free_gpu_memory,
    free_host_memory,
    fullest_gpu_memory,
    reset_resident_peak,
    resident_peak_mb,
)
from llenergymeasure.domain.environment import GpuInfo


def group(folder: Path, limit: str, usage: int, **stat: int) -> None:
    """A control group of the new kind, or, by the names of its files, of the old one."""
    old = "active_file" not in stat
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(limit + "\n")
    (folder / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stat.items()))


def process(tmp_path: Path, groups: str) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cgroup").write_text(groups)
    return tmp_path / "proc"


def test_a_container_of_the_new_kind_leaves_its_limit_less_use_and_page_cache(tmp_path: Path) -> None:
    group(tmp_path / "cg", "2000000000", 1_500_000_000, active_file=100_000_000, inactive_file=300_000_000)
    # 2000 - (1500 - 400) MB
    assert cgroup_free_mb(process(tmp_path, "0::/\n"), tmp_path / "cg") == 900.0


def test_the_tightest_group_up_to_the_root_counts(tmp_path: Path) -> None:
    root = tmp_path / "cg"
    group(root / "job", "800000000", 500_000_000, active_file=0, inactive_file=0)
    group(root / "job" / "step", "max", 400_000_000, active_file=0, inactive_file=0)
    assert cgroup_free_mb(process(tmp_path, "0::/job/step\n"), root) == 300.0


def test_a_group_of_the_old_kind(tmp_path: Path) -> None:
    group(
        tmp_path / "cg" / "memory" / "box",
        "1000000000",
        700_000_000,
        total_active_file=0,
        total_inactive_file=200_000_000,
    )
    assert cgroup_free_mb(process(tmp_path, "4:cpu,memory:/box\n1:cpu:/\n0::/\n"), tmp_path / "cg") == 500.0


@pytest.mark.parametrize("groups", ["0::/\n", "4:memory:/gone\n", ""])
def test_without_a_limit_there_is_none(tmp_path: Path, groups: str) -> None:
    group(tmp_path / "cg", "max", 1, active_file=0, inactive_file=0)
    assert cgroup_free_mb(process(tmp_path, groups), tmp_path / "cg") is None
    assert cgroup_free_mb(tmp_path / "nowhere", tmp_path / "cg") is None


def test_the_host_counts_where_no_group_is_tighter(tmp_path: Path) -> None:
    free = free_host_memory(process(tmp_path, ""), tmp_path)
    assert free.free_mb is not None
    assert free.free_mb > 0
    assert "machine" in free.where


def test_a_tighter_group_goes_before_the_host_and_has_no_swap(tmp_path: Path) -> None:
    group(tmp_path / "cg", "20000000", 15_000_000, active_file=0, inactive_file=0)
    free = free_host_memory(process(tmp_path, "0::/\n"), tmp_path / "cg")
    assert (free.free_mb, free.swap_mb) == (5.0, 0.0)
    assert "container" in free.where


def test_gpus_together_have_what_each_has_left() -> None:
    gpus = [
        GpuInfo(index=i, uuid=f"GPU-{i}", name="Fake", memory_total_mb=80_000.0, memory_used_mb=used)
        for i, used in enumerate((500.0, 30_000.0))
    ]
    free = free_gpu_memory(gpus)
    assert free.free_mb == 129_500.0
    assert "GPU 0 (Fake) and GPU 1 (Fake)" in free.where


def test_the_fullest_gpu_is_the_one_with_least_left() -> None:
    small = GpuInfo(index=0, uuid="GPU-0", name="Small", memory_total_mb=24_000.0, memory_used_mb=4_000.0)
    large = GpuInfo(index=1, uuid="GPU-1", name="Large", memory_total_mb=80_000.0, memory_used_mb=50_000.0)
    free = fullest_gpu_memory([large, small])
    assert (free.free_mb, free.where) == (20_000.0, "on GPU 0 (Small)")


def test_a_gpu_that_does_not_say_leaves_it_unknown() -> None:
    silent = GpuInfo(index=0, uuid="GPU-0", name="Fake", memory_total_mb=80_000.0)
    full = GpuInfo(index=1, uuid="GPU-1", name="Fake", memory_total_mb=80_000.0, memory_used_mb=80_000.0)
    assert free_gpu_memory([silent]).free_mb is None
    assert fullest_gpu_memory([full, silent]).free_mb is None


def test_the_peak_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("VmPeak:\t 9 kB\nVmHWM:\t    1000 kB\n")
    assert resident_peak_mb(tmp_path) == 1.024
    assert reset_resident_peak(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert resident_peak_mb(tmp_path / "nowhere") is None
    assert not reset_resident_peak(tmp_path / "nowhere")
