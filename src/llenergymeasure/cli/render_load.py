"""How requests arrived, and what of the promises was kept, as lines of the table of a result."""

from llenergymeasure.domain.in_figures import NONE, number, share_pct
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.under_load.load_result import (
    ClassEnergy,
    ClassesResult,
    LoadResult,
    PromisedLatency,
    PromisesResult,
)

_BEGAN = {
    "settled": "from when what was in flight had settled",
    "ramp": "from the end of the ramp that was asked for",
    "not_settled": "from half of the time on, for what was in flight NEVER SETTLED",
}
_ENDED = {
    "duration": "until the time was over",
    "requests": "until all requests had come",
    "steady": "until joules per token were steady",
}
_KINDS = {"trace": "arrivals of a trace", "max": "all requests at once"}


def load_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    """Labels and lines of what a result says under load; nothing where it was not asked for."""
    load = result.load
    if load is None:
        return []
    flight = load.in_flight
    edges = f"{number(flight.n_at_start)} at the start, {number(flight.n_at_end)} at the end"
    return [
        ("under load", _asked_and_came(load)),
        ("measured", f"{_BEGAN[load.began_by]} {_ENDED[load.ended_by]}"),
        ("in flight", f"{number(flight.n_mean)} on average, {number(flight.n_max)} at most; {edges}"),
        *_overload_rows(load),
        *_sending_rows(load, result.duration_sec),
        *_promise_rows(load.slo),
        *_energy_rows(result, load),
        *_answer_rows(result, load),
    ]


def _asked_and_came(load: LoadResult) -> str:
    came = f"{number(load.arrived_requests_per_second)} requests/s came"
    counts = f"{number(load.n_arrived_in_window)} in the window, {number(load.n_arrived)} in all"
    if load.kind == "rate" and load.asked_requests_per_second is not None:
        asked = f"{number(load.asked_requests_per_second)} requests/s asked for"
    elif load.kind == "concurrency" and load.n_asked_in_flight is not None:
        asked = f"{number(load.n_asked_in_flight)} at a time"
    else:
        asked = _KINDS.get(load.kind, load.kind)
    return f"{asked}, {came} ({counts})"


def _overload_rows(load: LoadResult) -> list[tuple[str, str]]:
    found = load.overload
    if found is None:
        return []
    share = f"{number(found.n_grown)} in flight, {number(100 * found.share_of_arrivals)} % of what came"
    if not found.overloaded:
        return [("overload", f"no (grown by {share})")]
    return [("overload", f"OVERLOADED: grown by {share}; no figure is of a steady state")]


def _sending_rows(load: LoadResult, seconds: float) -> list[tuple[str, str]]:
    rows, found = [], load.sending
    if found is not None:
        late = [
            f"{number(1e3 * s)} ms {name}" for name, s in (("mean", found.late_s.mean), ("at most", found.late_max_s))
        ]
        p99 = found.late_s.supported.get("p99")
        late += [] if p99 is None else [f"{number(1e3 * p99)} ms p99"]
        gap = number(100 * found.share_of_gap)
        rows.append(("sent late by", f"{', '.join(late)}; the mean is {gap} % of the time between arrivals"))
    if load.generator_cpu_s is not None:
        core = number(100 * load.generator_cpu_s / seconds)
        rows.append(("our own sending", f"{number(load.generator_cpu_s)} s of processor time, {core} % of a core"))
    return rows


def _promise_rows(slo: PromisesResult | None) -> list[tuple[str, str]]:
    if slo is None:
        return []
    verdict = {True: "met", False: "NOT met", None: "not known whether met"}[slo.met]
    good = NONE if slo.good_share is None else share_pct(slo.good_share)
    return [
        ("SLO", f"{verdict}: {', '.join(map(_promised, slo.promised))}"),
        (
            "goodput",
            f"{number(slo.good_requests_per_second)} req/s, {number(slo.good_tokens_per_second)} output tok/s; "
            f"{number(slo.n_good)} of {number(slo.n_ended)} requests were good ({good})",
        ),
    ]


def _promised(found: PromisedLatency) -> str:
    sign = {True: "<=", False: ">", None: "of"}[found.met]
    value = NONE if found.p95_s is None else f"{number(found.p95_s)} s"
    return f"{found.latency.upper()} p95 {value} {sign} {found.limit_s:g} s"


def _energy_rows(result: ExperimentResult, load: LoadResult) -> list[tuple[str, str]]:
    rows = []
    mark = " (modelled)" if "modelled" in result.energy_origin else ""
    if load.slo is not None and load.slo.joules_per_good_token is not None:
        rows.append(("J per good token", f"{number(load.slo.joules_per_good_token)} J{mark}"))
    if load.token_energy_cv is not None:
        n_parts = len(load.sub_windows)
        text = f"varies by {number(100 * load.token_energy_cv)} % (CV) over {n_parts} parts of the window"
        rows.append(("J per output token", text))
    elif result.total_energy_j is not None and load.why_no_cv is not None:
        rows.append(("J per output token", f"not told in parts of the window: {load.why_no_cv}"))
    if load.request_energy is not None:
        rows.append(("J per request", _classes(load.request_energy)))
    return rows


def _classes(found: ClassesResult) -> str:
    reasons = {each.why_not for each in found.classes}
    if len(reasons) == 1 and None not in reasons:
        return f"UNRESOLVED for short and long answers: {reasons.pop()}"
    each = "; ".join(map(_class, found.classes))
    return f"{each}; short has up to {found.n_most_tokens_of_short:g} tokens, idling is not in it"


def _class(found: ClassEnergy) -> str:
    if found.per_request_j is None:
        return f"{found.name} UNRESOLVED: {found.why_not}"
    value = found.per_request_j
    text = f"{found.name} {number(value.value)} ({number(value.low)} to {number(value.high)})"
    return text if found.status == "resolved" else f"{text} UNRESOLVED: {found.why_not}"


def _answer_rows(result: ExperimentResult, load: LoadResult) -> list[tuple[str, str]]:
    rows = []
    if load.failures:
        kinds = ", ".join(f"{number(n)} {kind}" for kind, n in load.failures.items())
        rows.append(("failed requests", kinds))
    first = load.ttft_from_sending_s
    if first is not None and load.sending is not None:
        rows.append(("TTFT from sending", f"{number(first.mean)} s mean, {number(first.p50)} s p50"))
    if load.n_tokens_per_chunk is not None:
        text = f"{number(load.n_tokens_per_chunk)} tokens in a part of an answer; ITL is the time between parts"
        rows.append(("streamed", text))
    if load.counted_by is not None:
        rows.append(
            ("tokens counted by", ", ".join(f"{who} ({number(n)} requests)" for who, n in load.counted_by.items()))
        )
    if load.n_cached_input_tokens is not None:
        of = f"{number(load.n_cached_input_tokens)} of {number(result.input_tokens)} input tokens"
        rows.append(("from a cache", f"{of} were not computed"))
    return rows
