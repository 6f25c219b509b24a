"""One experiment over several nodes: what each measured of its own devices, laid over the window of the first.

The first node has the engine, its requests and the window. The others attend: each opens a window before the first
one's begins, and closes it after that has ended, for word of both comes by a file that may be seen late. What its
devices took beyond the window of the first is taken off again: nothing is at work then, so it is what they take with
the model loaded, which was measured on each. Lengths of time are compared, never times: clocks of two nodes differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    combined_uncertainty_j,
    counted_devices,
    headline_energy_j,
)
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.warnings import MeasurementWarning

# Watts of a device that idles with the model loaded, and their bound, which not every sensor tells.
IdlePower = tuple[float, float | None]


def laid_over(raws: Sequence[RawProcessResult]) -> list[RawProcessResult]:
    """[n] processes in their order; those that attend have the window and the requests of the first.

    Raises:
        ValueError: one was measured for a shorter time than the first, so that a part of it is missing.
    """
    if not raws or not any(raw.attends for raw in raws):
        return list(raws)
    first = raws[0]
    return [_of_the_window(raw, first) if raw.attends else raw for raw in raws]


def _of_the_window(raw: RawProcessResult, first: RawProcessResult) -> RawProcessResult:
    excess_s = raw.duration_sec - first.duration_sec
    if excess_s < 0:
        raise ValueError(
            f"node {raw.node} was measured for {raw.duration_sec:.3f} s and the window has {first.duration_sec:.3f} s: "
            "a part of its energy is missing"
        )
    energy = raw.energy and _within(raw.energy, first.duration_sec, excess_s, raw.idle_by_device_w)
    unlike = _unlike(raw, first)
    if energy is not None and unlike:
        energy = replace(energy, total_j=None)
    if energy is not None:
        energy = replace(energy, devices=tuple(_named(row, raw, first) for row in energy.devices))
    return raw.model_copy(
        update={
            "start_time": first.start_time,
            "end_time": first.end_time,
            "window_start_s": first.window_start_s,
            "window_end_s": first.window_end_s,
            "requests": first.requests,
            "in_flight": first.in_flight,
            "load": first.load,
            "n_requests_failed": first.n_requests_failed,
            "n_requests_excluded": first.n_requests_excluded,
            "prompts_digest": first.prompts_digest,
            "flops_result": first.flops_result,
            "warmup_result": first.warmup_result,
            "model": replace(first.model, devices=raw.model.devices),
            "energy": energy,
            # Times of another clock.
            "samples": (),
            "measurement_warnings": (*raw.measurement_warnings, *unlike, *_about(raw, excess_s, first.duration_sec)),
        }
    )


def _within(
    energy: EnergyMeasurement, window_s: float, excess_s: float, idle_w: Mapping[str, IdlePower]
) -> EnergyMeasurement:
    """The energy of the window alone; what was read goes with the clock of the node, and is left out."""
    devices = tuple(_row_within(row, window_s, excess_s, idle_w.get(row.device)) for row in energy.devices)
    if not devices:
        # Of a sensor that names no devices nobody knows what they take while idling.
        return replace(energy, total_j=None, duration_sec=window_s, per_gpu_j=None, trace=())
    return replace(
        energy,
        total_j=None if energy.total_j is None else headline_energy_j(devices),
        uncertainty_j=combined_uncertainty_j(devices),
        duration_sec=window_s,
        per_gpu_j=None,
        devices=devices,
        trace=(),
    )


def _row_within(row: DeviceEnergy, window_s: float, excess_s: float, idle_w: IdlePower | None) -> DeviceEnergy:
    """A device's energy of the window; where its idling is not known, the bound has all that it may have taken."""
    if row.energy_j is None:
        return replace(row, duration_sec=window_s)
    beyond_j: float
    bound_j: float | None
    if idle_w is None:
        beyond_j = bound_j = row.energy_j * excess_s / (window_s + excess_s) / 2
    else:
        beyond_j, bound_j = idle_w[0] * excess_s, None if idle_w[1] is None else idle_w[1] * excess_s
    bounds_j = [row.uncertainty_j, bound_j]
    parts = row.uncertainty_parts_j
    return replace(
        row,
        energy_j=row.energy_j - beyond_j,
        duration_sec=window_s,
        uncertainty_j=None if None in bounds_j else sum(each for each in bounds_j if each is not None),
        uncertainty_parts_j=None if parts is None or bound_j is None else {**parts, "beyond": bound_j},
        witness_j=None,
    )


def _named(row: DeviceEnergy, raw: RawProcessResult, first: RawProcessResult) -> DeviceEnergy:
    """A row whose device has a name that no other node's has: that of a GPU is its own, package-0 is on each."""
    return row if row.kind == "gpu" or _is_one_machine(raw, first) else replace(row, device=f"{raw.node}/{row.device}")


def _is_one_machine(raw: RawProcessResult, first: RawProcessResult) -> bool:
    """Whether two processes ran on the same boot of one machine; names of containers differ there."""
    boots = (raw.environment_snapshot.boot_id, first.environment_snapshot.boot_id)
    return raw.node == first.node if None in boots else boots[0] == boots[1]


def _unlike(raw: RawProcessResult, first: RawProcessResult) -> list[MeasurementWarning]:
    """Where joules of a node are of other things than those of the first, such as processors beside GPUs."""
    if raw.energy is None or first.energy is None:
        return []
    kinds = [{row.covers for row in counted_devices(each.devices)} for each in (first.energy, raw.energy)]
    if kinds[0] == kinds[1]:
        return []
    said = [" and ".join(sorted(each)) or "nothing" for each in kinds]
    return [
        MeasurementWarning(
            "node_unmeasured",
            f"joules of {raw.node} are of {said[1]} and those of {first.node} of {said[0]}, so there is no sum",
            "measure all nodes by the same sensor (energy.backend)",
        )
    ]


def _about(raw: RawProcessResult, excess_s: float, window_s: float) -> list[MeasurementWarning]:
    """Where as much was taken off as is worth saying."""
    if raw.energy is None or excess_s <= 0.05 * window_s:
        return []
    return [
        MeasurementWarning(
            "node_measured_longer",
            f"{raw.node} was measured for {excess_s:.3g} s more than the window of {window_s:.3g} s, and what it takes "
            "while idling was taken off for that time",
            "measure for longer: raise n or max_output_tokens",
        )
    ]
