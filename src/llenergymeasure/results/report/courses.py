"""Power, temperature and tokens of a run over time, few enough points to be drawn."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.report.thinning import merged, per_bin, power_between, thinned
from llenergymeasure.results.tables import REQUESTS_FILE, TIMESERIES_FILE, TRACE_FILE

MOST_POINTS = 600
# More than these are a grey area, in which nothing can be told apart.
_MOST_SPANS = 150
_N_BINS = 200
# What a second stands for is drawn in its middle.
_HALF_A_SECOND = 0.5
# The first of these that a sensor has is drawn.
_POWERS = {"power": "as read", "average": "averaged by the device", "counter": "mean between readings of the counter"}
_Series = dict[str, Any]


def course_of(result: ExperimentResult, folder: Path) -> dict[str, Any]:
    """What was seen of a run over time, in seconds from the beginning of its window.

    ``power``, ``temperature`` and ``tokens`` are lists of series with ``t`` and ``y``, ``prefill`` spans in which a
    request had no token yet. ``notes`` say what is not there, and why.
    """
    found: dict[str, Any] = {"power": [], "temperature": [], "tokens": [], "prefill": [], "notes": []}
    window_s = result.duration_sec
    for name, into in ((TRACE_FILE, _read_trace), (TIMESERIES_FILE, _read_seconds), (REQUESTS_FILE, _read_requests)):
        try:
            into(folder / name, window_s, found)
        except FileNotFoundError:
            found["notes"].append(f"{name} is not there")
        except Exception as error:  # noqa: BLE001 - whatever a table's library raises of a damaged file, the rest is shown
            found["notes"].append(f"{name} cannot be read: {type(error).__name__}")
    steady = result.steady_state_window
    return {**found, "window_s": window_s, "steady": None if steady is None else list(steady)}


def _series(label: str, times: Sequence[float], values: Sequence[float]) -> _Series:
    kept = thinned(times, values, MOST_POINTS)
    return {
        "label": label,
        "t": [round(times[place], 3) for place in kept],
        "y": [float(f"{values[place]:.5g}") for place in kept],
        "n": len(times),
    }


def _read_trace(path: Path, _: float, found: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    start_s = _start_s(metadata)
    readings: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    n_failed = 0
    columns = [table.column(name).to_pylist() for name in ("device", "sensor", "what", "time_s", "value")]
    for device, sensor, what, time_s, value in zip(*columns, strict=True):
        if value is None:
            n_failed += 1
        elif what in _POWERS:
            readings.setdefault((device, sensor), {}).setdefault(what, []).append((time_s - start_s, value))
    for (device, sensor), kinds in readings.items():
        what = next(kind for kind in _POWERS if kind in kinds)
        pairs = sorted(kinds[what])
        times, values = [time for time, _ in pairs], [value for _, value in pairs]
        if what == "counter":
            times, values = power_between(times, values)
        if times:
            found["power"].append(_series(f"{device}, {sensor} ({_POWERS[what]})", times, values))
    if n_failed:
        found["notes"].append(f"{n_failed} readings failed and are left out")


def _start_s(metadata: Mapping[bytes, bytes]) -> float:
    """Where the first window begins on the clock of the readings."""
    clock = json.loads(metadata.get(b"clock", b"[]"))
    windows = json.loads(metadata.get(b"windows", b"[]"))
    starts = [each["window_start_s"] for each in clock] or [each["start_s"] for each in windows]
    return float(min(starts))


def _read_seconds(path: Path, _: float, found: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    # Before revision 3 nothing said where the window begins; the first sample is close to it.
    start_s = float((table.schema.metadata or {}).get(b"window_start_s", b"0"))
    for what, column, label in (
        ("temperature", "temperature_c", "GPU {}"),
        ("power", "power_w", "GPU {}, each second"),
    ):
        if what == "power" and found["power"]:
            continue
        of_gpu: dict[int, list[tuple[float, float]]] = {}
        columns = [table.column(name).to_pylist() for name in ("timestamp_s", "gpu_index", column)]
        for second, index, value in zip(*columns, strict=True):
            if value is not None:
                of_gpu.setdefault(index or 0, []).append((second + _HALF_A_SECOND - start_s, value))
        for index, pairs in sorted(of_gpu.items()):
            found[what].append(_series(label.format(index), [t for t, _ in pairs], [v for _, v in pairs]))


def _read_requests(path: Path, window_s: float, found: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    names = ("output_tokens", "ttft_s", "token_times_s", "due_s", "sent_s")
    known = set(pq.read_schema(path).names)
    if not {"due_s", "sent_s"} <= known:
        found["notes"].append("this revision did not keep when requests were sent, so tokens have no times")
        return
    times, weights, spans, n_untold = [], [], [], 0
    for tokens, ttft_s, token_times_s, due_s, sent_s in _requests(path, names):
        began_s = sent_s if due_s is None else due_s
        if began_s is None or not token_times_s:
            n_untold += 1
            continue
        times += [began_s + time_s for time_s in token_times_s]
        # Several answers are generated step by step together.
        weights += [tokens / len(token_times_s)] * len(token_times_s)
        if ttft_s is not None:
            spans.append((began_s, began_s + ttft_s))
    if times:
        # A window that is a part of a run ends before the last token.
        length_s = max(window_s, *times)
        rate = per_bin(times, weights, length_s, _N_BINS)
        middles = [round((place + 0.5) * length_s / _N_BINS, 3) for place in range(_N_BINS)]
        label = f"output tokens per second, in parts of {length_s / _N_BINS:.2g} s"
        found["tokens"].append({"label": label, "t": middles, "y": rate, "n": len(times)})
    if n_untold:
        found["notes"].append(f"{n_untold} requests tell no times of their tokens")
    prefill = merged(spans)
    if len(prefill) > _MOST_SPANS:
        found["notes"].append(f"prefill is not shaded: it would be {len(prefill)} stripes")
    else:
        found["prefill"] = [[round(start, 3), round(end, 3)] for start, end in prefill]


def _requests(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(names))
    return zip(*(table.column(name).to_pylist() for name in names), strict=True)
