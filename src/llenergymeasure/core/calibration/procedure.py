"""Switch a load on and off on a GPU, and read meanwhile what the card says."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from llenergymeasure._version import __version__
from llenergymeasure.core.calibration.fit import (
    LONGEST_LAG_S,
    LONGEST_WINDOW_S,
    Span,
    counter_feed,
    period_s,
    reading_properties,
    told_feed,
)
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.gpu.changes import Change, changes_of
from llenergymeasure.core.gpu.counter_reads import CounterRead
from llenergymeasure.core.gpu.recorder import CLOSE_S, read_counter
from llenergymeasure.domain.energy.calibration import Calibration, CounterFeed
from llenergymeasure.exceptions import ExperimentError, LLEMError

# Works on the GPU for so many seconds and returns when it is idle again.
SwitchedLoad = Callable[[float], None]

SECONDS = 30.0
# Fewer seconds hold too few changes of a reading that is new ten times a second.
LEAST_SECONDS = 10.0
# More are only memory.
MOST_SECONDS = 600.0
# Nine in ten stretches are short, to tell windows of milliseconds; the others are long, to tell those of a second.
_SHORT_S, _LONG_S, _SHARE_OF_SHORT = (0.01, 0.1), (0.1, 2.0), 0.9
# As long as a reading may be the mean of, and late.
SETTLED_S = LONGEST_WINDOW_S + LONGEST_LAG_S
# A driver that hangs ends the calibration, and not the program.
_PATIENCE_S = 5.0
# Of the readings' range, what the load has to move them by at least to be seen.
_LEAST_SWING = 0.1


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card is called, and its readings; all that is to be known of it beside what was read."""

    uuid: str
    name: str
    power_field: str
    average_power_field: str
    driver_version: str | None

    @classmethod
    def of(cls, device: GpuDeviceBase, driver_version: str | None) -> "Card":
        """The card behind a device that answers."""
        return cls(
            uuid=device.uuid,
            name=device.name(),
            power_field=device.power_field,
            average_power_field=device.average_power_field,
            driver_version=driver_version,
        )


class PowerRead(NamedTuple):
    """One read of a power between two looks at the clock; watts, None where it failed."""

    before_s: float
    after_s: float
    power_w: float | None


@dataclass
class Recorded:
    """What was read of a card while the load was switched, and when it was on."""

    card: Card
    power: list[PowerRead] = field(default_factory=list)
    average: list[PowerRead] = field(default_factory=list)
    counter: list[CounterRead] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


# Opens the driver and gives a device with the version of its driver; used in one thread alone.
Opened = Callable[[], AbstractContextManager[tuple[GpuDeviceBase, str | None]]]


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
    opened: Opened,
    load: SwitchedLoad,
    seconds: float = SECONDS,
    *,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Recorded:
    """Run the load at lengths drawn by chance, and read the card as closely as it answers; idle at first.

    Raises:
        ExperimentError: the driver hangs, or failed.
        LLEMError: what ``opened`` raised.
    """
    with _reading_closely(opened, clock) as found:
        # What ran before is in no reading any more.
        sleep(SETTLED_S)
        for on_s, off_s in stretches_s(seconds, seed):
            start_s = clock()
            load(on_s)
            found.spans.append(Span(start_s, clock()))
            sleep(off_s)
        sleep(2 * _LONG_S[0])
    return found


def calibration_of(found: Recorded, *, load: str, timestamp: float) -> Calibration:
    """What the record says of the card.

    Raises:
        ExperimentError: the load never ran, the card stopped answering, or the load cannot be seen in its power.
    """
    card = found.card
    if not found.spans:
        raise ExperimentError(f"the load of the {load} engine never ran on {card.uuid}")
    last_s = max((read.after_s for read in found.power if read.power_w is not None), default=-math.inf)
    if last_s < found.spans[-1].end_s:
        raise ExperimentError(f"{card.uuid} stopped answering before the load had ended; look after the driver")
    powers, averages, ticks = (list(changes_of(reads)) for reads in (found.power, found.average, found.counter))
    values = [change.new for change in powers]
    if not values or max(values) - min(values) < _LEAST_SWING * max(values):
        seen = f"its power went from {min(values):.4g} to {max(values):.4g} W" if values else "its power never changed"
        raise ExperimentError(
            f"the load cannot be seen on {card.uuid}: {seen}; stop what else runs on it, and see that 'llem config' "
            "lists a sensor that reads it"
        )
    power = reading_properties(card.power_field, powers, found.spans)
    average = reading_properties(card.average_power_field, averages, found.spans)
    candidates: dict[CounterFeed, list[Change]] = {"power": powers, "average": averages}
    left = counter_feed(ticks, candidates, found.spans)
    return Calibration(
        device=card.uuid,
        name=card.name,
        driver_version=card.driver_version,
        timestamp=timestamp,
        tool_version=__version__,
        load=load,
        duration_s=found.spans[-1].end_s - found.spans[0].start_s,
        power=power,
        average=average,
        counter_tick_s=period_s([tick.time_s for tick in ticks]),
        counter_fed_by=told_feed(left, power, average),
        counter_unexplained=left or None,
    )


@contextmanager
def _reading_closely(opened: Opened, clock: Callable[[], float]) -> Iterator[Recorded]:
    """Read the card in a thread while the body runs; the driver is the thread's alone, for a call may hang for ever."""
    ready, stopping, raised, begun = threading.Event(), threading.Event(), list[Exception](), list[Recorded]()

    def read() -> None:
        try:
            with opened() as (device, driver_version):
                begun.append(Recorded(Card.of(device, driver_version)))
                ready.set()
                while not stopping.wait(CLOSE_S):
                    read_once(device, begun[0], clock)
        except Exception as error:  # noqa: BLE001 - whatever a driver's library raises is told where it is waited for
            raised.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=read, name="calibration", daemon=True)
    thread.start()
    is_ready = ready.wait(_PATIENCE_S)
    try:
        if is_ready and begun:
            yield begun[0]
    finally:
        stopping.set()
        thread.join(_PATIENCE_S)
    for error in raised:
        raise (
            error if isinstance(error, LLEMError) else ExperimentError(f"the GPU could not be read: {error}")
        ) from error
    if thread.is_alive():
        raise ExperimentError(f"the driver did not answer within {_PATIENCE_S:g} s; look after it")


def read_once(device: GpuDeviceBase, found: Recorded, clock: Callable[[], float]) -> None:
    """Read counter and powers once, each between two looks at the clock."""
    counter = read_counter(device, clock)
    power_w, average_w = device.powers_w()
    after_s = clock()
    found.counter.append(counter)
    found.power.append(PowerRead(counter.after_s, after_s, power_w))
    found.average.append(PowerRead(counter.after_s, after_s, average_w))
