"""Nodes that attend, laid over the window of the first: figures by hand."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.nodes import laid_over
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.testing import fake_process_result

PLAN = ExperimentPlan.of(
    ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 2}}),
    layout=ProcessLayout(n_processes=2, parallelism="tensor"),
)


def node(index: int, name: str, seconds: float, *rows: DeviceEnergy, **fields: Any) -> RawProcessResult:
    """What a node measured from 100 s of its clock on; the first has its window from 10 to 12 s."""
    raw = fake_process_result(PLAN)
    start_s = 10.0 if index == 0 else 100.0
    energy = EnergyMeasurement(
        total_j=sum(row.energy_j or 0.0 for row in rows), duration_sec=seconds, samples=10, devices=rows,
        uncertainty_j=sum(row.uncertainty_j or 0.0 for row in rows),
    )  # fmt: skip
    return raw.model_copy(
        update={
            "process_index": index, "n_processes": 2, "parallelism": "tensor", "node": name, "energy": energy,
            "window_start_s": start_s, "window_end_s": start_s + seconds, "measurement_warnings": (),
            **({} if index == 0 else {"requests": ()}), **fields,
        }
    )  # fmt: skip


def row(device: str, energy_j: float, bound_j: float | None = 1.0, **fields: Any) -> DeviceEnergy:
    return DeviceEnergy(
        device=device,
        kind=fields.pop("kind", "gpu"),
        energy_j=energy_j,
        source="counter",
        uncertainty_j=bound_j,
        **fields,
    )


def test_what_a_node_idled_beyond_the_window_is_taken_off() -> None:
    # 2 s of work at 300 W, and half a second more at 80 W with the model loaded, known within 4 W.
    first = node(0, "n1", 2.0, row("GPU-a", 500.0))
    other = node(1, "n2", 2.5, row("GPU-b", 640.0, uncertainty_parts_j={"edges": 1.0}),
                 idle_by_device_w={"GPU-b": (80.0, 4.0)})  # fmt: skip
    _, laid = laid_over([first, other])
    assert laid.energy is not None
    (found,) = laid.energy.devices
    assert found.energy_j == pytest.approx(640 - 80 * 0.5)
    assert found.uncertainty_j == pytest.approx(1 + 4 * 0.5)
    assert found.uncertainty_parts_j == pytest.approx({"edges": 1.0, "beyond": 2.0})
    assert (found.duration_sec, laid.energy.duration_sec) == (2.0, 2.0)
    assert (laid.window_start_s, laid.window_end_s) == (10.0, 12.0)
    result = ExperimentResult.from_processes([first, laid])
    assert result.total_energy_j == pytest.approx(500 + 600)
    assert result.energy_uncertainty_j == pytest.approx(1 + 3)
    # Tokens are the first one's, once.
    assert (result.n_requests, result.output_tokens, result.duration_sec) == (1, 4, 2.0)
    assert [each.host for each in result.process_results] == ["n1", "n2"]
    assert result.aggregation is not None
    assert result.aggregation.method == "sum over devices of 2 nodes"
    # An eighth of the window and more is said.
    assert [text for text in result.measurement_warnings if text.startswith("node_measured_longer")]


def test_where_idling_is_not_known_the_bound_has_all_that_it_may_have_been() -> None:
    # 640 J in 2.5 s: in the half second between nothing and 128 J.
    other = node(1, "n2", 2.5, row("GPU-b", 640.0))
    _, laid = laid_over([node(0, "n1", 2.0, row("GPU-a", 500.0)), other])
    assert laid.energy is not None
    (found,) = laid.energy.devices
    assert found.energy_j == pytest.approx(640 - 64)
    assert found.uncertainty_j == pytest.approx(1 + 64)


def test_devices_that_every_node_has_are_counted_on_each() -> None:
    package = row("package-0", 100.0, kind="cpu", scope="package")
    first, laid = laid_over([node(0, "n1", 2.0, package), node(1, "n2", 2.0, package)])
    assert laid.energy is not None
    assert [each.device for each in laid.energy.devices] == ["n2/package-0"]
    assert ExperimentResult.from_processes([first, laid]).total_energy_j == 200.0
    # On one host it is the same one.
    first, laid = laid_over([node(0, "n1", 2.0, package), node(1, "n1", 2.0, package)])
    assert ExperimentResult.from_processes([first, laid]).total_energy_j == 100.0


def on_boot(raw: RawProcessResult, boot_id: str) -> RawProcessResult:
    return raw.model_copy(update={"environment_snapshot": replace(raw.environment_snapshot, boot_id=boot_id)})


def test_machines_are_told_apart_by_their_boots_and_not_by_names() -> None:
    package = row("package-0", 100.0, kind="cpu", scope="package")
    # Two machines of one name, and two containers of one machine.
    for boots, names, total_j in ((("a", "b"), ("n", "n"), 200.0), (("a", "a"), ("pod-1", "pod-2"), 100.0)):
        first, laid = laid_over([on_boot(node(i, names[i], 2.0, package), boots[i]) for i in (0, 1)])
        assert ExperimentResult.from_processes([first, laid]).total_energy_j == total_j


def test_joules_of_processors_are_not_added_to_those_of_gpus() -> None:
    package = row("package-0", 100.0, kind="cpu", scope="package")
    first, laid = laid_over([node(0, "n1", 2.0, row("GPU-a", 500.0)), node(1, "n2", 2.0, package)])
    result = ExperimentResult.from_processes([first, laid])
    assert result.total_energy_j is None
    assert result.validity == "not_citable"
    assert "node_unmeasured" in result.validity_flags


def test_a_node_that_was_measured_for_less_than_the_window_makes_no_result() -> None:
    with pytest.raises(ValueError, match=r"node n2 was measured for 1\.500 s and the window has 2\.000 s"):
        laid_over([node(0, "n1", 2.0, row("GPU-a", 500.0)), node(1, "n2", 1.5, row("GPU-b", 500.0))])


def test_of_a_node_without_joules_there_are_none_of_the_whole() -> None:
    first, laid = laid_over(
        [node(0, "n1", 2.0, row("GPU-a", 500.0)), node(1, "n2", 2.0).model_copy(update={"energy": None})]
    )
    assert ExperimentResult.from_processes([first, laid]).total_energy_j is None


def test_a_single_node_stays_as_it_is() -> None:
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="any")))
    assert laid_over([raw]) == [raw]
    assert not raw.attends


def test_a_sensor_that_names_no_devices_gives_no_joules_of_the_window() -> None:
    nameless = EnergyMeasurement(total_j=640.0, duration_sec=2.5, samples=3)
    _, laid = laid_over(
        [node(0, "n1", 2.0, row("GPU-a", 500.0)), node(1, "n2", 2.5).model_copy(update={"energy": nameless})]
    )
    assert laid.energy == replace(nameless, total_j=None, duration_sec=2.0)
