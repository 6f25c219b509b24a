"""What schedulers say of a job, by the variables that they document."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from llenergymeasure.core.place.jobs import this_job
from llenergymeasure.domain.machine.place import Job

# As sbatch sets them for the fourth task of an array, on the second of two nodes, after a restart.
OF_SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_ARRAY_JOB_ID": "4708",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_RESTART_COUNT": "1",
    "SLURMD_NODENAME": "node08",
    "SLURM_JOB_NODELIST": "node[07-08]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_PARTITION": "gpu",
    "SLURM_JOB_ACCOUNT": "energy",
    "SLURM_JOB_CPUS_PER_NODE": "16(x2)",
    "SLURM_CPUS_ON_NODE": "8",
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_GPUS_PER_TASK": "1",
    "SLURM_MEM_PER_NODE": "65536",
    "SLURM_JOB_END_TIME": "1767272400",
    "CUDA_VISIBLE_DEVICES": "0",
}


def job(**said: str) -> Job:
    found = this_job(said)
    assert found is not None
    return found


def test_a_job_of_slurm_says_what_it_was_given() -> None:
    assert this_job(OF_SLURM) == Job(
        scheduler="slurm", job_id="4711", array_job_id="4708", array_task_id=3, n_restarts=1, node="node08",
        node_list="node[07-08]", n_nodes=2, partition="gpu", account="energy", n_cpus=16, n_gpus=1,
        n_gpus_per_task="1",
        # 64 GiB in MB of 10^6 bytes.
        memory_mb=65536 * 1.048576,
        # 2026-01-01 13:00 UTC.
        end_time=datetime(2026, 1, 1, 13, tzinfo=UTC),
    )  # fmt: skip


def test_where_nodes_have_different_numbers_of_cpus_those_of_the_step_count() -> None:
    assert job(SLURM_JOB_ID="1", SLURM_JOB_CPUS_PER_NODE="72(x2),36", SLURM_CPUS_ON_NODE="36").n_cpus == 36
    assert job(SLURM_JOB_ID="1", SLURM_JOB_CPUS_PER_NODE="72(x2),36").n_cpus is None
    assert job(SLURM_JOB_ID="1", SLURM_JOB_CPUS_PER_NODE="4,4").n_cpus == 4


def test_a_job_that_was_never_restarted_says_so_and_memory_may_be_by_the_processor() -> None:
    found = job(SLURM_JOB_ID="1", SLURM_MEM_PER_CPU="1000", SLURM_JOB_CPUS_PER_NODE="2")
    assert found.n_restarts == 0
    assert found.memory_mb == pytest.approx(2000 * 1.048576)
    # All that the node has is no figure.
    assert job(SLURM_JOB_ID="1", SLURM_MEM_PER_NODE="0").memory_mb is None


def test_parts_of_a_gpu_are_told() -> None:
    assert job(SLURM_JOB_ID="1", SLURM_SHARDS_ON_NODE="4").n_gpu_shards == 4


@pytest.mark.parametrize("wrong", ["", " ", "many", "-1", "9" * 40, "\u0661"])
def test_what_is_no_number_is_not_known(wrong: str) -> None:
    found = job(SLURM_JOB_ID="1", SLURM_GPUS_ON_NODE=wrong, SLURM_JOB_END_TIME=wrong, SLURM_JOB_CPUS_PER_NODE=wrong)
    assert (found.n_gpus, found.end_time, found.n_cpus) == (None, None, None)


def test_a_job_of_pbs(tmp_path: Path) -> None:
    nodes = tmp_path / "nodes"
    nodes.write_text("n1\nn1\nn2\n\n", encoding="utf-8")
    said = {"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3", "PBS_QUEUE": "gpu", "NCPUS": "8"}
    assert this_job(said | {"PBS_NODEFILE": str(nodes)}) == Job(
        scheduler="pbs", job_id="12[3].server", array_task_id=3, node_list="n1,n2", n_nodes=2, partition="gpu", n_cpus=8
    )
    assert job(**said, PBS_NODEFILE=str(tmp_path / "gone")).node_list is None
    assert job(**said).n_nodes is None


def test_a_pod_is_a_job_of_kubernetes() -> None:
    said = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "study-3-x7k2p", "JOB_COMPLETION_INDEX": "3"}
    assert this_job(said) == Job(scheduler="kubernetes", job_id="study-3-x7k2p", array_task_id=3)
    assert job(**said, POD_NAME="a-pod", NODE_NAME="n5").node == "n5"


def test_a_job_of_slurm_in_a_pod_is_one_of_slurm() -> None:
    assert job(KUBERNETES_SERVICE_HOST="10.0.0.1", SLURM_JOB_ID="7").scheduler == "slurm"


def test_where_no_scheduler_is_there_is_no_job() -> None:
    assert this_job({"HOSTNAME": "a", "CUDA_VISIBLE_DEVICES": "0"}) is None
