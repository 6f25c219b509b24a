"""A machine as text: what it has, what it lacks, what could be better."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from llenergymeasure.cli import render_machine
from llenergymeasure.core.energy_backends import SensorStatus
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.machine.place import Job, NodeShare
from llenergymeasure.orchestration.advice import Advice
from llenergymeasure.orchestration.inspection import Availability
from llenergymeasure.results.showing.lines import LABEL
from llenergymeasure.testing import fake_environment

GPUS = (
    GpuInfo(
        index=0, uuid="GPU-0", name="Fake GPU", memory_total_mb=80000.0, persistence_mode=True, power_limit_w=300.0,
        power_limit_default_w=400.0,
    ),
    GpuInfo(index=1, uuid="GPU-1", name="Fake GPU", power_limit_w=400.0, power_limit_default_w=400.0),
)  # fmt: skip


def test_what_is_known_at_once_stands_first(tmp_path: Path) -> None:
    environment = replace(fake_environment(), gpus=GPUS)
    visible = VisibleGpus(GPUS[:1], "CUDA_VISIBLE_DEVICES names a GPU that is not there")
    lines = [
        " ".join(line.split())
        for line in render_machine.machine(environment, frozenset({"fp32"}), visible, tmp_path / "no")
    ]
    assert [line.split()[0] for line in lines[:3]] == ["llem", "machine", "CPU"]
    assert lines[2].endswith("fp32 natively; fp16 and bf16 emulated, which is slow")
    assert lines[3] == "GPU 0 Fake GPU, 80 GB, power limit 300 W of 400 W, persistence mode on, GPU-0"
    assert lines[4] == "GPU 1 Fake GPU, power limit 400 W, GPU-1, hidden by CUDA_VISIBLE_DEVICES"
    assert lines[5] == "CUDA_VISIBLE_DEVICES names a GPU that is not there"
    assert lines[6] == f"user file {tmp_path}/no (none yet)"


def test_without_gpus_and_without_a_word_of_the_system_it_says_so(tmp_path: Path) -> None:
    said = "\n".join(render_machine.machine(fake_environment(), None, VisibleGpus(), tmp_path))
    assert "GPUs                none (no NVIDIA driver answered)" in said
    assert "the system does not say in which formats" in said
    everything = frozenset({"fp32", "fp16", "bf16"})
    assert "emulated" not in "\n".join(render_machine.machine(fake_environment(), everything, VisibleGpus(), tmp_path))


def test_an_engine_says_its_version_or_why_not() -> None:
    assert render_machine.engine(Availability("one", None, version="lib 1.2")).split(maxsplit=2)[2] == "usable, lib 1.2"
    assert render_machine.engine(Availability("one", None)).endswith(" usable")
    lost = Availability("two", "is missing; install it", proven=False)
    assert render_machine.engine(lost).endswith("not usable: is missing; install it; not yet run on hardware")


def test_a_sensor_says_what_it_was_read_to_give_or_why_not() -> None:
    read = SensorStatus(name="rapl", sensor=None, problem=None, read_w=12.345)
    assert render_machine.sensor(read, 0.5).endswith("usable (sensed): 12.3 W over 0.5 s")
    silent = SensorStatus(name="nvml", sensor=None, problem=None)
    assert render_machine.sensor(silent, 0.5).endswith("usable (sensed): no figure over 0.5 s")
    modelled = SensorStatus(name="codecarbon", sensor=None, problem=None, modelled=True, read_w=8.0)
    assert render_machine.sensor(modelled, 0.5).endswith("usable (modelled, not sensed): 8.00 W over 0.5 s")
    lost = SensorStatus(name="rapl", sensor=None, problem="no answer yet")
    assert render_machine.sensor(lost, 0.5).endswith("not usable: no answer yet")
    assert render_machine.chosen([lost, modelled]).endswith(" codecarbon")
    assert render_machine.chosen([lost]).endswith("none: results will have no energy")


def test_a_command_can_be_copied_whole() -> None:
    command = "sudo " + "very-long-" * 12
    lines = render_machine.advised([Advice("why " * 30, command)])
    assert lines[-1] == f"{'':<{LABEL}}  {command}"
    assert len(render_machine.advised([Advice("nothing helps", "")])) == 1
    assert render_machine.advised([])[0].startswith("advice              none: ")


def test_a_job_and_its_part_of_the_node_are_told(tmp_path: Path) -> None:
    job = Job(
        scheduler="slurm", job_id="4711", array_job_id="4708", array_task_id=3, n_restarts=1, node="node08", n_nodes=2,
        partition="gpu", n_cpus=2, n_gpus=1, end_time=datetime(2026, 1, 1, 13, tzinfo=UTC),
    )  # fmt: skip
    environment = replace(fake_environment(), job=job, share=NodeShare(memory_limit_mb=8000.0))
    said = " ".join("\n".join(render_machine.machine(environment, None, VisibleGpus(), tmp_path)).split())
    assert (
        "job slurm 4711 (task 3 of array 4708), on node08 of 2 nodes, partition gpu, 2 CPUs, 1 GPU, started again "
        "once, ends at 2026-01-01 13:00 UTC"
    ) in said
    assert "part of a node 2 of the host's 4 CPUs, by the slurm job; 8 GB; what its neighbours draw is in" in said
    alone = "\n".join(render_machine.machine(fake_environment(), None, VisibleGpus(), tmp_path))
    assert "slurm" not in alone
    assert "part of a node" not in alone
