"""What a machine took: only what was sensed over one window, and nothing twice."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.cli.render_result import experiment
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.energy.host_energy import HostEnergy
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.testing import fake_process_result

SECONDS = 10.0


def row(device: str, kind: Any, joules: float | None, **fields: Any) -> DeviceEnergy:
    given = {"source": "counter", "uncertainty_j": 1.0, "headline": False, "duration_sec": SECONDS, **fields}
    return DeviceEnergy(device=device, kind=kind, energy_j=joules, **given)


GPU = row("GPU-a", "gpu", 3000.0, sensor="nvml", scope="gpu", headline=True, uncertainty_j=5.0)
ZEUS = replace(GPU, sensor="zeus", energy_j=2900.0, headline=False)
GPU_B = replace(GPU, device="GPU-b", energy_j=1000.0)
CPU = row("package-0", "cpu", 500.0, scope="package")
CPU_1 = row("package-1", "cpu", 600.0, scope="package")
DRAM = row("dram-0", "dram", 80.0, scope="dram")
MODULE = replace(GPU, scope="module", energy_j=4000.0)
WALL = row("plug", "host", 5000.0, scope="wall")
REST = "fans, disks, network, power supply"


def host(*rows: DeviceEnergy, n_gpus: int = 1) -> HostEnergy | None:
    return HostEnergy.of(rows, SECONDS, n_gpus)


@pytest.mark.parametrize(
    ("rows", "n_gpus", "energy_j", "scope"),
    [
        ([GPU, CPU, DRAM], 1, 3580.0, f"GPU + CPU + memory, without {REST}"),
        ([GPU, CPU], 1, 3500.0, f"GPU + CPU, without memory, {REST}"),
        ([GPU, GPU_B, CPU, CPU_1], 4, 5100.0, f"2 x GPU + 2 x CPU, without memory, 2 GPUs not in use, {REST}"),
        ([GPU, ZEUS, CPU, DRAM], 1, 3580.0, f"GPU + CPU + memory, without {REST}"),
        ([CPU, DRAM], 0, 580.0, f"CPU + memory, without {REST}"),
        ([CPU, DRAM], 1, 580.0, f"CPU + memory, without 1 GPU not in use, {REST}"),
        ([MODULE], 1, 4000.0, f"module of GPU, CPU and memory, without {REST}"),
        ([MODULE, CPU, DRAM], 1, 4000.0, f"module of GPU, CPU and memory, without {REST}"),
        ([GPU, CPU, DRAM, WALL], 1, 5000.0, "machine at the wall"),
    ],
)  # fmt: skip
def test_disjoint_scopes_are_added_and_the_label_says_what_is_left_out(
    rows: list[DeviceEnergy], n_gpus: int, energy_j: float, scope: str
) -> None:
    found = host(*rows, n_gpus=n_gpus)
    assert found is not None
    assert (found.energy_j, found.scope) == (energy_j, scope)


def test_the_bound_is_the_sum_of_the_parts_and_unknown_where_one_is() -> None:
    found, without = host(GPU, CPU, DRAM), host(GPU, replace(CPU, uncertainty_j=None))
    assert found is not None
    assert without is not None
    assert (found.uncertainty_j, without.uncertainty_j) == (7.0, None)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [GPU],
        [GPU, replace(CPU, energy_j=None)],
        [GPU, replace(CPU, source="modelled")],
        [GPU, CPU, replace(DRAM, source="modelled")],
        [GPU, replace(CPU, duration_sec=10.4)],
        [GPU, replace(CPU, duration_sec=None)],
        [replace(GPU, duration_sec=None), CPU],
        [MODULE, GPU_B, CPU],
        [GPU, CPU, WALL, replace(WALL, device="plug-2")],
        [MODULE, replace(MODULE, device="module-0", sensor="hwmon", headline=False)],
        [GPU, CPU, replace(CPU, device="cpu", sensor="theirs")],
    ],
    ids=[
        "nothing", "a GPU alone", "a package unknown", "a package modelled", "memory modelled", "0.4 s more",
        "of nobody knows what time", "an old row", "a GPU beside a module", "two meters",
        "a module by two sensors", "a package by two sensors",
    ],
)  # fmt: skip
def test_otherwise_there_is_none(rows: list[DeviceEnergy]) -> None:
    assert host(*rows) is None


def test_a_result_has_it_beside_its_total_and_the_table_says_what_it_is() -> None:
    # The fake's window is 2 s long.
    rows = tuple(replace(each, duration_sec=2.0) for each in (GPU, ZEUS, CPU))
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m")))
    measured = EnergyMeasurement(3000.0, 2.0, 2, devices=rows, uncertainty_j=5.0)
    result = ExperimentResult.from_processes(
        [raw.model_copy(update={"energy": measured, "energy_backend": "zeus", "measurement_warnings": ()})]
    )
    assert (result.total_energy_j, result.energy_host_j, result.energy_host_uncertainty_j) == (3000.0, 3500.0, 6.0)
    assert result.energy_origin == "sensed: energy counter of the GPU, ticks timed (nvml), beside zeus"
    said = " ".join(experiment(result, None).split())
    assert f"energy, host 3,500 J +-6 J (window): GPU + CPU, without memory, {REST} " in said
