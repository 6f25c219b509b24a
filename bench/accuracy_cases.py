"""The cases of ``bench/accuracy.py``: loads, cards, windows, phases, and which loads the readings do not resolve."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import nvmlsim
from nvmlsim import Counter, Gpu, Sensor, Trace

IDLE_W = 60.0
LOAD_W = 380.0
CONSTANT_W = 300.0
SQUARE_W = (100.0, 500.0)
# Peaks a fifth above a limit of 400 W, for as long as no regulation of a card lets them pass: the worst there may be.
LIMIT_W, OVER_LIMIT_W = 400, 480.0
SPIKES_W, SPIKE_S = (200.0, 650.0), 0.03
# No multiple of a tick, a refresh or a trace's period.
WINDOWS_S = (1.037, 5.053, 20.071)
SHORTER_WINDOWS_S = WINDOWS_S[:2]
N_PHASES, N_LIVE_PHASES = 8, 16
_TICK_S = 0.1
POLLED_S = 0.1
# Where the load begins in the windows of the traces 'step' and 'late step'.
_STEP_AT, _LATE_AT = 0.37, 0.85
# Of a period: what is nearer than this is the same.
_SAME = 1e-9
# The root of x^4 = x + 1. Multiples of 1 over its powers, modulo 1, fill a cube evenly and never fall into
# step (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018).
_ROOT = 1.2207440846057596


@dataclass(frozen=True)
class Phase:
    """Fractions of a period by which refresh, tick and trace are shifted against the window's start."""

    number: int
    refresh: float
    tick: float
    trace: float


def phase(number: int) -> Phase:
    """The phase of this number; any first n of them are spread evenly, and the three are not in step."""
    return Phase(number, *((0.5 + (number + 1) / _ROOT**k) % 1 for k in (1, 2, 3)))


@dataclass(frozen=True)
class Load:
    """What a card draws around a window.

    Args:
        name: short, for tables.
        what: one line for the page.
        build: (start of the window in scenario seconds, its length in seconds, phase) to the trace.
        goes_on: the load is there before and after the window; otherwise the card idles outside it, but for the
            steps, where the load stays on afterwards.
        period_s: period of the load in seconds; of a decode, its mean time per token; None has none.
        shortest_s: of a periodic load, the shortest time for which it keeps a power.
        power_limit_w: limit of the card that has it.
        told: whether the package is told the period, as a session knows it where it is that of tokens.
    """

    name: str
    what: str
    build: Callable[[float, float, Phase], Trace]
    goes_on: bool = False
    period_s: float | None = None
    shortest_s: float | None = None
    power_limit_w: int = 700
    told: bool = True

    @property
    def told_period_s(self) -> float | None:
        """The period, where the package knows it."""
        return self.period_s if self.told else None


@dataclass(frozen=True)
class Card:
    """One kind of sensors: a GPU that has them, all in phase 0.

    Args:
        name: short, for tables.
        model: the GPU.
        polled_s: how often the package samples its power.
        published: whether anybody has published what its sensor sees.
    """

    name: str
    model: Gpu
    polled_s: float = POLLED_S
    published: bool = True

    @property
    def power(self) -> Sensor:
        """What the package reads power from: the instant field, or what nvmlDeviceGetPowerUsage gives."""
        found = self.model.sensors.instant or self.model.sensors.average
        assert found is not None
        return found

    @property
    def readings(self) -> tuple[Sensor | None, ...]:
        """What the package takes energy from: what feeds the counter (None: the truth), and power as it is polled."""
        polled = replace(self.power, update_s=max(self.polled_s, self.power.update_s))
        return (polled,) if self.model.counter is None else (self.model.counter.fed_by, polled)

    def gpu(self, load: Load, power_w: Trace, shift: Phase) -> Gpu:
        """A card of this kind with a load."""
        sensors = self.model.sensors.with_phase(shift.refresh * self.power.update_s)
        counter = self.model.counter
        if counter is not None:
            fed_by = None if counter.fed_by is None else sensors.instant
            counter = replace(counter, phase_s=shift.tick * counter.tick_s, fed_by=fed_by)
        return replace(self.model, power_w=power_w, sensors=sensors, counter=counter, power_limit_w=load.power_limit_w)


# The counters of parts that look 25 % of the time are taken to add up what these saw: the worse of two
# assumptions. PERFECT has a perfect sensor, but a tick like the others: that error is no sensor's.
_ANY = Trace.constant(IDLE_W)
_V100 = Gpu(
    power_w=_ANY,
    sensors=nvmlsim.V100,
    counter=Counter(tick_s=0.02),
    name="Tesla V100-SXM2-16GB",
    architecture="volta",
    compute_capability=(7, 0),
)
_A100 = Gpu(
    power_w=_ANY,
    sensors=nvmlsim.A100,
    counter=Counter(fed_by=nvmlsim.A100.instant),
    name="NVIDIA A100-SXM4-80GB",
    architecture="ampere",
    compute_capability=(8, 0),
)
_H100 = Gpu(power_w=_ANY, sensors=nvmlsim.H100, counter=Counter(fed_by=nvmlsim.H100.instant), name="NVIDIA H100 PCIe")
_RTX40 = Gpu(
    power_w=_ANY,
    sensors=nvmlsim.RTX40,
    name="NVIDIA GeForce RTX 4090",
    architecture="ada",
    compute_capability=(8, 9),
)
_PERFECT = Gpu(
    power_w=_ANY,
    sensors=nvmlsim.PERFECT,
    name="Simulated perfect GPU",
    architecture="blackwell",
    compute_capability=(10, 0),
)
# Of this driver only nvmlDeviceGetPowerUsage tells power.
_A10 = Gpu(
    power_w=_ANY,
    sensors=nvmlsim.Sensors(average=nvmlsim.RTX40.average, power_usage="average"),
    name="NVIDIA A10",
    architecture="ampere",
    compute_capability=(8, 6),
)
# Nobody has published what its sensor sees; it is one that sees a quarter.
_UNKNOWN = replace(_A100, name="Simulated unknown GPU", architecture="blackwell", compute_capability=(10, 0))
CARDS = {
    card.name: card
    for card in (
        Card("V100", _V100),
        Card("A100", _A100),
        Card("H100", _H100),
        Card("RTX40", _RTX40),
        Card("PERFECT", _PERFECT),
        Card("A10", _A10),
        Card("A10, no counter", replace(_A10, counter=None)),
        Card("A100, no counter", replace(_A100, counter=None)),
        Card("unknown", _UNKNOWN, published=False),
        Card("A100, each 0.5 s", _A100, polled_s=0.5),
        Card("RTX40, each 1 s", _RTX40, polled_s=1.0),
        Card("RTX40, no counter, each 0.5 s", replace(_RTX40, counter=None), polled_s=0.5),
    )
}
# Those that are also run in real time.
LIVE_CARDS = ("V100", "A100", "H100", "RTX40", "PERFECT")


def _constant(start_s: float, length_s: float, shift: Phase) -> Trace:  # noqa: ARG001 - the same at all times
    return Trace.constant(CONSTANT_W)


def _step(name: str, at: float) -> Load:
    def build(start_s: float, length_s: float, shift: Phase) -> Trace:
        return Trace(((0.0, IDLE_W), (start_s + at * length_s + shift.trace * _TICK_S, LOAD_W)))

    return Load(name, f"{IDLE_W:.0f} W, from about {at:.0%} of the window on {LOAD_W:.0f} W", build)


def _inside(start_s: float, length_s: float, shift: Phase) -> Trace:  # noqa: ARG001 - the window is the load
    return Trace(((0.0, IDLE_W), (start_s, LOAD_W), (start_s + length_s, IDLE_W)))


def _square(period_s: float, *, over_limit: bool = False) -> Load:
    low_w, high_w = (SQUARE_W[0], OVER_LIMIT_W) if over_limit else SQUARE_W

    def build(start_s: float, length_s: float, shift: Phase) -> Trace:  # noqa: ARG001 - it goes on
        return Trace.square(low_w, high_w, period_s=period_s, start_s=shift.trace * period_s)

    name = f"square {period_s * 1000:.0f} ms" + (" over the limit" if over_limit else "")
    limit = f", on a card with a limit of {LIMIT_W} W" if over_limit else ""
    return Load(
        name,
        f"{low_w:.0f}/{high_w:.0f} W, half of each, before, in and after the window{limit}",
        build,
        goes_on=True,
        period_s=period_s,
        shortest_s=period_s / 2,
        power_limit_w=LIMIT_W if over_limit else 700,
    )


def _spikes() -> Load:
    low_w, high_w = SPIKES_W

    def build(start_s: float, length_s: float, shift: Phase) -> Trace:  # noqa: ARG001 - they go on
        return Trace.square(low_w, high_w, period_s=1.0, duty=SPIKE_S, start_s=shift.trace)

    what = f"{low_w:.0f} W, and {high_w:.0f} W for {1000 * SPIKE_S:.0f} ms of each second, at all times"
    return Load("spikes", what, build, goes_on=True, period_s=1.0, shortest_s=SPIKE_S, told=False)


def _decode(token_s: float, batch_tokens: tuple[int, int], watts: tuple[float, float]) -> Load:
    """Batches one after the other: host work, a prefill burst, then a burst of kernels for each token.

    Args:
        token_s: mean time per token.
        batch_tokens: least and most tokens of a batch.
        watts: while the kernels of a token run, and between them.
    """

    def build(start_s: float, length_s: float, shift: Phase) -> Trace:
        steps = [(0.0, IDLE_W), *_decode_steps(start_s, start_s + length_s, shift.number)]
        return Trace((*steps, (start_s + length_s, IDLE_W)))

    def _decode_steps(at_s: float, end_s: float, seed: int) -> Iterator[tuple[float, float]]:
        rng = random.Random(f"{token_s} {seed}")
        while True:
            for power_w, seconds in _batch(rng):
                if at_s >= end_s:
                    return
                yield at_s, power_w
                at_s += seconds

    def _batch(rng: random.Random) -> Iterator[tuple[float, float]]:
        yield 120.0, rng.uniform(0.005, 0.02)
        yield rng.uniform(450, 500), rng.uniform(0.06, 0.25)
        for _ in range(rng.randint(*batch_tokens)):
            seconds = token_s * rng.uniform(0.97, 1.03)
            busy = rng.uniform(0.68, 0.74)
            yield watts[0] * rng.uniform(0.97, 1.03), busy * seconds
            yield watts[1], (1 - busy) * seconds

    name = f"decode {token_s * 1000:.0f} ms"
    what = (
        f"batches of {batch_tokens[0]} to {batch_tokens[1]} tokens: prefill 450 to 500 W for 60 to 250 ms, then "
        f"{watts[0]:.0f}/{watts[1]:.0f} W once per token, times and powers jittered by 3 %; idle before and after"
    )
    return Load(name, what, build, period_s=token_s)


LOADS = {
    load.name: load
    for load in (
        Load("constant", f"{CONSTANT_W:.0f} W at all times", _constant, goes_on=True),
        _step("step", _STEP_AT),
        _step("late step", _LATE_AT),
        Load("load inside", f"{LOAD_W:.0f} W in the window, {IDLE_W:.0f} W before and after", _inside),
        *(_square(period_s) for period_s in (0.02, 0.05, 0.1, 0.2, 0.4, 0.5)),
        *(_square(period_s, over_limit=True) for period_s in (0.133, 0.2)),
        _spikes(),
        _decode(0.023, (20, 60), (390.0, 210.0)),
        _decode(0.047, (16, 48), (430.0, 240.0)),
    )
}
# Those that are also run in real time.
LIVE_LOADS = (
    "constant", "step", "load inside", "square 20 ms", "square 50 ms", "square 100 ms", "square 200 ms",
    "square 400 ms", "decode 23 ms", "decode 47 ms",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One load on one card, measured over one window at one phase; names are keys of LOADS and CARDS."""

    load: str
    window_s: float
    card: str
    phase: int

    @property
    def unresolvable(self) -> bool:
        """Whether none of the readings taken resolves it; see :func:`unresolvable`."""
        return unresolvable(LOADS[self.load], CARDS[self.card], self.window_s)


def gpu_at(case: Case, start_s: float) -> Gpu:
    """The card of a case whose window starts at this scenario time; a whole number keeps its phases what they are."""
    shift, load = phase(case.phase), LOADS[case.load]
    return CARDS[case.card].gpu(load, load.build(start_s, case.window_s, shift), shift)


def cases(
    loads: tuple[str, ...], windows_s: tuple[float, ...], cards: tuple[str, ...], n_phases: int
) -> Iterator[Case]:
    """All combinations."""
    for load in loads:
        for window_s in windows_s:
            for card in cards:
                yield from (Case(load, window_s, card, number) for number in range(n_phases))


def unresolvable(load: Load, card: Card, window_s: float) -> bool:
    """The named set: cases whose energy none of the readings taken tells, so that a warning must stand in for it.

    A sensor that looks for `w` of every `u` seconds, w < u, never sees the rest. It gets the mean of a periodic
    load right only if successive looks fall on all parts of the period `p`. From one look to the next the phase
    moves by `u / p` periods, of which only the distance to the nearest whole number, `d`, counts: after `u / d`
    seconds, the beat, the looks have been all over the period. If the beat is longer than the window they never are
    (with d = 0 they all see the same part of it), and the mean is that of the parts seen: for a 100/500 W square
    wave of 50 ms and looks of 25 ms anything from 100 to 500 W, by the phase between the two. An energy counter fed
    by the same sensor adds up the same looks and agrees with them. And where the looks leave out a part of the period
    that is longer than what the load does in it, such as a spike of 30 ms, they may see all of it, each time anew, or
    nothing. Reading a sensor less often than it is new is looking less often. Of a card whose sensor nobody has
    published the package works out no aliasing, and so looks that leave out more of the period than one of them sees
    are in the set too, although they do see all that the load does: they may weigh it wrongly.

    Not in the set: cards one of whose readings sees all of the time (V100, whose counter counts the truth; RTX 40;
    PERFECT; A10); loads without a period, whose one step costs at most what lies between two looks; looks of whole
    periods; loads whose beat is shorter than the window, where what is left of the last beat is what the stated bound
    is for.
    """
    readings = card.readings
    if load.period_s is None or any(reading is None or reading.window_s >= reading.update_s for reading in readings):
        return False
    return all(
        reading is not None and _misses(load, reading, window_s, published=card.published) for reading in readings
    )


def _misses(load: Load, reading: Sensor, window_s: float, *, published: bool) -> bool:
    period_s = load.period_s or math.inf
    looks = reading.window_s / period_s
    if abs(looks - round(looks)) < _SAME and looks >= 1:
        return False
    unseen_s = _longest_unseen_s(period_s, reading, window_s)
    least_s = (load.shortest_s or math.inf) if published else reading.window_s
    return _beat_s(period_s, reading.update_s) > window_s or unseen_s > least_s


def _beat_s(period_s: float, update_s: float) -> float:
    periods = update_s / period_s
    distance = abs(periods - round(periods))
    return math.inf if distance < _SAME else update_s / distance


def _longest_unseen_s(period_s: float, reading: Sensor, window_s: float) -> float:
    """The longest part of the period that no look of a window falls on."""
    begin_s = sorted(k * reading.update_s % period_s for k in range(max(1, int(window_s / reading.update_s))))
    gaps_s = (b - a for a, b in pairwise([*begin_s, begin_s[0] + period_s]))
    return max(gaps_s) - reading.window_s
