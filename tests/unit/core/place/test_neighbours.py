"""Whether the joules are of more than a job was given."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.core.measurement_warnings import neighbours_warning
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.machine.place import Job, NodeShare
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.testing import fake_environment

# Of a host of four processors.
PART, WHOLE = Job(scheduler="slurm", n_cpus=2), Job(scheduler="slurm", n_cpus=4)
GPU = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=1.0, source="counter", scope="gpu")
PACKAGE = DeviceEnergy(device="package-0", kind="cpu", energy_j=1.0, source="counter", scope="package")
BESIDE = replace(PACKAGE, headline=False)


def at(**fields: Any) -> EnvironmentSnapshot:
    return replace(fake_environment(), **fields)


def test_a_package_of_which_a_job_has_a_part_has_neighbours_in_it() -> None:
    found = neighbours_warning(at(job=PART), (PACKAGE,))
    assert found is not None
    assert found.flag == "neighbours_in_energy"
    assert found.text == (
        "the work was given 2 of the host's 4 CPUs, by the slurm job, and the joules are of all of package-0: what "
        "runs beside it is in them"
    )


@pytest.mark.parametrize(
    ("environment", "rows"),
    [
        (at(), (PACKAGE,)),
        (at(job=WHOLE, share=NodeShare(n_cpus_allowed=4, n_cpus_in_set=4)), (PACKAGE,)),
        # Neighbours of a GPU have another one, and what stands beside the total is in no figure.
        (at(job=PART), (GPU, BESIDE)),
        (at(job=PART), ()),
    ],
)
def test_where_the_joules_are_of_what_was_given_nothing_is_said(
    environment: EnvironmentSnapshot, rows: tuple[DeviceEnergy, ...]
) -> None:
    assert neighbours_warning(environment, rows) is None


def test_a_gpu_in_shards_and_a_module_have_neighbours_in_them() -> None:
    shards = neighbours_warning(at(job=replace(WHOLE, n_gpu_shards=2)), (GPU,))
    assert shards is not None
    assert "in shards" in shards.text
    assert neighbours_warning(at(job=PART), (replace(GPU, scope="module"),)) is not None
    assert neighbours_warning(at(share=NodeShare(cpu_quota=1.5)), (PACKAGE,)) is not None
