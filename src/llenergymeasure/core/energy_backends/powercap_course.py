"""How a counter of /sys/class/powercap went on over a window, and which of its reads are believed."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llenergymeasure.core.energy_backends.powercap import MOST_W, Zone
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings

# RAPL counters are refreshed about once a millisecond (Intel SDM vol. 3B, 16.10).
UPDATE_PERIOD_S = 0.001
# How often a counter is read at a time before it is given up.
_MOST_READS = 4
# How far power in one place of a window may lie above its mean, where two dies are compared.
_PEAK_OVER_MEAN = 10.0
# What is powered takes something in that time, so a counter that shows nothing does not count; emulated ones, as in
# virtual machines, are refreshed once a second.
_LONGEST_STILL_S = 1.5
# Without a limit, power between two looks is doubted above what the largest packages are specified at (see ``MOST_W``)
# where it is so many times the median, and there are so many others at least.
_DOUBTED_W, _DOUBTED_OVER_MEDIAN, _LEAST_OTHERS = 500.0, 3.0, 3


@dataclass(frozen=True)
class _Read:
    """A value in microjoules, and the seconds between which it was read."""

    before_s: float
    after_s: float
    uj: int


class Course:
    """The looks at one counter. A look is at least two reads of which the second may follow the first.

    Of a look that gives nothing, or nothing that may follow what was seen before, the others know nothing: it is left
    out, and the next one counts from the last that was believed.
    """

    def __init__(self, zone: Zone, clock: Callable[[], float]) -> None:
        """Nothing is read yet."""
        self.zone = zone
        self._clock = clock
        self._looks: list[_Read | None] = []
        self._reads: list[Reading] = []
        self._error = ""

    def look(self) -> None:
        """Read the counter until a read follows the one before."""
        last: _Read | None = None
        for _ in range(_MOST_READS):
            now = self._read()
            if now is not None and last is not None and _rise_uj(self.zone, last, now) is not None:
                self._looks.append(now)
                return
            last = now
        self._looks.append(None)

    @property
    def span_s(self) -> float | None:
        """The time from the first to the last look at its widest; None where one of them gave nothing."""
        first, last = self._looks[0], self._looks[-1]
        return None if first is None or last is None else last.after_s - first.before_s

    def trace(self, sensor: str, start_s: float, end_s: float) -> DeviceTrace:
        """Every read, for a window between two moments."""
        span_uj = self.zone.range_uj
        facts = {"ceiling_w": self.zone.ceiling_w, "counter_update_s": UPDATE_PERIOD_S}
        return DeviceTrace(
            device=self.zone.label,
            sensor=sensor,
            start_s=start_s,
            end_s=end_s,
            facts=facts if span_uj is None else {**facts, "range_j": span_uj / 1e6},
            readings=(Readings(kind="counter", reads=tuple(self._reads)),),
        )

    def rise_uj(self) -> tuple[int | None, str]:
        """Microjoules from the first to the last look; or None, and why it is not known."""
        first, last = self._looks[0], self._looks[-1]
        if first is None or last is None:
            return None, f"its counter could not be read at the {'start' if first is None else 'end'}{self._error}"
        believed, changed, total = first, first, 0
        astray: list[_Read] = []
        for look in self._looks[1:]:
            if look is None:
                continue
            rise = _rise_uj(self.zone, believed, look)
            if rise is None:
                astray.append(look)
                continue
            if any(self._was_set_back(believed, other, look) for other in astray):
                return None, f"its counter was set back, or read wrongly ({self._told(believed, astray[0])})"
            still_s = look.before_s - changed.after_s
            if rise == 0 and still_s > _LONGEST_STILL_S:
                return None, f"its counter stood still for {still_s:.3g} s or more, at {look.uj / 1e6:.6g} J"
            believed, changed, total, astray = look, look if rise else changed, total + rise, []
        if astray:
            return None, f"its counter went {self._told(believed, last)}"
        return total, ""

    def doubted_uj(self) -> float:
        """Microjoules of a known rise that single looks show beyond what the others do, where no limit bounds them."""
        if self.zone.ceiling_w < MOST_W:
            return 0.0
        between = [(rise, last.after_s - first.before_s + 2 * UPDATE_PERIOD_S) for first, last, rise in self._steps()]
        if len(between) <= _LEAST_OTHERS:
            return 0.0
        usual_uw = statistics.median_low(rise / seconds for rise, seconds in between)
        most_uw = max(_DOUBTED_OVER_MEDIAN * usual_uw, _DOUBTED_W * 1e6)
        return sum(rise - usual_uw * seconds for rise, seconds in between if rise > most_uw * seconds)

    def is_that_of(self, other: "Course") -> bool:
        """Whether both show one counter: they agree at both ends, as far as two reads one after the other can.

        Seen on multi-die parts (CodeCarbon issue 1274): one counter behind ``package-0-die-0`` and ``-die-1``. Counters
        of two sockets have gone apart long before a window, by far more than is allowed here.
        """
        rise_uj, _ = self.rise_uj()
        other_uj, _ = other.rise_uj()
        if rise_uj is None or other_uj is None or not self.span_s:
            return False
        most_uw = _PEAK_OVER_MEAN * max(rise_uj, other_uj) / self.span_s
        return _agree(self._looks[0], other._looks[0], most_uw) and _agree(self._looks[-1], other._looks[-1], most_uw)

    def _steps(self) -> Iterator[tuple[_Read, _Read, int]]:
        """Two looks that are believed, one after the other, and what was counted between them."""
        believed: _Read | None = None
        for look in self._looks:
            rise = None if look is None or believed is None else _rise_uj(self.zone, believed, look)
            if look is not None and believed is not None and rise is not None:
                yield believed, look, rise
            if believed is None or rise is not None:
                believed = look

    def _read(self) -> _Read | None:
        before_s = self._clock()
        try:
            value = self.zone.read_uj()
        except (OSError, ValueError) as error:
            self._error = f": {error}"
            self._reads.append(Reading.between(before_s, self._clock(), None))
            return None
        read = _Read(before_s, self._clock(), value)
        self._reads.append(Reading.between(before_s, read.after_s, value / 1e6))
        return read

    def _was_set_back(self, before: _Read, low: _Read, after: _Read) -> bool:
        """Whether a counter that begins at zero somewhere after ``before`` shows ``low``, and goes on to ``after``."""
        return low.uj <= _most_uj(self.zone, before, low) and _rise_uj(self.zone, low, after) is not None

    def _told(self, first: _Read, last: _Read) -> str:
        seconds, span = last.after_s - first.before_s, self.zone.range_uj
        told = f"from {first.uj / 1e6:.6g} to {last.uj / 1e6:.6g} J in {seconds:.3g} s"
        allowed = f"{self.zone.ceiling_w:g} W, the most it can take"
        if span is not None and _most_uj(self.zone, first, last) >= span:
            return f"{told}, in which it may have gone round more than once at {allowed}"
        if last.uj >= first.uj:
            return f"{told}, which is more than {allowed}"
        if span is None:
            return f"{told}, and it does not say where it begins anew"
        return f"{told}: no new round, which would be {(last.uj - first.uj + span) / 1e6:.6g} J at {allowed}"


def _most_uj(zone: Zone, first: _Read, last: _Read) -> float:
    """What a counter can have counted between two reads, each of which may be a refresh old."""
    return zone.ceiling_w * 1e6 * (last.after_s - first.before_s + 2 * UPDATE_PERIOD_S)


def _rise_uj(zone: Zone, first: _Read, last: _Read) -> int | None:
    """What was counted between two reads, once round at the most; None where that cannot be, or cannot be told."""
    most_uj, rise = _most_uj(zone, first, last), last.uj - first.uj
    if zone.range_uj is not None:
        if most_uj >= zone.range_uj:
            return None
        rise = rise if rise >= 0 else rise + zone.range_uj
    return rise if 0 <= rise <= most_uj else None


def _agree(one: _Read | None, other: _Read | None, most_uw: float) -> bool:
    """Whether two reads are of one counter; ``most_uw``, in microwatts, is how fast it may go."""
    if one is None or other is None:
        return False
    apart_s = max(one.after_s, other.after_s) - min(one.before_s, other.before_s)
    return abs(one.uj - other.uj) <= most_uw * (apart_s + 2 * UPDATE_PERIOD_S)
