"""The figures of a result that are compared, each under the name that it has in the CSV."""

from collections.abc import Callable
from dataclasses import dataclass

from llenergymeasure.domain.metrics import Distribution
from llenergymeasure.domain.result import ExperimentResult

_Read = Callable[[ExperimentResult], float | None]
_KINDS, _FIGURES = ("ttft", "tpot", "itl", "e2e"), ("mean", "p50", "p90", "p95", "p99")
# As short as a table of 80 columns has them; latencies are TTFT p50 s and the like.
_LABELS = {
    "energy_per_output_token_j": "J/out tok",
    "avg_energy_per_token_j": "J/token",
    "energy_per_request_j": "J/request",
    "total_energy_j": "energy J",
    "energy_adjusted_j": "adjusted J",
    "energy_net_of_loaded_idle_j": "net J",
    "energy_host_j": "host J",
    "baseline_power_w": "idle W",
    "idle_loaded_power_w": "loaded idle W",
    "tokens_per_second": "out tok/s",
    "total_tokens_per_second": "total tok/s",
    "requests_per_second": "req/s",
    "duration_sec": "window s",
    "joules_per_tflop": "J/TFLOP",
    "mfu": "MFU",
    "peak_memory_mb": "peak MB",
    "bits_per_byte": "bits/byte",
    "arrived_requests_per_second": "arrived/s",
    "in_flight_mean": "in flight",
    "goodput": "good req/s",
    "joules_per_good_token": "J/good tok",
}


def _nothing(_: ExperimentResult) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of a result.

    ``read`` gives it in ``unit``, None where a result has none. ``accuracy_pct`` is what the sensors behind it are off
    by each time to the same side, ``bound_pct`` what its readings leave open, both in percent of it and None where
    that is not known. ``counted_by`` names the rule behind it, where results may have different ones. ``place`` is
    where a result has it, as its ``definitions`` name it. One that is ``exact`` comes out the same whenever the same is
    run, so that repeats are no sample of anything. ``label`` is what a table calls it.
    """

    name: str
    unit: str
    read: _Read
    accuracy_pct: _Read = _nothing
    bound_pct: _Read = _nothing
    counted_by: Callable[[ExperimentResult], str | None] = _nothing
    place: str = ""
    exact: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", _LABELS.get(self.name, self.name))
        if not self.place:
            object.__setattr__(self, "place", self.name)


def _accuracy_pct(result: ExperimentResult) -> float | None:
    return result.sensor_accuracy_pct


def _share_pct(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / abs(whole)


def _total_bound_pct(result: ExperimentResult) -> float | None:
    ends = result.energy_interval_j
    return None if ends is None else _share_pct((ends[1] - ends[0]) / 2, result.total_energy_j)


def _adjusted_bound_pct(result: ExperimentResult) -> float | None:
    parts = result.energy_breakdown
    return None if parts is None else _share_pct(parts.adjusted_uncertainty_j, result.energy_adjusted_j)


def _net_bound_pct(result: ExperimentResult) -> float | None:
    return _share_pct(result.energy_net_of_loaded_idle_uncertainty_j, result.energy_net_of_loaded_idle_j)


def _host_bound_pct(result: ExperimentResult) -> float | None:
    return _share_pct(result.energy_host_uncertainty_j, result.energy_host_j)


def _flops_method(result: ExperimentResult) -> str | None:
    return None if result.flops_result is None else result.flops_result.method


def _latency_origin(result: ExperimentResult) -> str | None:
    origin = None if result.latency_stats is None else result.latency_stats.counted_from
    if origin == "request" and result.model.batch_size == 1:
        # A batch of one begins when its request does, so it may stand beside larger ones.
        origin = "batch"
    return None if origin is None else f"from the beginning of the {origin}"


def _text_read(result: ExperimentResult) -> str | None:
    found = result.quality
    if found is None or found.perplexity is None:
        return None
    return (
        f"text {(found.text_digest or '')[:8]}, tokens {(found.tokens_digest or '')[:8]}, {found.n_context_tokens} at "
        "a time"
    )


def _bytes_read(result: ExperimentResult) -> str | None:
    found = result.quality
    if found is None or found.bits_per_byte is None:
        return None
    return f"{found.n_bytes} bytes of text {(found.text_digest or '')[:8]}, {found.n_context_tokens} tokens at a time"


def _of_a_text(name: str, unit: str, counted_by: Callable[[ExperimentResult], str | None]) -> Metric:
    def read(result: ExperimentResult) -> float | None:
        value: float | None = getattr(result.quality, name, None)
        return value

    return Metric(name=name, unit=unit, read=read, counted_by=counted_by, place=f"quality.{name}", exact=True)


def _promised(result: ExperimentResult) -> str | None:
    """What was promised: what is good by one promise is not by another."""
    slo = None if result.load is None else result.load.slo
    if slo is None:
        return None
    return "promised " + ", ".join(f"{each.latency.upper()} {each.limit_s:g} s" for each in slo.promised)


def _arrived(result: ExperimentResult) -> float | None:
    return None if result.load is None else result.load.arrived_requests_per_second


def _in_flight(result: ExperimentResult) -> float | None:
    return None if result.load is None else result.load.in_flight.n_mean


def _goodput(result: ExperimentResult) -> float | None:
    slo = None if result.load is None else result.load.slo
    return None if slo is None else slo.good_requests_per_second


def _joules_per_good_token(result: ExperimentResult) -> float | None:
    slo = None if result.load is None else result.load.slo
    return None if slo is None else slo.joules_per_good_token


def _field(name: str) -> _Read:
    def read(result: ExperimentResult) -> float | None:
        value: float | None = getattr(result, name)
        return value

    return read


def _plain(name: str, unit: str) -> Metric:
    return Metric(name=name, unit=unit, read=_field(name))


def _energy(name: str, unit: str, bound_pct: _Read = _total_bound_pct) -> Metric:
    return Metric(name=name, unit=unit, read=_field(name), accuracy_pct=_accuracy_pct, bound_pct=bound_pct)


def _latency(kind: str, figure: str) -> Metric:
    def read(result: ExperimentResult) -> float | None:
        found: Distribution | None = getattr(result.latency_stats, f"{kind}_s", None)
        # Of percentiles those that enough independent values support: a p99 takes 100.
        return None if found is None else {"mean": found.mean, **found.supported}.get(figure)

    # TPOT and ITL are times between tokens, wherever counting begins.
    counted_by = _latency_origin if kind in ("ttft", "e2e") else _nothing
    place = f"latency_stats.{kind}_s"
    label = f"{kind.upper()} {figure} s"
    return Metric(name=f"{kind}_{figure}_s", unit="s", read=read, counted_by=counted_by, place=place, label=label)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _energy("energy_per_output_token_j", "J/token"),
        _energy("avg_energy_per_token_j", "J/token"),
        _energy("energy_per_request_j", "J/request"),
        _energy("total_energy_j", "J"),
        _energy("energy_adjusted_j", "J", _adjusted_bound_pct),
        _energy("energy_net_of_loaded_idle_j", "J", _net_bound_pct),
        Metric(
            name="energy_host_j",
            unit="J",
            read=_field("energy_host_j"),
            bound_pct=_host_bound_pct,
            counted_by=lambda result: result.energy_host_scope,
        ),
        _energy("baseline_power_w", "W", _nothing),
        _energy("idle_loaded_power_w", "W", _nothing),
        _plain("tokens_per_second", "tokens/s"),
        _plain("total_tokens_per_second", "tokens/s"),
        _plain("requests_per_second", "requests/s"),
        _plain("duration_sec", "s"),
        *(_latency(kind, figure) for kind in _KINDS for figure in _FIGURES),
        Metric(
            name="joules_per_tflop",
            unit="J/TFLOP",
            read=_field("joules_per_tflop"),
            accuracy_pct=_accuracy_pct,
            bound_pct=_total_bound_pct,
            counted_by=_flops_method,
        ),
        Metric(name="mfu", unit="fraction", read=_field("mfu"), counted_by=_flops_method),
        _plain("peak_memory_mb", "MB"),
        Metric(
            name="arrived_requests_per_second",
            unit="requests/s",
            read=_arrived,
            place="load.arrived_requests_per_second",
        ),
        Metric(name="in_flight_mean", unit="requests", read=_in_flight, place="load.in_flight.n_mean"),
        Metric(
            name="goodput",
            unit="requests/s",
            read=_goodput,
            counted_by=_promised,
            place="load.slo.good_requests_per_second",
        ),
        Metric(
            name="joules_per_good_token",
            unit="J/token",
            read=_joules_per_good_token,
            accuracy_pct=_accuracy_pct,
            bound_pct=_total_bound_pct,
            counted_by=_promised,
            place="load.slo.joules_per_good_token",
        ),
        _of_a_text("perplexity", "", _text_read),
        _of_a_text("bits_per_byte", "bits/byte", _bytes_read),
    )
}
