"""Energy of a real card: `pytest -m gpu`. Not yet run on hardware."""

import time

import pytest

from llenergymeasure.core.energy_backends import NVMLBackend
from llenergymeasure.core.gpu.machine import visible_gpus

pytestmark = pytest.mark.gpu


@pytest.fixture
def uuid() -> str:
    """The first visible GPU."""
    uuids = visible_gpus().uuids
    assert uuids, "no NVIDIA GPU answered"
    return uuids[0]


def test_counter_and_power_of_an_idle_card_agree_and_the_tick_is_found(uuid: str) -> None:
    backend = NVMLBackend(devices=(uuid,))
    assert backend.problem() is None
    tracker = backend.start_tracking()
    time.sleep(10)
    measured = backend.stop_tracking(tracker)
    (row,) = measured.devices
    assert row.source == "counter", measured.warnings
    assert row.energy_j is not None
    assert row.witness_j == pytest.approx(row.energy_j, rel=0.1)
    assert row.update_period_s is not None
    assert 0.005 <= row.update_period_s <= 0.25
    assert row.uncertainty_j is not None
    assert row.uncertainty_j < 0.1 * row.energy_j


def test_a_window_begins_and_ends_within_a_second(uuid: str) -> None:
    backend = NVMLBackend(devices=(uuid,))
    before_s = time.monotonic()
    tracker = backend.start_tracking()
    started_s = time.monotonic()
    backend.stop_tracking(tracker)
    assert started_s - before_s < 1.5
    assert time.monotonic() - started_s < 1.5
