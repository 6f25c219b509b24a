"""The versions of the formulas by which a revision works its figures out, of those that name them."""

from collections.abc import Mapping

from llenergymeasure.results.verification.bundle import FIRST_WITH_LOAD
from llenergymeasure.results.verification.quality import FIRST_WITH_QUALITY

# By the place of the figure in a result.
_VERSIONS: Mapping[str, int] = {
    "total_energy_j": 1, "energy_adjusted_j": 1, "energy_per_output_token_j": 1, "avg_energy_per_token_j": 1,
    "energy_per_request_j": 1, "energy_net_of_loaded_idle_j": 1, "energy_net_of_loaded_idle_uncertainty_j": 1,
    "idle_loaded_power_w": 1, "idle_loaded_power_uncertainty_w": 1, "baseline_power_w": 1, "energy_uncertainty_j": 2,
    "energy_aliasing_pct": 1, "energy_host_j": 1, "energy_host_uncertainty_j": 1, "dither_pause_s": 1,
    "dither_energy_j": 1, "energy_interval_j": 1, "energy_interval_parts_j": 1, "total_tokens": 1, "duration_sec": 1,
    "tokens_per_second": 1, "total_tokens_per_second": 1, "requests_per_second": 1, "joules_per_tflop": 1, "mfu": 1,
    "peak_memory_mb": 1, "instrument_cpu_s": 1, "foreign_cpu_pct": 1, "energy_devices.energy_j": 2,
    "energy_devices.uncertainty_j": 2, "energy_breakdown.raw_j": 1, "energy_breakdown.adjusted_j": 1,
    "energy_breakdown.baseline_power_w": 1, "energy_breakdown.baseline_power_uncertainty_w": 1,
    "energy_breakdown.adjusted_uncertainty_j": 1, "latency_stats.ttft_s": 1, "latency_stats.tpot_s": 1,
    "latency_stats.itl_s": 1, "latency_stats.e2e_s": 1, "flops_result.value": 2, "flops_result.prefill": 2,
    "flops_result.decode": 2, "phases.prefill": 2, "phases.decode": 2, "warmup_result.final_cv": 1,
    "thermal_throttle.throttle_duration_sec": 1, "thermal_throttle.max_temperature_c": 1,
    "quality.perplexity": 1, "quality.bits_per_byte": 1, "quality.nll_nats": 1,
    "load.arrived_requests_per_second": 1, "load.token_energy_cv": 1, "load.n_tokens_per_chunk": 1,
    "load.ttft_from_sending_s": 1, "load.in_flight.n_mean": 1, "load.sending.late_s": 1,
    "load.sending.share_of_gap": 1, "load.overload.overloaded": 1, "load.overload.n_grown": 1,
    "load.overload.share_of_arrivals": 1, "load.overload.p_value": 1, "load.sub_windows.part_energy_j": 1,
    "load.sub_windows.energy_per_output_token_j": 1, "load.slo.n_good": 1, "load.slo.good_share": 1,
    "load.slo.n_good_output_tokens": 1, "load.slo.good_requests_per_second": 1, "load.slo.good_tokens_per_second": 1,
    "load.slo.joules_per_good_token": 1, "load.slo.promised.p95_s": 1, "load.slo.promised.met": 1,
    "load.request_energy.classes.per_request_j": 1,
}  # fmt: skip

# The first revision of whole sections.
_SINCE = {"quality": FIRST_WITH_QUALITY, "load": FIRST_WITH_LOAD}


def versions_in(revision: int) -> dict[str, int]:
    """By the place of the figure, of a revision from 5 on."""
    return {
        place: version for place, version in _VERSIONS.items() if revision >= _SINCE.get(place.partition(".")[0], 0)
    }
