"""Whether joules per token are steady, by numbers that can be worked out by hand."""

import pytest

from llenergymeasure.core.load.steadiness import Steadiness
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.telemetry import PowerThermalSample


def samples(power_w: list[float], n_gpus: int = 1, per_s: int = 10) -> list[PowerThermalSample]:
    """A reading every tenth of a second, each power for a second."""
    return [
        PowerThermalSample(timestamp=100.0 + (i + 0.5) / per_s, power_w=power_w[i // per_s], gpu_index=gpu)
        for i in range(per_s * len(power_w))
        for gpu in range(n_gpus)
    ]


def requests(tokens_of_each_s: list[int]) -> list[RequestOutput]:
    """One request for each second, whose tokens come in its middle and which has taken no time."""
    return [
        RequestOutput(
            index=i, input_tokens=1, output_tokens=n, finish_reason="length", output_digest="",
            sent_s=100.5 + i, token_times_s=(100.5 + i,) * n, end_s=100.5 + i,
        )
        for i, n in enumerate(tokens_of_each_s)
    ]  # fmt: skip


def cv_of(
    readings: list[PowerThermalSample], answers: list[RequestOutput], start_s: float, now_s: float
) -> float | None:
    steadiness = Steadiness(start_s)
    steadiness.add(answers)
    return steadiness.cv(readings, now_s)


def test_constant_power_and_tokens_do_not_vary() -> None:
    assert cv_of(samples([200.0] * 10, n_gpus=2), requests([5] * 10), 100.0, 110.0) == pytest.approx(0.0)


def test_the_variation_is_that_of_joules_over_tokens() -> None:
    # Half of the parts have 100 W for 5 tokens, half 300: 20 and 60 J/token, mean 40, sample deviation 20 sqrt(10/9).
    found = cv_of(samples([100.0, 300.0] * 5), requests([5] * 10), 100.0, 110.0)
    assert found == pytest.approx(0.5 * (10 / 9) ** 0.5)


def test_more_power_for_more_tokens_is_steady() -> None:
    found = cv_of(samples([100.0, 300.0] * 5), requests([5, 15] * 5), 100.0, 110.0)
    assert found == pytest.approx(0.0, abs=1e-12)


def test_nothing_is_said_where_too_little_is_known() -> None:
    steady, answers = samples([200.0] * 10), requests([5] * 10)
    assert cv_of([], answers, 100.0, 110.0) is None
    assert cv_of(steady, requests([5] * 9), 100.0, 110.0) is None
    assert cv_of(samples([200.0] * 10, per_s=4), answers, 100.0, 110.0) is None
    assert cv_of(steady, answers, 110.0, 110.0) is None


def test_what_failed_or_was_over_before_says_nothing_of_how_long_requests_take() -> None:
    failed = RequestOutput(
        index=98, input_tokens=1, output_tokens=0, finish_reason="error", output_digest="", sent_s=100.0, end_s=109.9,
        error="it took too long",
    )  # fmt: skip
    before = RequestOutput(
        index=99, input_tokens=1, output_tokens=1, finish_reason="length", output_digest="", sent_s=10.0, end_s=99.0,
    )  # fmt: skip
    found = cv_of(samples([200.0] * 10), [*requests([5] * 10), failed, before], 100.0, 110.0)
    assert found == pytest.approx(0.0)
