"""Joules of parts of a window on simulated GPUs, from the readings that a measurement keeps, against the true ones."""

import time
from itertools import pairwise

import pytest

import nvmlsim
from llenergymeasure.domain.energy.courses import course_of
from llenergymeasure.domain.process import RawProcessResult
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.simulated.conftest import Measuring

# Two seconds of each, so that parts of a second and a half differ.
SWINGING = Trace.square(100.0, 300.0, period_s=4.0)


@pytest.mark.parametrize(
    ("card", "worst", "worst_j"),
    [
        # Between the edges a counter is read ten times a second: half of a tick at either end, and little of that.
        (Gpu(power_w=SWINGING, sensors=nvmlsim.RTX40, counter=Counter()), 0.04, 0.0),
        # Without a counter, a sensor of a quarter of the time sees a step to a tenth of a second: of 200 W, 20 J.
        (Gpu(power_w=SWINGING, sensors=nvmlsim.A100, counter=None), 0.0, 20.0),
    ],
    ids=["counter", "power"],
)
def test_parts_of_a_window_are_what_was_drawn_in_them(
    card: Gpu, worst: float, worst_j: float, measuring: Measuring
) -> None:
    scenario = Scenario(gpus=(card,), epoch_s=time.monotonic())
    scenario.write(measuring.path)
    outcome = measuring.run_on(scenario, batch_s=0.75, n_batches=8)
    raw = RawProcessResult.model_validate({name: value for name, value in outcome.raw.items() if name != "took_s"})
    assert raw.energy is not None
    course = course_of(raw.energy.devices[0], raw.energy.trace)
    assert course is not None
    edges = [raw.window_start_s + raw.duration_sec * k / 4 for k in range(5)]
    found = [course.between_j(*pair) for pair in pairwise(edges)]
    true_j = [SWINGING.integral(a - scenario.epoch_s, b - scenario.epoch_s) for a, b in pairwise(edges)]
    assert max(true_j) > 1.2 * min(true_j)
    assert found == pytest.approx(true_j, rel=worst, abs=worst_j)
    whole = sum(j for j in found if j is not None)
    assert whole == pytest.approx(outcome.true_j[0], rel=worst / 4, abs=worst_j)
