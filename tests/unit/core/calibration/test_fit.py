"""Calibration on simulated cards whose readings are known: what comes out is what was put in."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import nvmlsim
from bench.simulated_nvml import SimulatedClock, SimulatedNvml
from llenergymeasure.core.calibration import procedure
from llenergymeasure.core.calibration.fit import (
    Span,
    counter_feed,
    period_s,
    reading_properties,
    told_feed,
)
from llenergymeasure.core.calibration.procedure import (
    Card,
    PowerRead,
    Recorded,
    calibration_of,
    read_once,
    stretches_s,
)
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.changes import Change
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.energy.calibration import Calibration, CounterFeed, ReadingProperties
from llenergymeasure.exceptions import ExperimentError
from nvmlsim import Counter, Gpu, Sensor, Sensors, Trace
from tests.fakes.effort import PATIENCE_S

IDLE_W, LOAD_W = 60.0, 400.0
SECONDS = 12.0


def calibrated(sensors: Sensors, counter: Counter | None, load_w: float = LOAD_W) -> Calibration:
    """What is found of a card whose load is switched as the real one is, on a clock that moves when it is read."""
    spans, steps, at_s = list[Span](), [(0.0, IDLE_W)], 1.0
    for on_s, off_s in stretches_s(SECONDS, seed=0):
        spans.append(Span(at_s, at_s + on_s))
        steps += [(at_s, load_w), (at_s + on_s, IDLE_W)]
        at_s += on_s + off_s
    gpu = Gpu(power_w=Trace(tuple(steps)), sensors=sensors, counter=counter)
    clock = SimulatedClock(0.5)
    library = SimulatedNvml(nvmlsim.Scenario(gpus=(gpu,), epoch_s=0.0), clock)
    device = NvidiaDriver(library).device_by_index(0)
    found = Recorded(Card.of(device, "1"), spans=spans)
    while clock() < at_s + 0.5:
        read_once(device, found, clock)
        clock.sleep(0.001)
    return calibration_of(found, load="test", timestamp=0.0)


def properties(found: ReadingProperties | None) -> tuple[float, float, float]:
    assert found is not None
    return found.update_s, found.window_s, found.lag_s


A100 = nvmlsim.A100.with_phase(0.013)
H100 = nvmlsim.H100.with_phase(0.013)
RTX40 = nvmlsim.RTX40.with_phase(0.013)


@pytest.mark.parametrize(
    ("sensors", "counter", "power", "average_window_s", "feed"),
    [
        # Parts that see a quarter of the time, with a counter that adds up what they saw, or everything.
        (A100, Counter(phase_s=0.031, fed_by=A100.instant), (0.1, 0.025), 0.025, "power"),
        (A100, Counter(phase_s=0.031), (0.1, 0.025), 0.025, "everything"),
        (H100, Counter(phase_s=0.031, fed_by=H100.instant), (0.1, 0.025), 1.0, "power"),
        # One that sees all of the time is as good as the truth.
        (RTX40, Counter(phase_s=0.031, fed_by=RTX40.instant), (0.1, 0.1), 1.0, "everything"),
        (RTX40, Counter(phase_s=0.031), (0.1, 0.1), 1.0, "everything"),
    ],
)
def test_it_finds_what_was_put_in(
    sensors: Sensors, counter: Counter, power: tuple[float, float], average_window_s: float, feed: CounterFeed
) -> None:
    found = calibrated(sensors, counter)
    update_s, window_s, lag_s = properties(found.power)
    assert update_s == pytest.approx(power[0], rel=1e-3)
    # A load that switches some hundred times tells a window to some percent.
    assert window_s == pytest.approx(power[1], rel=0.05)
    assert lag_s <= 0.003
    assert properties(found.average)[1] == pytest.approx(average_window_s, rel=0.05)
    assert found.counter_tick_s == pytest.approx(0.1, rel=1e-3)
    assert found.counter_fed_by == feed


def test_a_reading_that_is_shown_late_has_a_lag() -> None:
    # A mean of 25 ms that is shown 60 ms after it has ended, as one of 85 ms less one of 60 ms would be.
    shown_w = [mean_w(0.1 * k - 0.06, 0.025) for k in range(200)]
    late = [Change(0.1 * k - 0.0005, 0.1 * k + 0.0005, shown_w[k - 1], shown_w[k]) for k in range(1, 200)]
    _, window_s, lag_s = properties(reading_properties("late", late, SPANS))
    assert window_s == pytest.approx(0.025, rel=0.1)
    assert lag_s == pytest.approx(0.06, abs=0.004)


SPANS = [Span(0.237 * k, 0.237 * k + 0.03 + 0.001 * (k * 37 % 101)) for k in range(100)]


def mean_w(end_s: float, window_s: float) -> float:
    """Mean power, worked out span by span."""
    on_s = sum(max(0.0, min(end_s, span.end_s) - max(end_s - window_s, span.start_s)) for span in SPANS)
    return IDLE_W + (LOAD_W - IDLE_W) * on_s / window_s


def test_cards_without_a_counter_or_an_average_have_none() -> None:
    found = calibrated(Sensors(instant=Sensor(0.02, 0.01), power_usage="instant"), None)
    assert properties(found.power)[:2] == pytest.approx((0.02, 0.01), rel=0.05)
    assert (found.average, found.counter_tick_s, found.counter_fed_by, found.counter_unexplained) == (None,) * 4


def test_a_reading_that_is_newer_than_it_can_be_read_sees_all() -> None:
    found = calibrated(nvmlsim.PERFECT, Counter(phase_s=0.031))
    assert found.power is None or found.power.sees_all
    assert found.counter_fed_by == "everything"


def test_a_load_that_cannot_be_seen_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"the load cannot be seen on GPU-.* its power went from 60 to 63 W"):
        calibrated(A100, Counter(), load_w=63.0)
    with pytest.raises(ExperimentError, match="its power never changed"):
        calibrated(A100, Counter(), load_w=IDLE_W)


def test_a_card_that_stops_answering_is_an_error_and_no_calibration() -> None:
    card = Card(uuid="GPU-a", name="A", power_field="p", average_power_field="a", driver_version="1")
    seen = [PowerRead(t, t + 0.01, 100.0 + 10 * t) for t in range(5)]
    lost = Recorded(card, power=[*seen, PowerRead(9, 9.01, None)], spans=[Span(1, 2), Span(6, 8)])
    with pytest.raises(ExperimentError, match="GPU-a stopped answering before the load had ended"):
        calibration_of(lost, load="toy", timestamp=0.0)
    with pytest.raises(ExperimentError, match="the load of the toy engine never ran on GPU-a"):
        calibration_of(Recorded(card, power=seen), load="toy", timestamp=0.0)


def test_a_driver_that_hangs_ends_the_record_and_not_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedure, "_PATIENCE_S", 0.05)
    for_ever = threading.Event()

    @contextmanager
    def hanging() -> Iterator[tuple[GpuDeviceBase, str | None]]:
        for_ever.wait(PATIENCE_S)
        yield GpuDeviceBase(), None

    with pytest.raises(ExperimentError, match="the driver did not answer within"):
        procedure.record(hanging, lambda _: None, 10.0, sleep=lambda _: None)
    for_ever.set()


def test_the_period_is_found_where_changes_are_passed_over() -> None:
    seen = [0.1 * k + 0.0003 * math.sin(k) for k in range(300) if k % 7 and k % 11]
    assert period_s(seen) == pytest.approx(0.1, rel=1e-4)
    assert period_s([0.1 * k for k in range(10)]) is None
    assert period_s([math.sqrt(k) for k in range(300)]) is None


def test_two_explanations_that_are_about_as_good_are_none() -> None:
    part_time = ReadingProperties(field="p", update_s=0.1, window_s=0.025, lag_s=0.0, unexplained=0.0, n_readings=99)
    assert told_feed({"everything": 0.1, "power": 0.12}, part_time) is None
    assert told_feed({"everything": 0.1, "power": 0.25}, part_time) == "everything"
    assert told_feed({"everything": 0.4, "power": 0.35}, part_time) is None
    assert told_feed({}, None) is None
    assert counter_feed([], {}, []) == {}
