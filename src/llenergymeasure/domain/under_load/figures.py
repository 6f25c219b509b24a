"""All that a result says of its load, from what its processes recorded."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from llenergymeasure.domain import assembly
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.metrics import Distribution, counted_devices
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.under_load.classes import classes_of
from llenergymeasure.domain.under_load.load_result import LoadResult, SubWindow
from llenergymeasure.domain.under_load.overload import about_overload, overload_of
from llenergymeasure.domain.under_load.promises import promises_of
from llenergymeasure.domain.under_load.sending import about_sending, sending_of
from llenergymeasure.domain.under_load.sub_windows import courses_of, sub_windows_of, variation_of
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.warnings import MeasurementWarning

# Where arrivals wait for no answer, so that a queue may grow without end.
_OPEN = ("rate", "trace")


def load_of(raws: Sequence[RawProcessResult], total_j: float | None, idle_power_w: float | None) -> LoadResult | None:
    """What [n] processes say of the load; None where none was asked for, or each had arrivals of its own.

    Args:
        raws: the processes in their order; under tensor parallelism all have the same requests.
        total_j: joules of the window.
        idle_power_w: power of idling with the model loaded.
    """
    first = raws[0]
    record = first.load
    if record is None or (len(raws) > 1 and first.parallelism != "tensor"):
        return None
    traffic = Traffic(first.requests, first.window_start_s, first.window_end_s, record.unsent_due_s)
    parts, cv, why_no_cv = _parts(raws, traffic, record)
    ended = traffic.ended
    return LoadResult(
        kind=record.kind,
        asked_requests_per_second=record.rate_per_s,
        n_asked_in_flight=record.concurrency,
        began_by=record.began_by,
        ended_by=record.ended_by,
        n_arrived=record.n_arrived,
        arrivals_digest=record.arrivals_digest,
        n_arrived_in_window=traffic.n_arrived,
        arrived_requests_per_second=traffic.n_arrived / traffic.seconds,
        in_flight=traffic.in_flight(),
        sending=sending_of(traffic, record.n_most_in_flight),
        overload=overload_of(traffic) if record.kind in _OPEN else None,
        sub_windows=parts,
        token_energy_cv=cv,
        why_no_cv=why_no_cv,
        slo=promises_of(traffic, first.effective_config.get("slo"), total_j),
        request_energy=classes_of(traffic, parts, idle_power_w),
        failures=dict(sorted(Counter(r.error_kind or "engine" for r in ended if r.finish_reason == "error").items())),
        counted_by=_counted_by(ended),
        n_cached_input_tokens=_cached(traffic),
        n_tokens_per_chunk=_n_tokens_per_chunk(ended),
        ttft_from_sending_s=Distribution.of(
            [s for r in ended if r.succeeded and (s := r.ttft_from_sending_s) is not None]
        ),
        generator_cpu_s=record.generator_cpu_s,
    )


def load_warnings(found: LoadResult | None) -> list[MeasurementWarning]:
    """What is to be said of a load as it came."""
    return [] if found is None else [*about_overload(found.overload), *about_sending(found.sending)]


def _parts(
    raws: Sequence[RawProcessResult], traffic: Traffic, record: LoadRecord
) -> tuple[tuple[SubWindow, ...], float | None, str | None]:
    """Parts of the window, the variation of joules per token over them, and why there is none."""
    edges_s = record.sub_windows_s
    shortest_s = min((b - a for a, b in pairwise(edges_s)), default=0.0)
    traces = [trace for raw in raws if raw.energy is not None for trace in raw.energy.trace]
    courses, why = courses_of(counted_devices(assembly.distinct_devices(raws)), traces, shortest_s)
    parts = sub_windows_of(traffic, edges_s, courses)
    if why is not None:
        return parts, None, why
    return parts, *variation_of(parts)


def _counted_by(ended: Sequence[RequestOutput]) -> dict[str, int] | None:
    """Of requests that succeeded who counted the tokens of how many; None where the engine gave all one by one."""
    found = Counter(r.counted_by for r in ended if r.succeeded)
    return None if not set(found) - {"tokens"} else {str(who): n for who, n in sorted(found.items())}


def _cached(traffic: Traffic) -> int | None:
    """Tokens of prompts that were taken from a cache, of the prompts that the window read; None where nobody tells."""
    told = [r.cached_tokens for r in traffic.requests if r.cached_tokens is not None and traffic.holds(_read_by_s(r))]
    return sum(told) if told else None


def _read_by_s(request: RequestOutput) -> float | None:
    """The moment by which a prompt belongs to a window, as its tokens are counted."""
    times_s = request.token_times_s or request.chunk_times_s
    return times_s[0] if times_s else request.end_s


def _n_tokens_per_chunk(ended: Sequence[RequestOutput]) -> float | None:
    """Output tokens over the parts that answers came in; None where each token has a time of its own."""
    streamed = [r for r in ended if r.succeeded and not r.token_times_s and r.chunk_times_s]
    n_chunks = sum(len(r.chunk_times_s) for r in streamed)
    return sum(r.output_tokens for r in streamed) / n_chunks if n_chunks else None
