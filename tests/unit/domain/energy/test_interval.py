"""The one interval of an energy, and what it is made of."""

import pytest

from llenergymeasure.domain.energy.interval import energy_interval
from llenergymeasure.domain.metrics import DeviceEnergy, EnergySource


def gpu(
    name: str, energy_j: float, bound_j: float | None, parts_j: dict[str, float] | None = None, **more: object
) -> DeviceEnergy:
    source: EnergySource = "counter"
    row = {"device": name, "kind": "gpu", "source": source, "energy_j": energy_j, "uncertainty_j": bound_j}
    return DeviceEnergy(**{**row, "uncertainty_parts_j": parts_j, **more})  # type: ignore[arg-type]


def test_the_parts_of_all_devices_and_aliasing_add_up() -> None:
    devices = [
        gpu("A", 100.0, 3.0, {"edges": 2.0, "unseen": 1.0}),
        gpu("B", 200.0, 4.5, {"edges": 4.0, "witness": 0.5}),
        gpu("beside", 90.0, 50.0, {"edges": 50.0}, headline=False),
    ]
    found = energy_interval(300.0, 7.5, devices, 2.0)
    assert found is not None
    # 2 % of 300 J are 6 J.
    assert found.parts_j == {"edges": 6.0, "unseen": 1.0, "witness": 0.5, "aliasing": 6.0}
    assert found.ends_j == (286.5, 313.5)


def test_without_aliasing_the_bound_is_the_interval() -> None:
    found = energy_interval(100.0, 3.0, [gpu("A", 100.0, 3.0, {"edges": 3.0})], None)
    assert found is not None
    assert (found.ends_j, found.parts_j) == ((97.0, 103.0), {"edges": 3.0})


def test_a_bound_that_a_sensor_states_as_a_whole_is_one_part() -> None:
    of_the_row = energy_interval(100.0, 3.0, [gpu("A", 100.0, 3.0)], None)
    of_the_total = energy_interval(100.0, 2.0, [gpu("A", 100.0, None)], None)
    without_rows = energy_interval(100.0, 2.0, [], None)
    assert of_the_row is not None
    assert of_the_row.parts_j == {"stated": 3.0}
    for found in (of_the_total, without_rows):
        assert found is not None
        assert (found.ends_j, found.parts_j) == ((98.0, 102.0), {"stated": 2.0})


def test_no_energy_is_negative() -> None:
    found = energy_interval(10.0, 15.0, [gpu("A", 10.0, 15.0)], None)
    assert found is not None
    assert found.ends_j == (0.0, 25.0)


@pytest.mark.parametrize(
    ("total_j", "bound_j", "devices"),
    [
        (None, None, [gpu("A", 100.0, 3.0)]),
        (100.0, None, [gpu("A", 100.0, None)]),
        (100.0, 3.0, [gpu("A", 100.0, 3.0, source="modelled")]),
    ],
)
def test_there_is_none_without_a_total_a_bound_or_a_sensor(
    total_j: float | None, bound_j: float | None, devices: list[DeviceEnergy]
) -> None:
    assert energy_interval(total_j, bound_j, devices, 5.0) is None
