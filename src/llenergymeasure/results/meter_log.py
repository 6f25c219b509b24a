"""A meter's own log of power over time around a window, from a CSV file with the columns ``time`` and ``W``."""

import contextlib
import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise
from pathlib import Path
from statistics import median

from llenergymeasure.domain.telemetry import integrate_power_j, integration_uncertainty_j
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.meter_lines import readings

# Readings further apart than so many of the usual distance are a gap.
_GAP = 3
# A window has at least so many distances between readings: of fewer nobody has seen what lies between them.
_FEWEST_DISTANCES = 4
# Unix seconds of today are held to less than that.
_CLOCK_STEP_S = 1e-6
# A day at ten readings a second has less.
_MOST_READINGS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class LoggedEnergy:
    """Joules of a window, their bound, and the usual distance of the [n] readings in it."""

    energy_j: float
    uncertainty_j: float
    every_s: float
    n_readings: int


@dataclass(frozen=True, kw_only=True)
class MeterLog:
    """What a log has of the window from ``start_s`` to ``end_s``; the file's name and SHA-256.

    ``time_s`` are [n] Unix seconds of the meter's clock, strictly increasing, from the last at or before the window to
    the first at or after it, and ``power_w`` [n] watts. ``first_s`` and ``last_s`` are the ends of the whole log, None
    where it has no readings.
    """

    file: str
    sha256: str
    start_s: float
    end_s: float
    first_s: float | None
    last_s: float | None
    time_s: Sequence[float]
    power_w: Sequence[float]

    @classmethod
    def read(cls, path: Path, zone: tzinfo, start_s: float, end_s: float) -> "MeterLog":
        """What the log in a file has of a window; all of its lines are checked, and only these readings kept.

        Args:
            path: as for ``readings``.
            zone: that of times which name none.
            start_s: where the window begins by the meter's clock, in Unix seconds.
            end_s: where it ends.

        Raises:
            ConfigError: it cannot be read, lacks a column, has a line that is no reading, or too many in the window.
        """
        digest = hashlib.sha256()
        times, powers = array("d"), array("d")
        first_s = last_s = None
        with contextlib.closing(readings(path, zone, digest)) as read:
            for time_s, power_w in read:
                first_s, last_s = time_s if first_s is None else first_s, time_s
                if time_s <= start_s:
                    del times[:], powers[:]
                if not times or times[-1] < end_s:
                    times.append(time_s)
                    powers.append(power_w)
                if len(times) > _MOST_READINGS:
                    raise config_error(
                        f"meter log {path}: it has over {_MOST_READINGS:,} readings in the window; write means over "
                        "longer times"
                    )
        return cls(
            file=path.name,
            sha256=digest.hexdigest(),
            start_s=start_s,
            end_s=end_s,
            first_s=first_s,
            last_s=last_s,
            time_s=times,
            power_w=powers,
        )

    def energy(self) -> LoggedEnergy:
        """Energy of the window, by trapezoids with the edges interpolated.

        A reading may be the mean of the time since the last one, so it counts as that old in the bound.

        Raises:
            ConfigError: the log does not reach over the window, has a gap in it, or too few readings.
        """
        if self.first_s is None or self.last_s is None or self.first_s > self.start_s or self.last_s < self.end_s:
            raise config_error(f"meter log {self.file}: it does not reach over the window: {self._reach()}")
        distances_s = [b - a for a, b in pairwise(self.time_s)]
        usual_s, longest_s = median(distances_s), max(distances_s)
        if longest_s > _GAP * usual_s:
            raise config_error(
                f"meter log {self.file}: there is a gap of {longest_s:.3g} s in the window, where readings are "
                f"{usual_s:.3g} s apart"
            )
        window_s = self.end_s - self.start_s
        if longest_s > window_s / _FEWEST_DISTANCES + _CLOCK_STEP_S:
            raise config_error(
                f"meter log {self.file}: its readings are {longest_s:.3g} s apart, over a quarter of the window of "
                f"{window_s:.3g} s, and do not show what was between them; log more often, or measure for "
                f"{_FEWEST_DISTANCES * longest_s:.3g} s or longer"
            )
        start_s, end_s = self.start_s, self.end_s
        energy_j = integrate_power_j(self.time_s, self.power_w, start_s=start_s, end_s=end_s)
        bound_j = integration_uncertainty_j(self.time_s, self.power_w, start_s=start_s, end_s=end_s, lag_s=usual_s)
        if energy_j is None or bound_j is None:
            raise config_error(f"meter log {self.file}: its readings in the window have no integral")
        return LoggedEnergy(energy_j=energy_j, uncertainty_j=bound_j, every_s=usual_s, n_readings=len(self.time_s))

    def _reach(self) -> str:
        if self.first_s is None or self.last_s is None:
            return "it has no readings"
        early, late = self.first_s - self.start_s, self.last_s - self.end_s
        return (
            f"its first reading is {abs(early):.6g} s {'after' if early > 0 else 'before'} the start and its last "
            f"{abs(late):.6g} s {'before' if late < 0 else 'after'} the end; see --offset-s and --time-zone"
        )
