"""What is kept of the readings of a GPU, for whoever works its joules out again."""

from bisect import bisect_left

from llenergymeasure.core.gpu.energy import GpuRecord
from llenergymeasure.domain.trace import KEPT_BEFORE_S, DeviceTrace, Reading, ReadingKind, Readings


def kept_readings(record: GpuRecord, start_s: float, end_s: float) -> DeviceTrace:
    """What was read from some seconds before a window until after it; what failed is among it.

    Args:
        record: what was read of the GPU.
        start_s: start of the window, in seconds of the record's clock.
        end_s: its end.
    """
    since_s = start_s - KEPT_BEFORE_S
    samples = [s for s in record.samples if s.timestamp >= since_s]
    told_w = [(s.timestamp, s.power_limit_w) for s in record.samples if s.power_limit_w is not None]
    # The limit that was in force at the start may have been read long before.
    first = max(0, bisect_left(told_w, (start_s,)) - 1)
    counter = [read for read in record.counter_reads if read.before_s >= since_s]
    kinds: dict[ReadingKind, list[Reading]] = {
        "power": [Reading(s.timestamp, s.power_w) for s in samples],
        "average": [Reading(s.timestamp, s.average_power_w) for s in samples],
        "limit": [Reading(*told) for told in told_w[first:]],
        "counter": [Reading.between(*read) for read in counter],
    }
    return DeviceTrace(
        device=record.uuid,
        sensor=record.card.driver or "gpu",
        start_s=start_s,
        end_s=end_s,
        facts=_facts(record),
        # What the card does not have is not there.
        readings=tuple(
            Readings(kind=kind, reads=tuple(reads))
            for kind, reads in kinds.items()
            if any(read.value is not None for read in reads)
        ),
    )


def _facts(record: GpuRecord) -> dict[str, float]:
    """What readings are: how old, how long a mean, how often new; of the counter what it is taken to add up."""
    card, reading, counter = record.card, record.reading, record.card.counter_sensor
    found = {
        "power_lag_s": reading.lag_s,
        "power_lag_spread_s": reading.lag_spread_s,
        "power_averaged_s": reading.averaged_s,
        "power_update_s": reading.sensor.update_s,
        "power_window_s": reading.sensor.window_s,
        "power_polled_s": reading.polled_s,
        "power_limit_w": card.power_limit_w,
        "counter_update_s": counter.update_s,
        "counter_window_s": counter.window_s,
        "counter_covers_power": float(not card.counter_is_of_something_else),
    }
    average = record.average_sensor
    if average is not None:
        lag_s = 0.0 if card.found_average is None else card.found_average.lag_s
        found |= {
            "average_update_s": average.update_s,
            "average_window_s": average.window_s,
            "average_lag_s": lag_s,
            "average_is_proven": float(card.found_average is not None),
        }
    return {name: value for name, value in found.items() if value is not None}
