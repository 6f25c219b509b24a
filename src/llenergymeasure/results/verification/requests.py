"""What was served, worked out from the rows of requests and answers: counts, digests, latencies."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.findings import DamageError, Report, shown
from llenergymeasure.results.verification.tables import (
    OUTPUTS,
    REQUESTS,
    REQUESTS_SINCE,
    Row,
    Table,
    unique_in_order,
)

_REASONS = ("stop", "length", "error", "cancelled")
_SUCCEEDED = ("stop", "length")
# Times that are closer to each other are the same: they are sums of numbers that were rounded.
_SAME_TIME_S = 1e-9


class Served:
    """The requests of a result: rows by index, answers by index, and the process that each ran in."""

    def __init__(self, bundle: Bundle) -> None:
        """Read the tables.

        Raises:
            DamageError: they cannot be what they should be.
        """
        table = Table(bundle, named(bundle, "requests", "requests.parquet"), REQUESTS, REQUESTS_SINCE)
        self.rows = [{**dict.fromkeys(REQUESTS_SINCE), **row} for row in table.rows()]
        self.has_times = "sent_s" in table.names
        self.has_parts = "chunk_times_s" in table.names
        unique_in_order(self.rows, "index")
        self.process_of = {
            request["index"]: number for number, raw in enumerate(_served_by(bundle)) for request in raw["requests"]
        }

    def read_answers(self, bundle: Bundle) -> dict[int, list[list[int]]] | None:
        """Token ids by request; None where they were not written.

        Raises:
            DamageError: the table cannot be what it should be.
        """
        if bundle.result.get("outputs") is None:
            return None
        table = Table(bundle, named(bundle, "outputs", "outputs.parquet"), OUTPUTS)
        rows = table.rows()
        unique_in_order(rows, "index", "answer")
        answers: dict[int, list[list[int]]] = defaultdict(list)
        for row in rows:
            if row["answer"] != len(answers[row["index"]]):
                raise DamageError(f"request {row['index']} has answer {row['answer']} and not the one before")
            answers[row["index"]].append(row["token_ids"])
        return dict(answers)


def named(bundle: Bundle, field: str, usual: str) -> str:
    """The name of a file beside the result, which has one name in all results.

    Raises:
        DamageError: it has another name.
    """
    said = bundle.result.get(field)
    if said != usual:
        raise DamageError(f"result.json calls the file {shown(said)}")
    return usual


def _served_by(bundle: Bundle) -> list[dict[str, Any]]:
    """The raw results whose requests are the result's: under tensor parallelism all ran the same ones."""
    if bundle.raws and bundle.raws[0].get("parallelism") == "tensor":
        return bundle.raws[:1]
    return bundle.raws


def verify_requests(bundle: Bundle, report: Report) -> Served | None:
    """Rows and answers, and what of the result follows from them."""
    served: Served | None = None
    if bundle.result.get("requests") is None:
        report.unverifiable("requests.parquet", "it was not written, so neither tokens nor latencies can be derived")
        return None
    with report.part("requests.parquet"):
        served = Served(bundle)
    if served is None:
        return None
    answers = None
    with report.part("outputs.parquet"):
        answers = served.read_answers(bundle)
        _check_answers(served, answers, bundle, report)
    with report.part("requests.parquet"):
        _check_rows(served, answers, report)
        _check_counts(served, answers, bundle, report)
    with report.part("latency_stats"):
        _check_latencies(served, answers, bundle, report)
    return served


def _check_answers(
    served: Served, answers: Mapping[int, list[list[int]]] | None, bundle: Bundle, report: Report
) -> None:
    result = bundle.result
    report.check("outputs_digest", result["outputs_digest"], _digest_of(served.rows, "output_digest"))
    inputs = None
    if all(row["input_digest"] is not None for row in served.rows):
        inputs = _digest_of(served.rows, "input_digest")
    report.check("inputs_digest", result.get("inputs_digest"), inputs)
    if answers is None:
        report.unverifiable("outputs.parquet", "it was not written, so digests of answers are taken from their rows")
        return
    indices = {row["index"] for row in served.rows}
    strangers = sorted(set(answers) - indices)
    if strangers:
        raise DamageError(f"it has answers of request {strangers[0]}, which requests.parquet does not have")
    for row in served.rows:
        own = answers.get(row["index"])
        name = f"request {row['index']}"
        if own is None:
            if row["finish_reason"] in _SUCCEEDED:
                raise DamageError(f"it has no answer of {name}")
            continue
        report.check(f"{name} output_tokens", row["output_tokens"], sum(map(len, own)))
        report.check(f"{name} output_digest", row["output_digest"], _digest_of_ids(own))


def _digest_of(rows: Sequence[Row], column: str) -> str:
    text = "\n".join(
        f"{row['index']} {row[column]}" for row in sorted(rows, key=lambda row: (row["index"], row[column]))
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of_ids(answers: Sequence[Sequence[int]]) -> str:
    return hashlib.sha256(";".join(",".join(str(i) for i in ids) for ids in answers).encode()).hexdigest()


def lengths_of(row: Row, answers: Mapping[int, list[list[int]]] | None) -> list[int]:
    """Tokens of each answer of a request; one answer where they were not written."""
    own = None if answers is None else answers.get(row["index"])
    return [len(ids) for ids in own] if own else [row["output_tokens"]]


def began(row: Row) -> float | None:
    """From when a request's latencies count: when it was due, or else sent."""
    moment: float | None = row["sent_s"] if row["due_s"] is None else row["due_s"]
    return moment


def _check_rows(served: Served, answers: Mapping[int, list[list[int]]] | None, report: Report) -> None:
    """What the columns of one row say of each other."""
    for row in served.rows:
        name, times = f"request {row['index']}", row["token_times_s"] or []
        if row["input_tokens"] < 0 or row["output_tokens"] < 0:
            raise DamageError(f"{name} has less than no tokens")
        report.check_that(
            f"{name} finish_reason", row["finish_reason"], row["finish_reason"] in _REASONS, "there is no such"
        )
        failed = row["error"] is not None
        report.check_that(
            f"{name} error",
            row["error"],
            failed == (row["finish_reason"] == "error"),
            "its finish_reason says otherwise",
        )
        if not served.has_times:
            continue
        start = began(row)
        e2e = None if start is None or row["end_s"] is None else row["end_s"] - start
        report.check(f"{name} e2e_s", row["e2e_s"], e2e, off=_SAME_TIME_S)
        if served.has_parts:
            _check_parts(row, e2e, report)
        if times:
            report.check(f"{name} ttft_s", row["ttft_s"], times[0], off=_SAME_TIME_S)
            if answers is not None:
                report.check(f"{name} token_times_s", len(times), max(lengths_of(row, answers), default=0))
            in_order = all(a <= b for a, b in pairwise(times))
            late = e2e is not None and times[-1] > e2e + _SAME_TIME_S
            report.check_that(
                f"{name} token_times_s",
                times[-1],
                in_order and not late and times[0] >= 0,
                "tokens come one after the other, and before the end",
            )


def _check_parts(row: Row, e2e: float | None, report: Report) -> None:
    """When parts of an answer came, whose tokens have no times of their own, and from when it was sent."""
    name, parts, start = f"request {row['index']}", row["chunk_times_s"] or [], began(row)
    if parts:
        in_order = all(a <= b for a, b in pairwise(parts)) and parts[0] >= 0 and not row["token_times_s"]
        late = e2e is not None and parts[-1] > e2e + _SAME_TIME_S
        should = "parts come one after the other and before the end, of an answer whose tokens have no times"
        report.check_that(f"{name} chunk_times_s", parts[-1], in_order and not late, should)
    waited = None if start is None or row["sent_s"] is None else row["sent_s"] - start
    first = None if waited is None or row["ttft_s"] is None else row["ttft_s"] - waited
    report.check(f"{name} ttft_from_sending_s", row["ttft_from_sending_s"], first, off=_SAME_TIME_S)


def windows_of(bundle: Bundle) -> dict[int, tuple[float, float]]:
    """The window of each process, from the start of the first."""
    duration = bundle.result["duration_sec"]
    if not bundle.raws:
        if bundle.result.get("aggregation") is not None:
            raise DamageError("of several processes the windows are in their raw results, which are not there")
        return {0: (0.0, duration)}
    first_s = min(raw["window_start_s"] for raw in bundle.raws)
    return {
        number: (raw["window_start_s"] - first_s, raw["window_end_s"] - first_s)
        for number, raw in enumerate(_served_by(bundle))
    }


def _check_counts(
    served: Served, answers: Mapping[int, list[list[int]]] | None, bundle: Bundle, report: Report
) -> None:
    result, windows = bundle.result, windows_of(bundle)
    cut = _is_cut(bundle)
    n_requests = n_input = n_output = 0
    for row in served.rows:
        number = served.process_of.get(row["index"], 0)
        if cut.get(number, False):
            counted = inside(row, lengths_of(row, answers), *windows[number])
        else:
            counted = (int(row["finish_reason"] in _SUCCEEDED), row["input_tokens"], row["output_tokens"])
        n_requests, n_input, n_output = n_requests + counted[0], n_input + counted[1], n_output + counted[2]
    report.check("n_requests", result["n_requests"], n_requests)
    report.check("input_tokens", result["input_tokens"], n_input)
    report.check("output_tokens", result["output_tokens"], n_output)
    failed = sum(row["error"] is not None for row in served.rows)
    report.check("n_requests_failed", result.get("n_requests_failed", 0), failed)
    ended = _ended(served, bundle)
    report.check("n_cut_short", result["n_cut_short"], sum(row["finish_reason"] == "length" for row in ended))
    _check_in_flight(served, bundle, report)


def _is_cut(bundle: Bundle) -> dict[int, bool]:
    """Whether the window of each process cuts through requests."""
    if bundle.raws:
        return {number: raw["in_flight"] is not None for number, raw in enumerate(_served_by(bundle))}
    return {0: bundle.result.get("requests_in_flight") is not None}


def _check_in_flight(served: Served, bundle: Bundle, report: Report) -> None:
    said = bundle.result.get("requests_in_flight")
    if said is None or bundle.result.get("aggregation") is not None:
        return
    start_s, end_s = 0.0, bundle.result["duration_sec"]

    def at(time_s: float) -> int:
        return sum(
            (row["sent_s"] is None or row["sent_s"] < time_s)
            and (row["end_s"] is None or row["end_s"] > time_s or row["finish_reason"] == "cancelled")
            for row in served.rows
        )

    report.check("requests_in_flight", said, {"n_at_start": at(start_s), "n_at_end": at(end_s)})


def inside(row: Row, lengths: Sequence[int], start_s: float, end_s: float) -> tuple[int, int, int]:
    """A request, and tokens read and produced, as far as they lie in a window that cuts through requests."""

    def within(time_s: float | None) -> bool:
        return time_s is not None and start_s < time_s <= end_s

    ended = within(row["end_s"])
    counts = ended and row["finish_reason"] in _SUCCEEDED
    start, times, parts = began(row), row["token_times_s"] or [], row["chunk_times_s"] or []
    if start is None or not (times or parts):
        return int(counts), row["input_tokens"] * ended, row["output_tokens"] * ended
    moments = [start + time_s for time_s in times or parts]
    if not times:
        # As many tokens by each part as by any other, in whole ones.
        by_edge = [
            round(row["output_tokens"] * sum(m <= edge for m in moments) / len(moments)) for edge in (start_s, end_s)
        ]
        return int(counts), row["input_tokens"] * within(moments[0]), by_edge[1] - by_edge[0]
    n_output = sum(within(moment) for length in lengths for moment in moments[:length])
    return int(counts), row["input_tokens"] * within(moments[0]), n_output


def _ended(served: Served, bundle: Bundle) -> list[Row]:
    """Requests whose latencies are the window's."""
    windows, cut = windows_of(bundle), _is_cut(bundle)
    found = []
    for row in served.rows:
        number = served.process_of.get(row["index"], 0)
        late = cut.get(number, False) and (row["end_s"] or 0.0) > windows[number][1]
        if row["finish_reason"] in _SUCCEEDED and not late:
            found.append(row)
    return found


def _check_latencies(
    served: Served, answers: Mapping[int, list[list[int]]] | None, bundle: Bundle, report: Report
) -> None:
    said = bundle.result["latency_stats"]
    rows = _ended(served, bundle)
    if not rows:
        report.check("latency_stats", said, None)
        return
    values: dict[str, list[float]] = defaultdict(list)
    seen: dict[str, set[Hashable]] = defaultdict(set)
    batches: Counter[Hashable] = Counter()
    for row in rows:
        number = served.process_of.get(row["index"], 0)
        batch = None if row["batch"] is None else ("batch", number, row["batch"])
        batches[batch] += 1
        for kind, value, moments in _observations(row, lengths_of(row, answers)):
            values[kind].append(value)
            alone = batch is None or kind == "itl_s"
            seen[kind].add((number, *moments) if alone else batch)
    has_independent = bundle.revision >= _SINCE_INDEPENDENT
    for kind in ("ttft_s", "tpot_s", "itl_s", "e2e_s"):
        derived = distribution(values[kind], len(seen[kind]))
        if not has_independent and derived is not None:
            said_kind = {key: value for key, value in said[kind].items() if key != "n_independent"}
            del derived["n_independent"]
        else:
            said_kind = said[kind]
        _check_distribution(kind, said_kind, derived, report)
    if has_independent:
        together = any(batch is not None and n > 1 for batch, n in batches.items())
        report.check("latency_stats.counted_from", said["counted_from"], "batch" if together else "request")


_SINCE_INDEPENDENT = 4


def _check_distribution(kind: str, said: Any, derived: dict[str, float] | None, report: Report) -> None:
    if said is None or derived is None:
        report.check(f"latency_stats.{kind}", said, derived)
        return
    for name in sorted({*said, *derived}):
        # A time is a difference of two readings of a clock.
        report.check(f"latency_stats.{kind}.{name}", said.get(name), derived.get(name), off=_SAME_TIME_S)


def _observations(row: Row, lengths: Sequence[int]) -> Iterator[tuple[str, float, tuple[Hashable, ...]]]:
    """Latencies of a request, each with the moments between which it lies: those of one step are one observation."""
    start, ttft, e2e, times = began(row), row["ttft_s"], row["e2e_s"], row["token_times_s"] or []

    def moment(latency_s: float | None) -> Hashable:
        return None if latency_s is None or start is None else round((start + latency_s) / _SAME_TIME_S)

    if ttft is not None:
        yield "ttft_s", ttft, (moment(0.0), moment(ttft))
    if e2e is not None:
        yield "e2e_s", e2e, (moment(0.0), moment(e2e))
    if ttft is not None and e2e is not None:
        for length in lengths:
            if length > 1:
                last = times[length - 1] if times else e2e
                yield "tpot_s", (last - ttft) / (length - 1), (moment(ttft), moment(e2e))
    for length in lengths:
        for a, b in pairwise(times[:length] or row["chunk_times_s"] or []):
            yield "itl_s", b - a, (moment(a), moment(b))


def distribution(values: Sequence[float], n_independent: int) -> dict[str, float] | None:
    """Mean and percentiles, between two values in proportion."""
    if not values:
        return None
    ordered, found = sorted(values), {"n": len(values), "mean": sum(sorted(values)) / len(values)}
    for percent in (50, 90, 95, 99):
        place = (len(ordered) - 1) * percent / 100
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found[f"p{percent}"] = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    return {**found, "n_independent": n_independent}
