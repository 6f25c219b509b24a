"""The lines of a meter's log, read one after the other: what is no reading is refused, and the line is named."""

import codecs
import contextlib
import csv
import re
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Protocol

from llenergymeasure._files import open_regular
from llenergymeasure._telling import in_a_line
from llenergymeasure.exceptions import config_error

# A day at ten readings a second has a third of that.
_MOST_BYTES = 100_000_000
_BLOCK_BYTES = 16_384
# No machine at one plug takes as much, nor does a rack.
_MOST_W = 1e6
# Logs are of this century.
_EARLIEST_S = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_LATEST_S = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_PARTS_OF_A_SECOND = {"milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_MOST_SHOWN = 40


class Digest(Protocol):
    """What takes the bytes of a file to make its digest."""

    def update(self, data: bytes, /) -> None:
        """Take further bytes."""


class _NoReadingError(Exception):
    """Why a line is no reading."""


def readings(path: Path, zone: tzinfo, digest: Digest) -> Generator[tuple[float, float]]:
    """Unix seconds and watts of each line of a log; no more than a line is held.

    Args:
        path: CSV with a header; times are Unix seconds or ISO 8601, further columns are passed over.
        zone: that of times which name none.
        digest: is given all of the file's bytes.

    Raises:
        ConfigError: it cannot be read, lacks a column or has two, or a line is no reading or not later than the last.
    """
    try:
        # Closed here: who keeps an error keeps this frame with it, and what is open in it.
        with contextlib.closing(_lines(path, digest)) as text:
            lines = csv.reader(text, strict=True)
            header = next(lines, [])
            at = _columns(header, path)
            last_s = None
            for line in lines:
                if not "".join(line).strip():
                    continue
                try:
                    time_s, power_w = _reading(line, len(header), at, zone)
                    if last_s is not None and time_s <= last_s:
                        raise _NoReadingError("the reading is not later than the one before it")
                except _NoReadingError as error:
                    raise config_error(f"meter log {path}:{lines.line_num}: {error}") from None
                last_s = time_s
                yield time_s, power_w
    except OSError as error:
        raise config_error(f"meter log {path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise config_error(f"meter log {path}: this is no CSV in UTF-8: {error}") from None


def _lines(path: Path, digest: Digest) -> Generator[str]:
    n_bytes, rest, decoder = 0, "", codecs.getincrementaldecoder("utf-8-sig")()
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            n_bytes += len(block)
            if n_bytes > _MOST_BYTES:
                raise config_error(
                    f"meter log {path}: it has over {_MOST_BYTES / 1e6:,.0f} MB; cut out the hours around the run"
                )
            digest.update(block)
            *lines, rest = (rest + decoder.decode(block)).split("\n")
            for line in lines:
                yield f"{line}\n"
            if len(rest) > _BLOCK_BYTES:
                raise config_error(f"meter log {path}: it has a line of over {_BLOCK_BYTES:,} characters")
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _columns(header: Sequence[str], path: Path) -> tuple[int, int]:
    """Where time and watts stand in a line."""
    names = [name.strip().lower() for name in header]
    absent = [name for name in ("time", "W") if name.lower() not in names]
    if absent:
        by = next((told for sign, told in _SEPARATORS.items() if len(names) == 1 and sign in names[0]), None)
        hint = "" if by is None else f"; it is separated by {by}: commas are needed, and points in numbers"
        raise config_error(
            f"meter log {path}: there is no column {' or '.join(absent)}; its first line has to name the columns time "
            f"and W{hint}"
        )
    for name in ("time", "W"):
        if names.count(name.lower()) > 1:
            raise config_error(
                f"meter log {path}: {names.count(name.lower())} columns are called {name}; name one of them otherwise"
            )
    return names.index("time"), names.index("w")


def _reading(line: Sequence[str], n_cells: int, at: tuple[int, int], zone: tzinfo) -> tuple[float, float]:
    if len(line) != n_cells:
        raise _NoReadingError(
            f"the line has {len(line)} cells and the header {n_cells}; numbers need a decimal point, for a comma ends "
            "a cell"
        )
    return _seconds(line[at[0]], zone), _watts(line[at[1]])


def _watts(cell: str) -> float:
    power_w = _number(cell)
    if power_w is None or not 0 <= power_w <= _MOST_W:
        comma = "; its comma has to be a point" if _DECIMAL_COMMA.fullmatch(cell.strip()) else ""
        raise _NoReadingError(f"W is {_shown(cell)}, which is no power from 0 to {_MOST_W:,.0f} W{comma}")
    return power_w


def _seconds(cell: str, zone: tzinfo) -> float:
    time_s = _number(cell)
    if time_s is None:
        time_s = _moment(cell.strip(), zone)
    if time_s is None:
        raise _NoReadingError(f"time is {_shown(cell)}; Unix seconds or ISO 8601 are understood")
    if not _EARLIEST_S <= time_s <= _LATEST_S:
        parts = (told for told, n in _PARTS_OF_A_SECOND.items() if _EARLIEST_S <= time_s / n <= _LATEST_S)
        told = next(parts, None)
        hint = (
            "Unix seconds or ISO 8601 are understood" if told is None else f"these look like {told}: seconds are needed"
        )
        raise _NoReadingError(f"time is {_shown(cell)}, which is not from 2000 to 2100; {hint}")
    return time_s


def _moment(text: str, zone: tzinfo) -> float | None:
    try:
        found = datetime.fromisoformat(text) if text.isascii() else None
        if found is None:
            return None
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(cell: str) -> float | None:
    """The number in a cell, of any size and sign; float() would also take underscores and digits of other scripts."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def _shown(text: str) -> str:
    return in_a_line(repr(text[:_MOST_SHOWN]))
