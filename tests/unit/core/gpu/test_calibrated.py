"""What was found of a card changes what its readings are taken for, and which of them makes the figure."""

from dataclasses import replace

import numpy as np
import pytest

import nvmlsim
from bench.accuracy_cases import CARDS, LOADS, Case, gpu_at, phase
from llenergymeasure.core.gpu.energy import CardFacts, GpuEnergy, GpuRecord, gpu_energy
from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.domain.energy.calibration import Calibration, CounterFeed, ReadingProperties
from llenergymeasure.domain.metrics import UNSEEN
from llenergymeasure.domain.telemetry import PowerThermalSample
from nvmlsim import Gpu, Trace
from tests.fakes.counter import reads_around

START_S = 10.0
INSTANT, AVERAGE = "instant", "average of a second"


def reading(field: str, update_s: float, window_s: float, lag_s: float = 0.0) -> ReadingProperties:
    return ReadingProperties(
        field=field, update_s=update_s, window_s=window_s, lag_s=lag_s, unexplained=0.01, n_readings=300
    )


def calibration(fed_by: CounterFeed | None, average: bool = True) -> Calibration:
    return Calibration(
        device="GPU-a", name="H100", driver_version="1", timestamp=0.0, tool_version="2", load="test", duration_s=30.0,
        power=reading(INSTANT, 0.1, 0.025), average=reading(AVERAGE, 0.1, 1.0) if average else None,
        counter_tick_s=0.1, counter_fed_by=fed_by,
    )  # fmt: skip


def recorded(gpu: Gpu, length_s: float, found: Calibration | None, *, with_counter: bool = True) -> GpuRecord:
    """An H100 as it is recorded around a window, with or without a counter."""
    instant, average = gpu.sensors.instant, gpu.sensors.average
    assert instant is not None
    assert average is not None
    samples = [
        PowerThermalSample(
            float(t),
            nvmlsim.sensor_power_w(gpu, instant, t),
            gpu_index=0,
            average_power_w=nvmlsim.sensor_power_w(gpu, average, t),
        )
        for t in np.arange(START_S - 1.03, START_S + length_s + 0.9, 0.1)
    ]
    card = CardFacts(
        power_field=INSTANT,
        power_lag_s=0.1,
        power_limit_w=700.0,
        sensor=PowerSensor(0.1, 0.025),
        average_field=AVERAGE,
        average_sensor=PowerSensor(0.1, 1.0),
        calibration=found,
    )
    reads = reads_around(gpu, START_S, START_S + length_s) if with_counter else []
    return GpuRecord(uuid="GPU-a", card=card, samples=samples, counter_reads=reads, interval_s=0.1)


def measured(
    load: str, length_s: float, found: Calibration | None, number: int = 0, **more: bool
) -> tuple[GpuEnergy, float]:
    """What is made of an H100 under a load of the bench, and the true joules."""
    shift = phase(number)
    trace = LOADS[load].build(START_S, length_s, shift)
    made = recorded(CARDS["H100"].gpu(LOADS[load], trace, shift), length_s, found, **more)
    return gpu_energy(made, START_S, START_S + length_s), trace.integral(START_S, START_S + length_s)


@pytest.mark.parametrize("with_counter", [True, False])
@pytest.mark.parametrize("number", range(4))
def test_where_the_card_has_shown_it_the_average_is_the_figure_that_leaves_out_nothing(
    number: int, with_counter: bool
) -> None:
    gpu, true_j = measured("square 50 ms", 20.071, calibration("power"), number, with_counter=with_counter)
    row = gpu.row
    assert (row.field, row.source) == (AVERAGE, "integrated")
    assert UNSEEN not in (row.uncertainty_parts_j or {})
    assert row.energy_j == pytest.approx(true_j, rel=2e-3)
    assert abs((row.energy_j or 0) - true_j) <= (row.uncertainty_j or 0)
    # What looks a quarter of the time stands beside it, up to two thirds off.
    assert row.witness_j is not None
    assert abs(row.witness_j / true_j - 1) > 0.02
    # Which is why it is not the figure, and nothing to look after; the counter is not one to be refused.
    assert (row.update_period_s, gpu.counter_refused) == (0.1, False)
    assert "counter_disagreement" not in [w.flag for w in gpu.warnings]


@pytest.mark.parametrize("number", range(4))
def test_where_it_has_not_the_average_is_a_witness_and_the_bound_reaches_to_it(number: int) -> None:
    gpu, true_j = measured("square 50 ms", 20.071, None, number)
    assert gpu.row.source == "counter"
    assert abs((gpu.row.energy_j or 0) - true_j) <= (gpu.row.uncertainty_j or 0)
    disagreements = [str(w) for w in gpu.warnings if w.flag == "counter_disagreement"]
    if abs((gpu.row.energy_j or 0) / true_j - 1) > 0.1:
        assert any("its own average comes to" in told for told in disagreements)


def test_long_idling_before_the_window_narrows_no_bound() -> None:
    # A second's square wave, of which half a second of the window is in no tile: 700 W of it at the worst, or 140.
    load = Trace.square(140.0, 700.0, period_s=1.0, start_s=START_S)
    idle_before = replace(CARDS["H100"].model, power_w=load)
    for lead_s in (1.03, 60.03):
        made = recorded(idle_before, 10.5, calibration("power"), with_counter=False)
        idle = [
            PowerThermalSample(float(t), 60.0, gpu_index=0, average_power_w=60.0)
            for t in np.arange(START_S - lead_s, START_S - 1.1, 0.1)
        ]
        row = gpu_energy(replace(made, samples=[*idle, *made.samples]), START_S, START_S + 10.5).row
        assert row.field == AVERAGE
        true_j = load.integral(START_S, START_S + 10.5)
        assert abs((row.energy_j or 0) - true_j) <= (row.uncertainty_j or 0)


def test_power_is_sampled_on_until_the_average_is_of_the_end() -> None:
    card = recorded(gpu_at(Case("constant", 5.053, "H100", 0), START_S), 5.053, None).card
    late = replace(calibration(None), average=reading(AVERAGE, 0.1, 1.0, lag_s=0.7))
    assert replace(card, calibration=late).reads_of_the_end_s == pytest.approx(0.8)
    assert card.reads_of_the_end_s == pytest.approx(0.1125)


def test_a_short_window_has_no_average() -> None:
    gpu, _ = measured("constant", 3.037, calibration("power"))
    assert gpu.row.source == "counter"


def test_a_counter_that_was_found_to_count_everything_leaves_nothing_unseen() -> None:
    untold, _ = measured("decode 23 ms", 5.053, None)
    told, _ = measured("decode 23 ms", 5.053, calibration("everything"))
    assert UNSEEN in (untold.row.uncertainty_parts_j or {})
    assert UNSEEN not in (told.row.uncertainty_parts_j or {})
    assert told.row.source == "counter"
    assert (told.row.uncertainty_j or 0) < (untold.row.uncertainty_j or 0)


def test_readings_count_at_the_moments_that_a_calibration_found() -> None:
    card = recorded(gpu_at(Case("constant", 5.053, "H100", 0), START_S), 5.053, None).card
    late = replace(calibration(None), power=reading(INSTANT, 0.1, 0.05, lag_s=0.3))
    # Half of what it averages, half a refresh, and as late as it was found to be.
    assert replace(card, calibration=late).reading(0.1).lag_s == pytest.approx(0.025 + 0.05 + 0.3)
    assert card.reading(0.1).lag_s == pytest.approx(0.0125 + 0.05)
