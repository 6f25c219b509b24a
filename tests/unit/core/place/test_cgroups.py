"""Limits of control groups of both versions, as files in a folder have them."""

from pathlib import Path

import pytest

from llenergymeasure.core.place.cgroups import CgroupLimits, cgroup_limits
from llenergymeasure.core.place.share import this_share

V2 = "35 24 0:30 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1 = "36 24 0:31 {root} /sys/fs/cgroup/{name} rw shared:9 - cgroup cgroup rw,{name}"


def proc(folder: Path, groups: list[str], mounts: list[str]) -> Path:
    """What the system tells of the process."""
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text("\n".join(groups) + "\n", encoding="utf-8")
    (folder / "self" / "mountinfo").write_text("\n".join(["22 1 0:2 / / rw - ext4 /dev/a rw", *mounts]), "utf-8")
    return folder / "self"


def put(folder: Path, path: str, **files: str) -> None:
    """Files of a group; their names have a dot where these have two lines."""
    place = folder / "sys" / "fs" / "cgroup" / path
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text + "\n", encoding="utf-8")


def test_of_version_2_the_narrowest_group_counts(tmp_path: Path) -> None:
    here = proc(tmp_path, ["0::/slurm/job_4711/step_0"], [V2.format(root="/")])
    put(tmp_path, "", cpuset__cpus__effective="0-63")
    put(tmp_path, "slurm/job_4711", cpu__max="400000 100000", memory__max="8000000000", cpuset__cpus__effective="0-3,8")
    put(tmp_path, "slurm/job_4711/step_0", cpu__max="max 100000", memory__max="max", cpuset__cpus__effective="0-3")
    assert cgroup_limits(here, tmp_path) == CgroupLimits(cpu_quota=4.0, n_cpus=4, memory_mb=8000.0)


def test_of_version_1_each_controller_has_a_tree(tmp_path: Path) -> None:
    here = proc(
        tmp_path,
        ["4:memory:/job", "3:cpuset:/job", "2:cpu,cpuacct:/job", "1:name=systemd:/"],
        [V1.format(root="/", name=name) for name in ("memory", "cpuset", "cpu")],
    )
    put(tmp_path, "memory/job", memory__limit_in_bytes="2000000000")
    put(tmp_path, "memory", memory__limit_in_bytes="9223372036854771712")
    put(tmp_path, "cpuset/job", cpuset__cpus="2,5-6")
    put(tmp_path, "cpu/job", cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    put(tmp_path, "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cgroup_limits(here, tmp_path) == CgroupLimits(cpu_quota=1.5, n_cpus=3, memory_mb=2000.0)


def test_a_container_is_shown_its_part_of_the_tree(tmp_path: Path) -> None:
    # The path is that of outside, and what is mounted begins there.
    here = proc(tmp_path, ["0::/docker/abc/inner"], [V2.format(root="/docker/abc")])
    put(tmp_path, "", cpu__max="200000 100000")
    put(tmp_path, "inner", cpu__max="max 100000")
    assert cgroup_limits(here, tmp_path).cpu_quota == 2.0


@pytest.mark.parametrize("text", ["", "x y", "max", "1 0"])
def test_files_of_another_form_say_nothing(tmp_path: Path, text: str) -> None:
    here = proc(tmp_path, ["0::/", "torn"], [V2.format(root="/"), "torn"])
    put(tmp_path, "", cpu__max=text, memory__max=text, cpuset__cpus__effective=text)
    found = cgroup_limits(here, tmp_path)
    assert (found.cpu_quota, found.memory_mb) == (None, None)


def test_a_system_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path, tmp_path) == CgroupLimits()


def test_a_share_is_of_limits_the_mask_and_what_cuda_is_shown() -> None:
    found = this_share({"CUDA_VISIBLE_DEVICES": "0"}, CgroupLimits(cpu_quota=1.5, n_cpus=3, memory_mb=2000.0), 2)
    assert (found.n_cpus_allowed, found.n_cpus_in_set, found.cpu_quota) == (2, 3, 1.5)
    assert (found.memory_limit_mb, found.gpus_shown) == (2000.0, "0")
    # Of this machine, whatever it is.
    assert (this_share({}).n_cpus_allowed or 1) >= 1
