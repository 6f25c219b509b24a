"""Sums over devices, and distributions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    DeviceKind,
    Distribution,
    EnergySource,
    combined_uncertainty_j,
    counted_devices,
    headline_energy_j,
    sum_or_none,
)
from tests.unit.domain.conftest import calm


def device(
    name: str, kind: DeviceKind, energy_j: float | None, source: EnergySource = "counter", bound_j: float | None = None
) -> DeviceEnergy:
    return DeviceEnergy(device=name, kind=kind, energy_j=energy_j, source=source, uncertainty_j=bound_j)


def test_percentiles_are_interpolated_linearly_between_the_values() -> None:
    found = Distribution.of([4.0, 1.0, 3.0, 2.0])
    assert found is not None
    assert (found.n, found.mean, found.p50) == (4, 2.5, 2.5)
    assert (found.p90, found.p95, found.p99) == pytest.approx((3.7, 3.85, 3.97))


def test_one_value_is_its_own_distribution_and_none_have_none() -> None:
    assert Distribution.of([2.5]) == Distribution(n=1, mean=2.5, p50=2.5, p90=2.5, p95=2.5, p99=2.5, n_independent=1)
    assert Distribution.of([]) is None


@pytest.mark.parametrize(
    ("n_independent", "supported"),
    [
        (1, ["p50"]),
        (9, ["p50"]),
        (10, ["p50", "p90"]),
        (20, ["p50", "p90", "p95"]),
        (99, ["p50", "p90", "p95"]),
        (100, ["p50", "p90", "p95", "p99"]),
    ],
)
def test_a_percentile_needs_an_independent_value_beyond_it(n_independent: int, supported: list[str]) -> None:
    found = Distribution.of([0.1 * i for i in range(1000)], n_independent)
    assert found is not None
    assert list(found.supported) == supported
    assert found.supported["p50"] == found.p50
    assert (found.n, found.n_independent) == (1000, n_independent)


def test_of_a_file_that_does_not_say_how_many_were_independent_only_the_median_is_supported() -> None:
    old = Distribution(n=500, mean=1.0, p50=1.0, p90=2.0, p95=3.0, p99=4.0)
    assert old.supported == {"p50": 1.0}


@calm
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_percentiles_are_ordered_and_stay_among_the_values(values: list[float]) -> None:
    found = Distribution.of(values)
    assert found is not None
    low, high = min(values), max(values)
    assert low <= found.p50 <= found.p90 <= found.p95 <= found.p99 <= high
    assert low - 1e-6 <= found.mean <= high + 1e-6


@pytest.mark.parametrize(
    ("devices", "total", "counted"),
    [
        ([], None, []),
        ([device("G", "gpu", 5.0), device("C", "cpu", 7.0), device("R", "dram", 1.0)], 5.0, ["G"]),
        ([device("G", "gpu", 5.0), device("H", "gpu", 6.0)], 11.0, ["G", "H"]),
        ([device("C", "cpu", 7.0), device("D", "cpu", 8.0), device("R", "dram", 1.0)], 15.0, ["C", "D"]),
        ([device("R", "dram", 1.0)], None, []),
        ([device("G", "gpu", 5.0), device("H", "gpu", None)], None, ["G", "H"]),
        ([device("G", "gpu", 5.0), device("C", "cpu", None)], 5.0, ["G"]),
    ],
)
def test_the_headline_is_the_gpus_else_the_cpu_packages_and_never_the_memory(
    devices: list[DeviceEnergy], total: float | None, counted: list[str]
) -> None:
    assert headline_energy_j(devices) == total
    assert [d.device for d in counted_devices(devices)] == counted


def test_what_is_marked_as_no_part_of_the_total_is_listed_and_never_added() -> None:
    own, refused = device("G", "gpu", 5.0), replace(device("G", "gpu", 50.0), headline=False)
    assert counted_devices([own, refused]) == [own]
    assert headline_energy_j([own, refused]) == 5.0
    assert counted_devices([refused]) == []


def test_a_meter_of_the_whole_machine_makes_the_total_where_nothing_else_is_open_to_it() -> None:
    meter, package = device("plug", "host", 900.0), device("C", "cpu", 7.0)
    assert counted_devices([meter, replace(package, headline=False)]) == [meter]
    assert counted_devices([device("chip", "soc", 4.0), meter])[0].device == "chip"


@pytest.mark.parametrize(
    ("kind", "covers"), [("gpu", "gpu"), ("cpu", "package"), ("dram", "dram"), ("soc", "soc"), ("host", "host")]
)
def test_what_a_row_covers_is_its_scope_or_what_is_usual(kind: DeviceKind, covers: str) -> None:
    assert device("D", kind, 1.0).covers == covers
    assert replace(device("D", kind, 1.0), scope="module").covers == "module"


def test_measured_and_modelled_joules_are_never_added_together() -> None:
    assert headline_energy_j([device("G", "gpu", 5.0), device("H", "gpu", 6.0, "modelled")]) is None


def test_bounds_of_the_counted_devices_add_up_unless_one_is_missing() -> None:
    first, cpu = device("G", "gpu", 5.0, bound_j=0.5), device("C", "cpu", 9.0)
    assert combined_uncertainty_j([first, cpu, device("H", "gpu", 5.0, bound_j=0.25)]) == 0.75
    assert combined_uncertainty_j([first, device("H", "gpu", 5.0)]) is None


@pytest.mark.parametrize(("values", "total"), [([1.0, 2.0], 3.0), ([0.0], 0.0), ([1.0, None], None), ([], None)])
def test_a_sum_with_an_unknown_part_is_unknown(values: list[float | None], total: float | None) -> None:
    assert sum_or_none(values) == total
