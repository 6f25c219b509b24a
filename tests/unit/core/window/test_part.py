"""Which batches of a run are measured."""

from collections.abc import Sequence

import pytest

from llenergymeasure.config.measurement import MeasurementConfig
from llenergymeasure.core.window.part import measured_part
from llenergymeasure.domain.inference import InferenceOutput, RequestOutput
from llenergymeasure.testing import FakeClock


def output(n_tokens: int) -> InferenceOutput:
    request = RequestOutput(
        index=0,
        input_tokens=1,
        output_tokens=n_tokens,
        finish_reason="length",
        output_digest="",
    )
    return InferenceOutput(requests=(request,))


def run(seconds: Sequence[float], **fields: object) -> tuple[int, int, list[str]]:
    """First and number of the measured ones of batches that take so long, for 10 tokens each; and the warnings."""
    clock = FakeClock()
    part = measured_part(MeasurementConfig.model_validate(fields), seconds, clock)
    first = 0
    while first < len(seconds) and not part.begins():
        clock.time_s += seconds[first]
        part.saw(output(10), seconds[first])
        first += 1
    began_s, n_measured = clock(), 0
    for each in seconds[first:]:
        if n_measured and part.ends(clock() - began_s):
            break
        clock.time_s += each
        n_measured += 1
    return first, n_measured, [str(warning) for warning in part.warnings(clock() - began_s)]


def test_by_default_the_whole_run_is_measured() -> None:
    assert run([3.0, 1.0, 1.0]) == (0, 3, [])


@pytest.mark.parametrize(
    ("start_s", "length_s", "expected"),
    [
        (0.0, None, (0, 6)),
        (2.0, None, (2, 4)),  # a batch ends at just that time
        (2.5, None, (3, 3)),
        (0.0, 2.0, (0, 2)),
        (0.0, 2.5, (0, 3)),  # the batch in which it is over belongs to it
        (2.5, 0.1, (3, 1)),
        (0.0, 100.0, (0, 6)),
    ],
)
def test_a_window_begins_and_ends_with_a_batch(
    start_s: float, length_s: float | None, expected: tuple[int, int]
) -> None:
    fields = {"methodology": "windowed", "window_start_s": start_s, "window_length_s": length_s}
    first, n_measured, warnings = run([1.0] * 6, **fields)
    assert (first, n_measured) == expected
    assert bool(warnings) == (length_s == 100.0)


def test_a_run_that_is_too_short_for_its_window_says_so() -> None:
    (warning,) = run([1.0] * 6, methodology="windowed", window_length_s=100.0)[2]
    assert warning.startswith("window_not_reached: window_length_s: 100 became 6.00 s, when the run ended")
    clock = FakeClock()
    part = measured_part(MeasurementConfig(methodology="windowed", window_start_s=60.0), [1, 2], clock)
    assert not part.begins()
    (told,) = part.warnings(0.5)
    assert str(told).startswith("window_not_reached: window_start_s: 60 was not over before the last batch")


def test_a_steady_state_begins_when_throughput_varies_little() -> None:
    first, n_measured, warnings = run(
        [3, 2, 1.5, 1, 1, 1, 1, 1, 1, 1, 1, 1], methodology="steady_state", n_steady_batches=3
    )
    # The fourth, fifth and sixth are the first three alike.
    assert (first, n_measured, warnings) == (6, 6, [])


@pytest.mark.parametrize(
    ("seconds", "first", "said"),
    [
        ([1, 2, 1, 2, 1, 2, 1, 2], 4, "CV 0.333"),  # rates 5 and 10: 2.5 from 7.5 each
        ([1, 1, 1, 1], 2, "under 4 batches to judge by"),
    ],
)
def test_a_run_that_never_gets_steady_is_measured_from_its_middle_and_says_so(
    seconds: list[float], first: int, said: str
) -> None:
    found, _, (warning,) = run(seconds, methodology="steady_state", n_steady_batches=4)
    assert found == first
    assert warning.startswith("steady_state_not_reached: ")
    assert said in warning


def test_settings_of_another_methodology_sleep() -> None:
    assert set(MeasurementConfig(window_start_s=1.0, n_steady_batches=4).dormant_fields()) == {
        "window_start_s",
        "n_steady_batches",
    }
    assert MeasurementConfig(methodology="windowed", window_length_s=2.0).dormant_fields() == {}
