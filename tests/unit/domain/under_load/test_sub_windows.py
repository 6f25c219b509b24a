"""Joules per token in parts of a window."""

import pytest

from llenergymeasure.domain.energy.courses import PowerCourse
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.domain.under_load.sub_windows import courses_of, sub_windows_of, variation_of
from tests.unit.domain.under_load.made import request, traffic

# 100 W until 104 s, then 200 W.
STEP = PowerCourse(
    time_s=(99.0, 104.0, 104.000001, 111.0), power_w=(100.0, 100.0, 200.0, 200.0), resolution_s=0.1, held_s=5.0
)


def test_tokens_and_joules_of_each_part_and_their_variation() -> None:
    # Tokens at 101, 102, 105, 106, 107, 109, and one of before the window; parts of 4, 4 and 2 s.
    one = request(98.0, 98.0, 107.0, output_tokens=5, token_times_s=(99.0, 101.0, 102.0, 105.0, 106.0))
    chunks = request(104.0, 104.0, 109.0, output_tokens=4, chunk_times_s=(107.0, 109.0))
    parts = sub_windows_of(traffic([one, chunks]), (100.0, 104.0, 108.0, 110.0), [STEP])
    assert [(p.start_s, p.end_s, p.output_tokens) for p in parts] == [(0, 4, 2), (4, 8, 4), (8, 10, 2)]
    assert [p.part_energy_j for p in parts] == pytest.approx([400, 800, 400], rel=1e-6)
    assert [p.energy_per_output_token_j for p in parts] == pytest.approx([200, 200, 200], rel=1e-6)
    cv, why = variation_of(parts)
    assert cv == pytest.approx(0.0, abs=1e-6)
    assert why is None
    # 2, 3 and 4 J for each token: a mean of 3 and a deviation of 1.
    each = [
        request(100.0, 100.0, 110.0, output_tokens=n, token_times_s=(t,) * n) for n, t in ((6, 102), (4, 105), (3, 109))
    ]
    level = PowerCourse(time_s=(99.0, 111.0), power_w=(3.0, 3.0), resolution_s=0.1, held_s=9.0)
    parts = sub_windows_of(traffic(each), (100.0, 104.0, 108.0, 112.0), [level])
    assert [p.energy_per_output_token_j for p in parts] == pytest.approx([2, 3, 4])
    assert variation_of(parts)[0] == pytest.approx(1 / 3)


def test_several_devices_are_added_and_one_that_is_unknown_leaves_nothing() -> None:
    gone = PowerCourse(time_s=(99.0, 99.1, 99.2), power_w=(1.0, 1.0, 1.0), resolution_s=0.1, held_s=0.1)
    both = sub_windows_of(traffic([]), (100.0, 102.0), [STEP, STEP])
    assert both[0].part_energy_j == pytest.approx(400.0)
    parts = sub_windows_of(traffic([]), (100.0, 104.0, 107.0, 110.0), [STEP, gone])
    assert [p.part_energy_j for p in parts] == [None, None, None]
    assert variation_of(parts) == (None, "readings of a part have a gap, or do not reach its edges")


def test_without_tokens_or_with_few_parts_there_is_no_variation() -> None:
    parts = sub_windows_of(traffic([]), (100.0, 104.0, 107.0, 110.0), [STEP])
    assert variation_of(parts) == (None, "no token came in one of the parts")
    assert variation_of(parts[:2]) == (None, "the window has 2 parts, and 3 are needed")
    assert variation_of([]) == (None, "the window has 0 parts, and 3 are needed")


def gpu(**more: object) -> DeviceEnergy:
    given = {"device": "GPU-0", "kind": "gpu", "energy_j": 1.0, "source": "integrated", "sensor": "nvml"} | more
    return DeviceEnergy(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "part_s", "why"),
    [
        (gpu(), 1.0, None),
        (gpu(), 0.99, "a part has 0.99 s, and 10 readings of GPU-0 take 1 s"),
        (gpu(update_period_s=0.2), 1.5, "a part has 1.5 s, and 10 readings of GPU-0 take 2 s"),
        (gpu(source="modelled"), 5.0, "the energy of GPU-0 is modelled"),
        (gpu(device="GPU-1"), 5.0, "no readings are kept of GPU-1"),
    ],
)
def test_a_part_that_a_sensor_does_not_resolve_has_no_joules(row: DeviceEnergy, part_s: float, why: str | None) -> None:
    power = Readings(kind="power", reads=(Reading(0.0, 5.0), Reading(0.1, 5.0)))
    trace = DeviceTrace(
        device="GPU-0", sensor="nvml", start_s=0.0, end_s=1.0, facts={"power_polled_s": 0.1}, readings=(power,)
    )  # fmt: skip
    found, said = courses_of([row], [trace], part_s)
    assert (len(found), said) == (0 if why else 1, why)


def test_without_devices_there_is_no_energy() -> None:
    assert courses_of([], [], 5.0) == ([], "no energy was measured")
