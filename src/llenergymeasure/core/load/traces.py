"""Files of arrivals: when requests came somewhere, and how long prompts and answers were."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llenergymeasure._paths import expanded
from llenergymeasure.core.prompts.reading import lines_of, opened_text
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.exceptions import ConfigError, first_line

# Names of columns and keys, in small letters, as published traces have them: Azure's (TIMESTAMP, ContextTokens,
# GeneratedTokens; a date and time of day), Mooncake's (JSONL; timestamp in milliseconds, input_length, output_length),
# BurstGPT's (CSV; Timestamp in seconds, Request tokens, Response tokens), and ours (timestamp_s in seconds,
# input_tokens, output_tokens).
_TIMES = ("timestamp_s", "timestamp")
_INPUTS = ("input_tokens", "contexttokens", "input_length", "request tokens")
_OUTPUTS = ("output_tokens", "generatedtokens", "output_length", "response tokens")
# By kind of file, what a number under "timestamp" counts.
_UNIT_S = {".csv": 1.0, ".jsonl": 1e-3}
_FINER = re.compile(r"(\.\d{6})\d+")
_MOST_ROWS = 5_000_000
# A year.
_MOST_SPAN_S = 366 * 86_400.0


@dataclass(frozen=True)
class Arrival:
    """A request of a trace: seconds since the first came, and tokens of prompt and answer, None where it has none."""

    time_s: float
    input_tokens: int | None = None
    output_tokens: int | None = None


def read_trace(path: Path, speed: float = 1.0, n: int | None = None, most_s: float | None = None) -> list[Arrival]:
    """The arrivals of a trace, earliest first.

    Args:
        path: a regular file, .csv or .jsonl, which may be packed (.gz).
        speed: how many times as fast it is played.
        n: no more than so many of them; None is all.
        most_s: no more than come in so many seconds, as it is played; None is all.

    Raises:
        ConfigError: the file cannot be read, or a row is no arrival.
    """
    where, path = f"trace {path}", expanded(path)
    kind = next((suffix for suffix in (s.lower() for s in path.suffixes) if suffix in (".csv", ".jsonl")), None)
    if kind is None:
        raise ConfigError(f"{where}: unknown kind of file {path.suffix!r}; give .csv or .jsonl")
    try:
        with opened_text(path, where, newline="" if kind == ".csv" else None) as file:
            lines = lines_of(file, where)
            rows = _of_csv(lines, where) if kind == ".csv" else _of_jsonl(lines, where)
            found = [_arrival(row, f"{where}:{number}", _UNIT_S[kind]) for number, row in rows]
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror or first_line(error)}") from None
    if not found:
        raise ConfigError(f"{where}: there are no arrivals in this file")
    found.sort(key=lambda arrival: arrival.time_s)
    first_s = found[0].time_s
    played = [Arrival((a.time_s - first_s) / speed, a.input_tokens, a.output_tokens) for a in found[:n]]
    if not played[-1].time_s <= _MOST_SPAN_S:
        raise ConfigError(
            f"{where}: its last request comes {played[-1].time_s:g} s after the first; a trace of more than "
            f"{_MOST_SPAN_S:g} s is none: are the times of one kind, and load.trace_speed as it is meant?"
        )
    return [arrival for arrival in played if most_s is None or arrival.time_s < most_s]


def _of_csv(lines: Iterator[str], where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(lines, strict=True)
    try:
        for number, row in enumerate(rows, 2):
            _bounded(number, where)
            yield number, {str(name).strip().lower(): value for name, value in row.items()}
    except csv.Error as error:
        raise ConfigError(f"{where}: cannot be read as CSV: {error}") from None


def _of_jsonl(lines: Iterator[str], where: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        _bounded(number, where)
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}:{number}: this is no JSON: {first_line(error)}") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{where}:{number}: give an object with a timestamp, not {type(row).__name__}")
        yield number, {str(name).lower(): value for name, value in row.items()}


def _bounded(number: int, where: str) -> None:
    if number > _MOST_ROWS:
        raise ConfigError(f"{where}: it has more than {_MOST_ROWS:,} rows; cut it")


def _arrival(row: Mapping[str, Any], where: str, unit_s: float) -> Arrival:
    name = next((name for name in _TIMES if row.get(name) not in (None, "")), None)
    if name is None:
        raise ConfigError(f"{where}: there is no time of arrival; name its column timestamp_s (seconds)")
    return Arrival(
        _time_s(row[name], 1.0 if name == "timestamp_s" else unit_s, f"{where}: {name}"),
        _length(row, _INPUTS, where),
        _length(row, _OUTPUTS, where),
    )


def _time_s(value: Any, unit_s: float, where: str) -> float:
    """Seconds; of a date and time of day those since 1970."""
    if isinstance(value, bool):
        raise ConfigError(f"{where}: {value!r:.40} is no time")
    try:
        time_s = float(value) * unit_s
    except OverflowError:
        time_s = math.inf
    except (TypeError, ValueError):
        time_s = _date_s(str(value), where)
    if not math.isfinite(time_s):
        raise ConfigError(f"{where}: {value!r:.40} is no time")
    return time_s


def _date_s(text: str, where: str) -> float:
    try:
        # Azure's have seven digits behind the second, of which Python reads six.
        date = datetime.fromisoformat(_FINER.sub(r"\1", text.strip()))
    except ValueError:
        raise ConfigError(f"{where}: {text!r} is neither a number nor a date with a time of day") from None
    # Without a zone it is of no matter which: only differences count.
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _length(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> int | None:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        return None
    try:
        length = float(row[name])
    except (OverflowError, TypeError, ValueError):
        length = -1.0
    if isinstance(row[name], bool) or not 0 <= length < math.inf or length != int(length):
        raise ConfigError(f"{where}: {name}: {row[name]!r:.40} is no number of tokens")
    return int(length)


def prompts_of(arrivals: Sequence[Arrival], most_input: int, most_output: int) -> tuple[tuple[Prompt, ...], int]:
    """A prompt of random tokens for each arrival, and how many had to be shortened; none where lengths are missing.

    Args:
        arrivals: [n] of a trace.
        most_input: tokens that a prompt may have.
        most_output: tokens that an answer may have.
    """
    if any(arrival.input_tokens is None or arrival.output_tokens is None for arrival in arrivals):
        return (), 0
    lengths = [(max(a.input_tokens or 0, 1), max(a.output_tokens or 0, 1)) for a in arrivals]
    n_cut = sum(n_in > most_input or n_out > most_output for n_in, n_out in lengths)
    prompts = tuple(
        Prompt(index=i, n_random_tokens=min(n_in, most_input), output_tokens=min(n_out, most_output))
        for i, (n_in, n_out) in enumerate(lengths)
    )
    return prompts, n_cut
