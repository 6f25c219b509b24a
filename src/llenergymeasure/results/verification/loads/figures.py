"""What a result says of its load, worked out from the rows of requests: who was there, how late, what was promised."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llenergymeasure.results.verification.bundle import FIRST_WITH_LOAD, Bundle
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.loads.parts import verify_parts
from llenergymeasure.results.verification.requests import (
    Served,
    began,
    distribution,
    inside,
    lengths_of,
    windows_of,
)
from llenergymeasure.results.verification.tables import Row

_COPIED = {
    "kind": "kind", "asked_requests_per_second": "rate_per_s", "n_asked_in_flight": "concurrency",
    "began_by": "began_by", "ended_by": "ended_by", "n_arrived": "n_arrived", "generator_cpu_s": "generator_cpu_s",
}  # fmt: skip
_SUCCEEDED = ("stop", "length")
_FEW, _TENTHS, _PROBABLE, _SHARE = 20, 10, 0.01, 0.05
_OPEN_LOOPS = ("rate", "trace")
# Times are differences of two readings of a clock.
_SAME_TIME_S = 1e-9
_SAME = 1e-6


class Window:
    """The rows of requests against a window, all in seconds from the beginning of the first process's window."""

    def __init__(
        self, rows: Sequence[Row], answers: Any, start_s: float, end_s: float, unsent: Sequence[float]
    ) -> None:
        """Lay the rows over the window."""
        self.rows, self.start_s, self.end_s, self.unsent = rows, start_s, end_s, unsent
        self.answers = answers
        self.seconds = end_s - start_s
        self.spans = [(moment, _gone(row)) for row in rows if (moment := began(row)) is not None]
        self.spans += [(moment, math.inf) for moment in unsent]
        self.n_arrived = sum(self.has(came) for came, _ in self.spans)
        self.ended = [row for row in rows if row["finish_reason"] != "cancelled" and self.has(_ended(row))]
        self.good = [row for row in self.ended if row["finish_reason"] in _SUCCEEDED]

    def has(self, moment: float | None) -> bool:
        """Whether a moment lies in it."""
        return moment is not None and self.start_s < moment <= self.end_s

    def there(self, moment: float) -> int:
        """Requests that had come and not gone."""
        return sum(came <= moment < gone for came, gone in self.spans)

    def mean(self, from_s: float, to_s: float) -> float:
        """How many were there on average."""
        return sum(max(0.0, min(gone, to_s) - max(came, from_s)) for came, gone in self.spans) / (to_s - from_s)

    def tokens(self, rows: Sequence[Row], from_s: float, to_s: float) -> int:
        """Output tokens of rows between two moments."""
        there = [
            row for row in rows if (began(row) or from_s) <= to_s and (row["end_s"] is None or row["end_s"] > from_s)
        ]
        return sum(inside(row, lengths_of(row, self.answers), from_s, to_s)[2] for row in there)


def verify_load(bundle: Bundle, served: Served | None, report: Report) -> None:
    """All that stands in ``load``."""
    said = bundle.result.get("load")
    if bundle.revision < FIRST_WITH_LOAD:
        return
    if not bundle.raws:
        if said is not None:
            report.unverifiable("load", "how requests were to arrive is in the raw results, which are not there")
        return
    raw = bundle.raws[0]
    record = raw.get("load")
    if record is None or (len(bundle.raws) > 1 and raw["parallelism"] != "tensor"):
        report.check("load", said, None)
        return
    if said is None or served is None:
        report.damaged("load", "there was a load, and nothing is said of it, or requests.parquet cannot be read")
        return
    first_s = min(other["window_start_s"] for other in bundle.raws)
    window = Window(
        served.rows, served.read_answers(bundle), *windows_of(bundle)[0],
        [due - first_s for due in record["unsent_due_s"]],
    )  # fmt: skip
    for field, name in _COPIED.items():
        report.check(f"load.{field}", said[field], record[name])
    if "arrivals_digest" in said:
        # Since a later revision.
        report.check("load.arrivals_digest", said["arrivals_digest"], record.get("arrivals_digest"))
    _check_flight(window, said, report)
    _check_sending(window, record, said["sending"], report)
    _check_overload(window, said, report)
    _check_answers(window, said, report)
    slo = (bundle.result["effective_config"].get("slo")) or {}
    _check_promises(window, slo, bundle.result["total_energy_j"], said["slo"], report)
    verify_parts(bundle, window, record, said, report)


def _ended(row: Row) -> float | None:
    moment: float | None = row["end_s"]
    if moment is None and row["finish_reason"] == "error":
        moment = row["due_s"] if row["sent_s"] is None else row["sent_s"]
    return moment


def _gone(row: Row) -> float:
    moment = _ended(row)
    return math.inf if moment is None else moment


def _check_flight(window: Window, said: Row, report: Report) -> None:
    report.check("load.n_arrived_in_window", said["n_arrived_in_window"], window.n_arrived)
    rate = window.n_arrived / window.seconds
    report.check("load.arrived_requests_per_second", said["arrived_requests_per_second"], rate)
    derived = {
        "n_mean": window.mean(window.start_s, window.end_s),
        "n_max": _most(window),
        "n_at_start": window.there(window.start_s),
        "n_at_end": window.there(window.end_s),
    }
    for name, value in derived.items():
        report.check(f"load.in_flight.{name}", said["in_flight"][name], value, rel=_SAME)


def _most(window: Window) -> int:
    """The most that were there at once: step by step through who comes and who goes, first those who go."""
    steps = [(came, 1) for came, _ in window.spans if window.has(came)]
    steps += [(gone, -1) for _, gone in window.spans if window.has(gone)]
    there = most = window.there(window.start_s)
    for _, step in sorted(steps):
        there += step
        most = max(most, there)
    return most


def _check_sending(window: Window, record: Row, said: Any, report: Report) -> None:
    most = record["n_most_in_flight"]
    sent = [row for row in window.rows if row["sent_s"] is not None]
    begun = np.sort([row["sent_s"] for row in sent])
    gone = np.sort([row["end_s"] for row in sent if row["end_s"] is not None])
    late = []
    for row in (row for row in sent if window.has(row["due_s"])):
        beside = np.searchsorted(begun, row["due_s"], "right") - np.searchsorted(gone, row["due_s"], "right")
        if most is None or beside < most:
            late.append(max(0.0, row["sent_s"] - row["due_s"]))
    if not late or not window.n_arrived:
        report.check("load.sending", said, None)
        return
    _check_distribution("load.sending.late_s", said["late_s"], late, report)
    report.check("load.sending.late_max_s", said["late_max_s"], max(late), off=_SAME_TIME_S)
    share = sum(late) / len(late) * window.n_arrived / window.seconds
    report.check("load.sending.share_of_gap", said["share_of_gap"], share, rel=_SAME, off=_SAME_TIME_S)


def _check_distribution(name: str, said: Any, values: Sequence[float], report: Report) -> None:
    derived = distribution(values, len(values))
    if said is None or derived is None:
        report.check(name, said, derived)
        return
    for figure in sorted({*said, *derived}):
        report.check(f"{name}.{figure}", said.get(figure), derived.get(figure), off=_SAME_TIME_S)


def _check_overload(window: Window, result: Row, report: Report) -> None:
    from scipy.special import stdtr

    said = result["overload"]
    if result["kind"] not in _OPEN_LOOPS or window.n_arrived < _FEW:
        report.check("load.overload", said, None)
        return
    tenth_s = window.seconds / _TENTHS
    means = [window.mean(window.start_s + k * tenth_s, window.start_s + (k + 1) * tenth_s) for k in range(_TENTHS)]
    slope, level = np.polyfit(np.arange(_TENTHS), means, 1)
    left = np.array(means) - level - slope * np.arange(_TENTHS)
    # The sum of squares of 0 to 9 about their mean.
    error = math.sqrt(float(left @ left) / (_TENTHS - 2) / 82.5)
    growth = float(slope) * _TENTHS
    report.check("load.overload.n_grown", said["n_grown"], growth, rel=_SAME, off=_SAME)
    share = growth / window.n_arrived
    report.check("load.overload.share_of_arrivals", said["share_of_arrivals"], share, rel=_SAME, off=_SAME)
    if error > _SAME * max(1.0, abs(float(slope))):
        probable = float(stdtr(_TENTHS - 2, -float(slope) / error))
        report.check("load.overload.p_value", said["p_value"], probable, rel=1e-4, off=_SAME)
    least = max(_SHARE * window.n_arrived, 2 * math.sqrt(sum(means) / _TENTHS))
    overloaded = said["p_value"] < _PROBABLE and growth >= least
    report.check("load.overload.overloaded", said["overloaded"], overloaded)


def _check_answers(window: Window, said: Row, report: Report) -> None:
    failed = Counter(row["error_kind"] or "engine" for row in window.ended if row["finish_reason"] == "error")
    report.check("load.failures", said["failures"], dict(failed))
    counted = Counter(row["counted_by"] for row in window.good)
    report.check("load.counted_by", said["counted_by"], dict(counted) if set(counted) - {"tokens"} else None)
    cached = [row["cached_tokens"] for row in window.rows if row["cached_tokens"] is not None and _is_read(window, row)]
    report.check("load.n_cached_input_tokens", said["n_cached_input_tokens"], sum(cached) if cached else None)
    parts = [row for row in window.good if not row["token_times_s"] and row["chunk_times_s"]]
    n_parts = sum(len(row["chunk_times_s"]) for row in parts)
    each = sum(row["output_tokens"] for row in parts) / n_parts if n_parts else None
    report.check("load.n_tokens_per_chunk", said["n_tokens_per_chunk"], each)
    first = [
        row["ttft_s"] - (row["sent_s"] - began(row))
        for row in window.good
        if row["ttft_s"] is not None and row["sent_s"] is not None
    ]
    _check_distribution("load.ttft_from_sending_s", said["ttft_from_sending_s"], first, report)


def _is_read(window: Window, row: Row) -> bool:
    """Whether a prompt is one that the window read."""
    return inside({**row, "input_tokens": 1}, [0], window.start_s, window.end_s)[1] == 1


def _latency(window: Window, row: Row, kind: str) -> float | None:
    if kind != "tpot":
        found: float | None = row[f"{kind}_s"]
        return found
    times, e2e, ttft = row["token_times_s"] or [], row["e2e_s"], row["ttft_s"]
    if e2e is None or ttft is None:
        return None
    lengths = [n for n in lengths_of(row, window.answers) if n > 1]
    return max((((times[n - 1] if times else e2e) - ttft) / (n - 1) for n in lengths), default=None)


def _keeps(window: Window, row: Row, limits: Mapping[str, float]) -> bool:
    if row["finish_reason"] not in _SUCCEEDED:
        return False
    for kind, limit in limits.items():
        found = _latency(window, row, kind)
        single = kind == "tpot" and row["output_tokens"] <= 1
        if found is None and not single:
            return False
        if found is not None and found > limit:
            return False
    return True


def _check_promises(window: Window, slo: Row, energy: float | None, said: Any, report: Report) -> None:
    limits = {kind: s for kind in ("ttft", "tpot", "e2e") if (s := slo.get(f"{kind}_p95_s")) is not None}
    if not limits or said is None:
        report.check("load.slo", said, None if not limits else "something")
        return
    report.check("load.slo.promised", [row["latency"] for row in said["promised"]], list(limits))
    verdicts = [_check_promised(window, row, limits, report) for row in said["promised"]]
    met = False if False in verdicts else None if None in verdicts else True
    n_good = sum(_keeps(window, row, limits) for row in window.ended)
    kept = [row for row in window.rows if _keeps(window, row, limits)]
    n_tokens = window.tokens(kept, window.start_s, window.end_s)
    derived = {
        "met": met,
        "n_ended": len(window.ended),
        "n_good": n_good,
        "good_share": n_good / len(window.ended) if window.ended else None,
        "n_good_output_tokens": n_tokens,
        "good_requests_per_second": n_good / window.seconds,
        "good_tokens_per_second": n_tokens / window.seconds,
        "joules_per_good_token": energy / n_tokens if energy is not None and n_tokens else None,
    }
    for name, value in derived.items():
        report.check(f"load.slo.{name}", said[name], value)


def _check_promised(window: Window, said: Row, limits: Mapping[str, float], report: Report) -> bool | None:
    kind = said["latency"]
    name, limit = f"load.slo.promised.{kind}", limits[kind]
    late = sum(row["finish_reason"] not in _SUCCEEDED for row in window.ended)
    known = [s for row in window.good if (s := _latency(window, row, kind)) is not None]
    values = sorted(known) + [math.inf] * late
    value = None
    if values:
        place = (len(values) - 1) * 0.95
        low = int(place)
        value = values[low]
        if place > low:
            value += (values[low + 1] - values[low]) * (place - low)
    met = None if len(values) < _FEW else value is not None and value <= limit
    report.check(f"{name}.limit_s", said["limit_s"], limit)
    found = value if value is not None and math.isfinite(value) else None
    report.check(f"{name}.p95_s", said["p95_s"], found, off=_SAME_TIME_S)
    report.check(f"{name}.met", said["met"], met)
    return met
