"""How the processes of one experiment become the figures of one result.

Energies are summed over devices, a device counted once however many processes saw it.
Tokens are summed under data parallelism and counted once under tensor parallelism, where
every process works on the same requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llenergymeasure.domain.inference import ModelDescription, RequestOutput
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    FlopsResult,
    ThermalThrottleInfo,
    WarmupResult,
    combined_uncertainty_j,
    counted_devices,
    headline_energy_j,
)
from llenergymeasure.domain.model_flops import sum_terms
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.domain.window import WindowCounts

# Of the whole time, what all processes must have in common; the energy of those that had ended is not in the total.
_LEAST_OVERLAP = 0.9
# Of the whole time, what the reading of a device that several processes use must cover.
_LEAST_COVER = 0.99


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How several processes were put together."""

    n_processes: int
    parallelism: str
    method: str


@dataclass(frozen=True, kw_only=True)
class ProcessSummary:
    """One process of the result, without its per-request rows.

    ``energy_window_s`` is how long its sensor was on, ``counted_devices`` those of its devices that make its energy,
    and the powers are theirs, idling without the model and with it: what energies beyond idling are worked out from.
    None where nothing was sensed, or nobody wrote it down. ``host`` is the node, where there are several.
    """

    process_index: int
    input_tokens: int
    output_tokens: int
    duration_sec: float
    energy_j: float | None
    devices: tuple[str, ...]
    energy_window_s: float | None = None
    counted_devices: tuple[str, ...] | None = None
    baseline_power_w: float | None = None
    idle_loaded_power_w: float | None = None
    baseline_power_uncertainty_w: float | None = None
    idle_loaded_power_uncertainty_w: float | None = None
    host: str | None = None


def in_order(raws: Sequence[RawProcessResult]) -> list[RawProcessResult]:
    """[n] processes by their index.

    Raises:
        ValueError: none given, of different experiments, or one missing or there twice.
    """
    if not raws:
        raise ValueError("no process results to aggregate")
    if len({r.experiment_id for r in raws}) > 1:
        raise ValueError("these process results belong to different experiments")
    ordered = sorted(raws, key=lambda r: r.process_index)
    found = [r.process_index for r in ordered]
    if found != list(range(ordered[0].n_processes)):
        raise ValueError(f"expected processes 0 to {ordered[0].n_processes - 1}, found {found}")
    return ordered


def distinct_requests(raws: Sequence[RawProcessResult]) -> list[RequestOutput]:
    """The requests that were really served, each once."""
    if raws[0].parallelism == "tensor":
        return list(raws[0].requests)
    return sorted((q for r in raws for q in r.requests), key=lambda q: q.index)


def combined_counts(raws: Sequence[RawProcessResult]) -> WindowCounts:
    """Requests and tokens of the windows; under tensor parallelism every process counted the same ones."""
    each = [raw.counts for raw in (raws[:1] if raws[0].parallelism == "tensor" else raws)]
    return WindowCounts(
        n_requests=sum(counts.n_requests for counts in each),
        input_tokens=sum(counts.input_tokens for counts in each),
        output_tokens=sum(counts.output_tokens for counts in each),
    )


def n_requests_failed(raws: Sequence[RawProcessResult]) -> int:
    """Requests that failed in the windows; under tensor parallelism each once."""
    counts = [raw.n_requests_failed for raw in raws]
    return counts[0] if raws[0].parallelism == "tensor" else sum(counts)


def ended_in_the_windows(raws: Sequence[RawProcessResult]) -> list[list[RequestOutput]]:
    """Of each process the requests whose latencies are the window's: those that succeeded, and ended in it.

    Under tensor parallelism those of the first process, for all have the same ones.
    """
    return [
        [
            request
            for request in raw.requests
            if request.succeeded and (raw.in_flight is None or (request.end_s or 0.0) <= raw.window_end_s)
        ]
        for raw in (raws[:1] if raws[0].parallelism == "tensor" else raws)
    ]


def distinct_samples(raws: Sequence[RawProcessResult]) -> list[PowerThermalSample]:
    """The states of every GPU in their order, of a GPU that several processes read those of the first."""
    reader: dict[int | None, int] = {}
    for raw in raws:
        for sample in raw.samples:
            reader.setdefault(sample.gpu_index, raw.process_index)
    own = (s for r in raws for s in r.samples if reader[s.gpu_index] == r.process_index)
    return sorted(own, key=lambda s: s.timestamp)


def whole_model(raws: Sequence[RawProcessResult]) -> ModelDescription:
    """The model on the devices of all; a parameter that differs between processes is a list of each one's."""
    models = [r.model for r in raws]
    names = dict.fromkeys(name for m in models for name in m.parameters or {})
    parameters = {name: _common_or_each([(m.parameters or {}).get(name) for m in models]) for name in names}
    return replace(
        models[0],
        devices=tuple(dict.fromkeys(d for m in models for d in m.devices)),
        parameters=None if models[0].parameters is None else parameters,
        chat_template="; ".join(dict.fromkeys(m.chat_template for m in models if m.chat_template)) or None,
    )


def _common_or_each(values: list[Any]) -> Any:
    return values[0] if values.count(values[0]) == len(values) else values


def combined_warmup(raws: Sequence[RawProcessResult]) -> WarmupResult:
    """Warm-up of all processes, steady where each was; under tensor parallelism they ran the same batches.

    Latencies and their variation are those of the first process that was not steady, or else of the first.
    """
    results = [r.warmup_result for r in raws]
    shown = next((result for result in results if not result.converged), results[0])
    if raws[0].parallelism == "tensor":
        return shown
    return replace(
        shown,
        iterations_completed=sum(result.iterations_completed for result in results),
        n_failed=sum(result.n_failed for result in results),
    )


def n_requests_excluded(raws: Sequence[RawProcessResult]) -> int:
    """Requests that were run before the measured part, or left out after it; under tensor parallelism each once."""
    counts = [r.n_requests_excluded for r in raws]
    return counts[0] if raws[0].parallelism == "tensor" else sum(counts)


def distinct_devices(raws: Sequence[RawProcessResult]) -> list[DeviceEnergy]:
    """Every reading of every device once, of the longest window that has it, and one reading of a device counted.

    Processes that use one device may each have taken another of its readings for the headline: the longest one's is.
    """
    seen = [raw.energy for raw in raws if raw.energy is not None]
    by_length = sorted(seen, key=lambda energy: -energy.duration_sec)
    counted: dict[str, DeviceEnergy] = {}
    for energy in by_length:
        for row in energy.devices:
            if row.headline is not False:
                counted.setdefault(row.device, row)
    chosen = {(row.device, row.sensor): row for row in counted.values()}
    for energy in by_length:
        for row in energy.devices:
            beside = replace(row, headline=False) if row.device in counted else row
            chosen.setdefault((row.device, row.sensor), beside)
    listed = dict.fromkeys((row.device, row.sensor) for energy in seen for row in energy.devices)
    return [chosen[key] for key in listed]


def total_energy_j(raws: Sequence[RawProcessResult], devices: Sequence[DeviceEnergy]) -> float | None:
    """The headline energy; None when any process has none, for a part is not the whole."""
    totals = [None if r.energy is None else r.energy.total_j for r in raws]
    if any(t is None for t in totals):
        return None
    # A sensor that names no devices can be believed only where there is nothing to deduplicate.
    if not devices:
        return totals[0] if len(raws) == 1 else None
    return headline_energy_j(devices)


def uncertainty_j(raws: Sequence[RawProcessResult], devices: Sequence[DeviceEnergy]) -> float | None:
    """The bound of the headline: the devices' own, else what the only process's sensor says of the whole."""
    bound = combined_uncertainty_j(devices)
    only = raws[0].energy if len(raws) == 1 else None
    return only.uncertainty_j if bound is None and only is not None else bound


def duration_sec(raws: Sequence[RawProcessResult]) -> float:
    """From the first window's start to the last one's end."""
    return max(r.window_end_s for r in raws) - min(r.window_start_s for r in raws)


def combined_flops(raws: Sequence[RawProcessResult]) -> FlopsResult | None:
    """FLOPs of the whole experiment: summed for data parallelism, once for tensor parallelism."""
    first = raws[0].flops_result
    results = [r.flops_result for r in raws if r.flops_result is not None]
    if first is None or len(results) < len(raws):
        return None
    if raws[0].parallelism == "tensor":
        return first
    prefill, decode = [r.prefill for r in results], [r.decode for r in results]
    return replace(
        first,
        value=sum(r.value for r in results),
        confidence=max((r.confidence for r in results), key=("high", "medium", "low").index),
        prefill=None if None in prefill else sum_terms([t for t in prefill if t is not None]),
        decode=None if None in decode else sum_terms([t for t in decode if t is not None]),
        number_format=first.number_format if len({r.number_format for r in results}) == 1 else None,
    )


def combined_throttle(raws: Sequence[RawProcessResult]) -> ThermalThrottleInfo | None:
    """Throttling in any process is throttling."""
    infos = [r.thermal_throttle for r in raws if r.thermal_throttle is not None]
    if not infos:
        return None
    temperatures = [i.max_temperature_c for i in infos if i.max_temperature_c is not None]
    return ThermalThrottleInfo(
        detected=any(i.detected for i in infos),
        thermal=any(i.thermal for i in infos),
        power=any(i.power for i in infos),
        sw_thermal=any(i.sw_thermal for i in infos),
        hw_thermal=any(i.hw_thermal for i in infos),
        hw_power=any(i.hw_power for i in infos),
        throttle_duration_sec=max(i.throttle_duration_sec for i in infos),
        max_temperature_c=max(temperatures, default=None),
    )


def combined_warnings(raws: Sequence[RawProcessResult]) -> list[MeasurementWarning]:
    """All warnings, each once; of several processes those are named that have it, for its numbers are their own."""
    by_warning: dict[MeasurementWarning, list[int]] = {}
    for raw in raws:
        for warning in dict.fromkeys(raw.measurement_warnings):
            by_warning.setdefault(warning, []).append(raw.process_index)
    if len(raws) == 1:
        return list(by_warning)
    found = []
    for warning, indices in by_warning.items():
        who = (
            f"process {', '.join(map(str, indices))}" if len(indices) < len(raws) else f"each of {len(raws)} processes"
        )
        found.append(replace(warning, where=who))
    return [*found, *_about_the_overlap(raws), *_about_the_cover(raws)]


def _about_the_overlap(raws: Sequence[RawProcessResult]) -> list[MeasurementWarning]:
    common_s = min(r.window_end_s for r in raws) - max(r.window_start_s for r in raws)
    whole_s = duration_sec(raws)
    if common_s <= 0:
        return [
            MeasurementWarning(
                "windows_do_not_overlap", "the processes measured at different times", "run them together"
            )
        ]
    if common_s >= _LEAST_OVERLAP * whole_s:
        return []
    return [
        MeasurementWarning(
            "uneven_processes",
            f"the {len(raws)} processes were at work together for {common_s:.3g} of {whole_s:.3g} s, and "
            "devices of those that had ended, or not begun, are in the total for their own part only",
            "raise n, so that the shares of the prompts become alike",
        )
    ]


def _about_the_cover(raws: Sequence[RawProcessResult]) -> list[MeasurementWarning]:
    """Devices that several processes used and none read for the whole time: a part of their energy is in no window."""
    whole_s = duration_sec(raws)
    longest: dict[str, list[float]] = {}
    for raw in raws:
        for device in counted_devices(raw.energy.devices) if raw.energy is not None else ():
            longest.setdefault(device.device, []).append(raw.duration_sec)
    short = {name: max(s) for name, s in longest.items() if len(s) > 1 and max(s) < _LEAST_COVER * whole_s}
    return [
        MeasurementWarning(
            "energy_of_a_part",
            f"{name} was used by several processes and read for {seconds:.3g} of {whole_s:.3g} s, so its "
            "energy is too low",
            "raise n, so that the shares of the prompts become alike",
            name,
        )
        for name, seconds in short.items()
    ]


def summaries(raws: Sequence[RawProcessResult]) -> list[ProcessSummary]:
    """[n] processes as short rows."""
    return [
        ProcessSummary(
            process_index=r.process_index,
            input_tokens=r.counts.input_tokens,
            output_tokens=r.counts.output_tokens,
            duration_sec=r.duration_sec,
            energy_j=r.energy.total_j if r.energy else None,
            devices=tuple(d.device for d in r.energy.devices) if r.energy else (),
            energy_window_s=r.energy.duration_sec if r.energy else None,
            counted_devices=tuple(d.device for d in counted_devices(r.energy.devices)) if r.energy else None,
            baseline_power_w=r.energy_breakdown.baseline_power_w if r.energy_breakdown else None,
            baseline_power_uncertainty_w=(
                r.energy_breakdown.baseline_power_uncertainty_w if r.energy_breakdown else None
            ),
            idle_loaded_power_w=r.idle_loaded_power_w,
            idle_loaded_power_uncertainty_w=r.idle_loaded_power_uncertainty_w,
            host=r.node,
        )
        for r in raws
    ]


def aggregation(raws: Sequence[RawProcessResult]) -> Aggregation | None:
    """How several processes are put together; None for one."""
    if len(raws) == 1:
        return None
    n_nodes = len({raw.node for raw in raws})
    method = "sum over devices" if n_nodes == 1 else f"sum over devices of {n_nodes} nodes"
    return Aggregation(n_processes=len(raws), parallelism=raws[0].parallelism, method=method)
