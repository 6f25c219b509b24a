"""A meter's own log of power over time, as a CSV file with the columns ``time`` and ``W``."""

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import pairwise
from pathlib import Path
from statistics import median

from llenergymeasure._files import read_regular
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.telemetry import integrate_power_j, integration_uncertainty_j
from llenergymeasure.exceptions import ConfigError

# A day at ten readings a second has a third of that.
_MOST_BYTES = 100_000_000
# Readings further apart than so many of the usual distance are a gap.
_GAP = 3
_MOST_SHOWN = 40


@dataclass(frozen=True, kw_only=True)
class LoggedEnergy:
    """Joules of a window, their bound, and the usual distance of the [n] readings in it."""

    energy_j: float
    uncertainty_j: float
    every_s: float
    n_readings: int


@dataclass(frozen=True, kw_only=True)
class MeterLog:
    """[n] Unix seconds of the meter's clock, strictly increasing, and [n] watts; the file's name and SHA-256."""

    file: str
    sha256: str
    time_s: Sequence[float]
    power_w: Sequence[float]

    @classmethod
    def read(cls, path: Path, zone: tzinfo) -> "MeterLog":
        """The log in a file.

        Args:
            path: CSV with a header; times are Unix seconds or ISO 8601, further columns are passed over.
            zone: that of times which name none.

        Raises:
            ConfigError: it cannot be read, lacks a column, or has a line that is no reading, which is named.
        """
        try:
            content = read_regular(path, _MOST_BYTES)
            lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            columns = [name.strip().lower() for name in next(lines, [])]
            absent = [name for name in ("time", "W") if name.lower() not in columns]
            if absent:
                raise ConfigError(
                    f"meter log {path}: there is no column {' or '.join(absent)}; its first line has to name the "
                    "columns time and W"
                )
            at = columns.index("time"), columns.index("w")
            readings = [_reading(line, at, zone, f"{path}:{lines.line_num}") for line in lines if any(line)]
        except OSError as error:
            raise ConfigError(f"meter log {path}: cannot be read: {error.strerror or error}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"meter log {path}: this is no CSV in UTF-8: {error}") from None
        for number, (earlier, later) in enumerate(pairwise(readings)):
            if later[0] <= earlier[0]:
                raise ConfigError(f"meter log {path}: reading {number + 2} is not later than the one before it")
        times, powers = zip(*readings, strict=True) if readings else ((), ())
        return cls(file=path.name, sha256=hashlib.sha256(content).hexdigest(), time_s=times, power_w=powers)

    def energy(self, start_s: float, end_s: float) -> LoggedEnergy:
        """Energy between two moments of the meter's clock, by trapezoids with the edges interpolated.

        A reading may be the mean of the time since the last one, so it counts as that old in the bound.

        Raises:
            ConfigError: the log does not reach over the window, or has a gap in it.
        """
        if not self.time_s or self.time_s[0] > start_s or self.time_s[-1] < end_s:
            raise ConfigError(
                f"meter log {self.file}: it does not reach over the window: {self._reach(start_s, end_s)}"
            )
        first = max(i for i, time_s in enumerate(self.time_s) if time_s <= start_s)
        last = min(i for i, time_s in enumerate(self.time_s) if time_s >= end_s)
        times, powers = self.time_s[first : last + 1], self.power_w[first : last + 1]
        distances_s = [b - a for a, b in pairwise(times)]
        usual_s = median([b - a for a, b in pairwise(self.time_s)])
        if max(distances_s) > _GAP * usual_s:
            raise ConfigError(
                f"meter log {self.file}: there is a gap of {max(distances_s):.3g} s in the window, where readings are "
                f"{usual_s:.3g} s apart"
            )
        energy_j = integrate_power_j(times, powers, start_s=start_s, end_s=end_s)
        bound_j = integration_uncertainty_j(times, powers, start_s=start_s, end_s=end_s, lag_s=usual_s)
        if energy_j is None or bound_j is None:
            raise ConfigError(f"meter log {self.file}: its readings in the window have no integral")
        return LoggedEnergy(energy_j=energy_j, uncertainty_j=bound_j, every_s=usual_s, n_readings=len(times))

    def _reach(self, start_s: float, end_s: float) -> str:
        if not self.time_s:
            return "it has no readings"
        early, late = self.time_s[0] - start_s, self.time_s[-1] - end_s
        return (
            f"its first reading is {abs(early):.6g} s {'after' if early > 0 else 'before'} the start and its last "
            f"{abs(late):.6g} s {'before' if late < 0 else 'after'} the end; see --offset-s and --time-zone"
        )


def _reading(line: Sequence[str], at: tuple[int, int], zone: tzinfo, where: str) -> tuple[float, float]:
    if len(line) <= max(at):
        raise ConfigError(f"meter log {where}: the line has {len(line)} columns")
    time_s, power_w = _seconds(line[at[0]].strip(), zone), _number(line[at[1]])
    if time_s is None:
        raise ConfigError(f"meter log {where}: time is {_shown(line[at[0]])}; Unix seconds or ISO 8601 are understood")
    if power_w is None or power_w < 0:
        raise ConfigError(f"meter log {where}: W is {_shown(line[at[1]])}, which is no power")
    return time_s, power_w


def _seconds(text: str, zone: tzinfo) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(text: str) -> str:
    return in_a_line(repr(text[:_MOST_SHOWN]))
