"""Switch a load on and off on a GPU, and read meanwhile what the card says."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llenergymeasure._version import __version__
from llenergymeasure.core.calibration.fit import (
    LONGEST_LAG_S,
    LONGEST_WINDOW_S,
    Change,
    Read,
    Span,
    changes,
    counter_feed,
    period_s,
    reading_properties,
    told_feed,
)
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.recorder import CLOSE_S
from llenergymeasure.domain.calibration import Calibration, CounterFeed
from llenergymeasure.exceptions import ExperimentError

# Works on the GPU for so many seconds and returns when it is idle again.
SwitchedLoad = Callable[[float], None]

SECONDS = 30.0
# Fewer seconds hold too few changes of a reading that is new ten times a second.
LEAST_SECONDS = 10.0
# Nine in ten stretches are short, to tell windows of milliseconds; the others are long, to tell those of a second.
_SHORT_S, _LONG_S, _SHARE_OF_SHORT = (0.01, 0.1), (0.1, 2.0), 0.9
# As long as a reading may be the mean of, and late.
SETTLED_S = LONGEST_WINDOW_S + LONGEST_LAG_S
# A driver that hangs ends the calibration, and not the program.
_PATIENCE_S = 5.0
# Of the readings' range, what the load has to move them by at least to be seen.
_LEAST_SWING = 0.1


@dataclass
class Recorded:
    """What was read while the load was switched, and when it was on."""

    power: list[Read] = field(default_factory=list)
    average: list[Read] = field(default_factory=list)
    counter: list[Read] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


def stretches_s(seconds: float, seed: int) -> Iterator[tuple[float, float]]:
    """Pairs of stretches with the load on and off, together about ``seconds``; the same for the same seed."""
    chance, passed_s = random.Random(seed), 0.0
    while passed_s < seconds:
        on_s, off_s = (
            math.exp(chance.uniform(*map(math.log, _SHORT_S if chance.random() < _SHARE_OF_SHORT else _LONG_S)))
            for _ in range(2)
        )
        yield on_s, off_s
        passed_s += on_s + off_s


def record(
    device: GpuDeviceBase,
    load: SwitchedLoad,
    seconds: float = SECONDS,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Recorded:
    """Run the load at lengths drawn by chance, and read the card as closely as it answers; idle at first."""
    found = Recorded()
    with _read_closely(device, found, clock):
        # What ran before is in no reading any more.
        sleep(SETTLED_S)
        for on_s, off_s in stretches_s(seconds, seed):
            start_s = clock()
            load(on_s)
            found.spans.append(Span(start_s, clock()))
            sleep(off_s)
        sleep(2 * _LONG_S[0])
    return found


def calibration_of(
    device: GpuDeviceBase, found: Recorded, *, load: str, driver_version: str | None, timestamp: float
) -> Calibration:
    """What the record says of the card.

    Raises:
        ExperimentError: the load cannot be seen in its power.
    """
    powers, averages, ticks = (changes(reads) for reads in (found.power, found.average, found.counter))
    values = [change.value for change in powers]
    if not values or max(values) - min(values) < _LEAST_SWING * max(values):
        seen = f"its power went from {min(values):.4g} to {max(values):.4g} W" if values else "its power never changed"
        raise ExperimentError(
            f"the load cannot be seen on {device.uuid}: {seen}; stop what else runs on it, and see that 'llem config' "
            "lists a sensor that reads it"
        )
    power = reading_properties(device.power_field, powers, found.spans)
    average = reading_properties(device.average_power_field, averages, found.spans)
    candidates: dict[CounterFeed, list[Change]] = {"power": powers, "average": averages}
    left = counter_feed(ticks, candidates, found.spans)
    return Calibration(
        device=device.uuid,
        name=device.name(),
        driver_version=driver_version,
        timestamp=timestamp,
        tool_version=__version__,
        load=load,
        seconds=found.spans[-1].end_s - found.spans[0].start_s,
        power=power,
        average=average,
        counter_tick_s=period_s([tick.time_s for tick in ticks]),
        counter_fed_by=told_feed(left, power, average),
        counter_unexplained=left or None,
    )


@contextmanager
def _read_closely(device: GpuDeviceBase, found: Recorded, clock: Callable[[], float]) -> Iterator[None]:
    """Read the card in a thread while the body runs.

    Raises:
        ExperimentError: the driver hangs, or failed.
    """
    stopping, raised = threading.Event(), list[Exception]()

    def read() -> None:
        try:
            while not stopping.wait(CLOSE_S):
                read_once(device, found, clock)
        except Exception as error:  # noqa: BLE001 - whatever a driver's library raises is told where it is waited for
            raised.append(error)

    thread = threading.Thread(target=read, name="calibration", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_PATIENCE_S)
    if raised:
        raise ExperimentError(f"{device.uuid} could not be read: {raised[0]}") from raised[0]
    if thread.is_alive():
        raise ExperimentError(f"the driver of {device.uuid} did not answer within {_PATIENCE_S:g} s")


def read_once(device: GpuDeviceBase, found: Recorded, clock: Callable[[], float]) -> None:
    """Read counter and powers once, each between two looks at the clock."""
    before_s = clock()
    energy_j = device.energy_counter_j()
    between_s = clock()
    power_w, average_w = device.powers_w()
    after_s = clock()
    found.counter.append(Read(before_s, between_s, energy_j))
    found.power.append(Read(between_s, after_s, power_w))
    found.average.append(Read(between_s, after_s, average_w))
