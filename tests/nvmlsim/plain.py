"""Traces as hypothesis draws them, and their energy the long way."""

import math

from hypothesis import strategies as st

from nvmlsim import Sensor, Trace

_MILLISECONDS = st.integers(-300, 900)

SENSORS = st.builds(
    lambda update, window, phase, gain: Sensor(update / 1000, window / 1000, phase / 1000, gain),
    st.integers(1, 200),
    st.integers(1, 400),  # longer than the update, too
    st.integers(-500, 500),
    st.sampled_from([1.0, 0.945, 1.04]),
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Steps on whole milliseconds, perhaps repeated."""
    steps = draw(st.lists(st.tuples(_MILLISECONDS, st.integers(0, 700)), min_size=1, max_size=6))
    repeat = draw(st.none() | st.tuples(_MILLISECONDS, st.integers(1, 150)))
    in_seconds = tuple((ms / 1000, float(power_w)) for ms, power_w in steps)
    return Trace(in_seconds, None if repeat is None else (repeat[0] / 1000, repeat[1] / 1000))


def plain_power_w(trace: Trace, ms: float) -> float:
    """The definition of a trace, read out in words: no prefix sums, no closed form. Steps are on whole milliseconds."""
    steps_ms = [(round(time_s * 1000), i) for i, (time_s, _) in enumerate(trace.steps)]

    def last_before(limit_ms: float) -> float:
        earlier = [step for step in steps_ms if step[0] <= max(limit_ms, min(steps_ms)[0])]
        return trace.steps[max(earlier)[1]][1]

    if trace.repeat is None:
        return last_before(ms)
    start_ms, period_ms = (round(x * 1000) for x in trace.repeat)
    end_ms = min((step_ms for step_ms, _ in steps_ms if step_ms >= start_ms + period_ms), default=math.inf)
    return last_before(start_ms + (ms - start_ms) % period_ms if start_ms <= ms < end_ms else ms)


def plain_energy_j(trace: Trace, from_ms: int, to_ms: int) -> float:
    """A sum over milliseconds: exact, because nothing changes inside one."""
    return sum(plain_power_w(trace, ms + 0.5) for ms in range(from_ms, to_ms)) / 1000
