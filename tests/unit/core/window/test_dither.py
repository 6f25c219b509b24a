"""Pauses between batches: in the figures, told, and enough to break the step of tokens and sensor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.protocols import EnergyBackend, InferenceBackend
from llenergymeasure.testing import (
    FakeClock,
    FakeEnergy,
    FakeEngine,
    FakeModel,
    FakeSampler,
    fake_environment,
    words_as_tokens,
)
from llenergymeasure.testing.simulated import SimulatedEngine, SimulatedModel

GPU = "GPU-0"
IDLE_W = 60.0
# A token takes 50 ms: 500 W for the first half of it, 100 W for the second.
TOKEN_S, HIGH_W, LOW_W = 0.05, 500.0, 100.0
# A sensor that looks for 25 ms in each 100.
REFRESH_S, LOOK_S = 0.1, 0.025


def result_of(
    engine: InferenceBackend, energy: EnergyBackend | None, clock: FakeClock, n: int, **fields: Any
) -> ExperimentResult:
    config = ExperimentConfig.model_validate(
        {
            "model": "fake",
            "n": n,
            "dataset": "random",
            "warmup": {"enabled": False, "thermal_floor_seconds": 30},
            "baseline": {"enabled": False},
            **fields,
        }
    )
    instruments = Instruments(
        energy=energy,
        sampler=FakeSampler(),
        snapshot=fake_environment,
        clock=clock,
        sleep=clock.sleep,
        now=clock.now,
        tokenise=words_as_tokens,
    )
    plan = ExperimentPlan.of(config, devices=(GPU,))
    return ExperimentResult.from_processes([run_session(plan, engine, instruments)])


@dataclass
class Decoding(FakeModel):
    """Batches of a second in which the card's power follows the tokens."""

    began_s: list[float] = field(default_factory=list)

    def generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
        self.began_s.append(self.clock())
        return super().generate(requests)

    def energy_j(self, start_s: float, end_s: float) -> float:
        """The true energy between two times, a sum of rectangles."""
        total_j = IDLE_W * (end_s - start_s)
        for began_s in self.began_s:
            first_s, last_s = max(start_s, began_s) - began_s, min(end_s, began_s + self.batch_s) - began_s
            if last_s > first_s:
                total_j += _decoded_j(last_s) - _decoded_j(first_s) - IDLE_W * (last_s - first_s)
        return total_j


def _decoded_j(seconds: float) -> float:
    n_tokens = int(seconds / TOKEN_S)
    rest_s = seconds - n_tokens * TOKEN_S
    high_s = min(rest_s, TOKEN_S / 2)
    return n_tokens * (HIGH_W + LOW_W) / 2 * TOKEN_S + HIGH_W * high_s + LOW_W * (rest_s - high_s)


class PartTime(FakeEnergy):
    """A counter that adds up what a part-time sensor saw, with the right share of a period at either edge."""

    def __init__(self, clock: FakeClock, model: Decoding) -> None:
        super().__init__(clock)
        self.model = model
        self.window = (0.0, 0.0)

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        start_s, end_s = tracker, self.clock()
        total_j, k = 0.0, int(start_s / REFRESH_S + 1e-9)
        while k * REFRESH_S < end_s - 1e-9:
            looked_s = k * REFRESH_S
            power_w = self.model.energy_j(looked_s, looked_s + LOOK_S) / LOOK_S
            total_j += power_w * (min(end_s, looked_s + REFRESH_S) - max(start_s, looked_s))
            k += 1
        if self.model.began_s and end_s - start_s > self.window[1] - self.window[0]:
            self.window = (start_s, end_s)
        row = DeviceEnergy(device=GPU, kind="gpu", energy_j=total_j, source="counter")
        return EnergyMeasurement(total_j, end_s - start_s, 2, devices=(row,))


def decoded(n_batches: int, **measurement: Any) -> tuple[ExperimentResult, float]:
    """A run on such a card, and the true energy of its window."""
    clock = FakeClock()
    model = Decoding(clock, devices=(GPU,), batch_size=1)
    energy = PartTime(clock, model)
    result = result_of(
        FakeEngine(model), energy, clock, n_batches, measurement=measurement, random_seed=measurement.pop("seed", 42)
    )
    return result, model.energy_j(*energy.window)


def test_where_tokens_and_sensor_keep_step_only_one_level_is_seen() -> None:
    result, truth_j = decoded(100)
    assert truth_j == pytest.approx(100 * 300.0)
    assert result.total_energy_j == pytest.approx(100 * 500.0)
    assert (result.dither_pause_s, result.dither_energy_j) == (None, None)


@pytest.mark.parametrize("seed", range(5))
def test_with_pauses_the_error_shrinks_as_that_of_many_draws(seed: int) -> None:
    result, truth_j = decoded(100, dither_s=REFRESH_S, seed=seed)
    assert result.dither_pause_s is not None
    assert truth_j == pytest.approx(100 * 300.0 + IDLE_W * result.dither_pause_s)
    # Power over 25 ms of such a square wave, begun anywhere, is evenly spread from 100 to 500 W: of 100 batches the
    # mean has a standard deviation of 400 / sqrt(12) / 10 = 11.5 W, 3.8 % of 300 W. It was 67 % in step.
    assert result.total_energy_j is not None
    assert abs(result.total_energy_j / truth_j - 1) < 3 * 0.038


def test_pauses_are_in_time_and_energy_and_told_with_what_was_idled_away() -> None:
    clock = FakeClock()
    # A second a batch and 100 W at all times.
    result = result_of(
        FakeEngine(FakeModel(clock, devices=(GPU,))), FakeEnergy(clock), clock, 8, measurement={"dither_s": 0.2}
    )
    pause_s = result.dither_pause_s
    assert pause_s is not None
    # Four batches have three pauses between them.
    assert 0.0 < pause_s < 0.6
    assert result.duration_sec == pytest.approx(4.0 + pause_s)
    assert result.total_energy_j == pytest.approx(100.0 * (4.0 + pause_s))
    assert result.dither_energy_j == pytest.approx(100.0 * pause_s)
    # No request waits in one.
    assert result.latency_stats is not None
    assert result.latency_stats.e2e_s is not None
    assert result.latency_stats.e2e_s.mean == pytest.approx(1.0)


def test_the_same_seed_pauses_alike_and_another_one_does_not() -> None:
    def pause_s(seed: int) -> float | None:
        return decoded(10, dither_s=REFRESH_S, seed=seed)[0].dither_pause_s

    assert pause_s(1) == pause_s(1) != pause_s(2)


def test_nothing_pauses_before_the_window_nor_where_no_energy_is_sensed() -> None:
    clock = FakeClock()
    part = {"methodology": "windowed", "window_start_s": 1.5, "window_length_s": 1.5, "dither_s": 0.2}
    result = result_of(FakeEngine(FakeModel(clock, devices=(GPU,))), FakeEnergy(clock), clock, 10, measurement=part)
    # Two batches are run before it, and two are in it: one pause lies between those.
    assert result.dither_pause_s is not None
    assert result.steady_state_window == pytest.approx((2.0, 4.0 + result.dither_pause_s))
    assert 0.0 < result.dither_pause_s < 0.2
    clock = FakeClock()
    unsensed = result_of(FakeEngine(FakeModel(clock, devices=(GPU,))), None, clock, 4, measurement={"dither_s": 0.2})
    assert (unsensed.duration_sec, unsensed.dither_pause_s) == (2.0, None)


def test_a_load_without_pauses_is_told_that_it_has_none() -> None:
    clock = FakeClock()
    model = SimulatedModel(clock, devices=(GPU,))
    result = result_of(SimulatedEngine(model), FakeEnergy(clock), clock, 4, measurement={"dither_s": 0.2})
    assert result.dither_pause_s is None
    assert "dither_left_out" in [w.flag for w in result.warnings]
