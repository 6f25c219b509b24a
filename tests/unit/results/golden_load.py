"""A measurement under load of which every figure of a result can be worked out.

``python -m tests.unit.results.golden_load`` writes it as a golden result of the present revision, with the raw result
that it is made of. As ``recorded``, that is for a revision that no version was published with.
"""

import shutil
from datetime import UTC, datetime, timedelta

from llenergymeasure.config.load import LoadConfig, SLOConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.inference import ModelDescription, RequestOutput, tokens_digest
from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyBreakdown, EnergyMeasurement, WarmupResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import SCHEMA_REVISION
from llenergymeasure.domain.telemetry import integrate_power_j
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.domain.window import InFlight
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing import fake_process_result
from tests.unit.results.recorded import GOLDEN

FOLDER = GOLDEN / f"revision-{SCHEMA_REVISION}" / "load"
_START = datetime(2026, 1, 1, 12, tzinfo=UTC)
# The window is from 100 to 120 s, in ten parts of two.
START_S, END_S = 100.0, 120.0
# How many long requests come in each part; in each two short ones do.
N_LONG = (0, 1, 2, 1, 0, 2, 1, 0, 2, 1)
# Watts in each part, which grow with the long ones.
POWER_W = tuple(90.0 + 20.0 * n + (0.5 if k % 2 else -0.5) for k, n in enumerate(N_LONG))


def raw() -> RawProcessResult:
    """What the process measured."""
    config = ExperimentConfig(
        model="a/model",
        name="golden",
        n=40,
        load=LoadConfig(rate=1.5, duration_s=25.0, ramp_s=5.0),
        slo=SLOConfig(ttft_p95_s=0.5, tpot_p95_s=0.25, e2e_p95_s=2.0),
    )
    plan = ExperimentPlan.of(config)
    energy = _energy()
    return fake_process_result(plan).model_copy(
        update={
            "experiment_id": "golden",
            "measurement_config_hash": plan.config_hash,
            "model": ModelDescription(engine="fake", engine_version="1.0", n_parameters=1000),
            "requests": tuple(_requests()),
            "start_time": _START,
            "end_time": _START + timedelta(seconds=END_S - START_S),
            "window_start_s": START_S,
            "window_end_s": END_S,
            "energy_backend": "hwmon",
            "energy": energy,
            "energy_breakdown": EnergyBreakdown(
                raw_j=energy.total_j, adjusted_j=(energy.total_j or 0.0) - 50.0 * 20, baseline_power_w=50.0,
                baseline_method="fresh", baseline_timestamp=1767225630.0, baseline_cache_age_sec=0.0,
                baseline_power_uncertainty_w=0.5, adjusted_uncertainty_j=4.0 + 0.5 * 20,
            ),
            "idle_loaded_power_w": 60.0,
            "idle_loaded_power_uncertainty_w": 0.5,
            "measurement_methodology": "windowed",
            "steady_state_window": (5.0, 25.0),
            "n_requests_excluded": 5,
            "in_flight": InFlight(n_at_start=1, n_at_end=1),
            "n_requests_failed": 1,
            "warmup_result": WarmupResult(
                converged=True, final_cv=None, iterations_completed=2, target_cv=0.05, max_prompts=20,
                latencies_ms=(500.0, 510.0),
            ),
            "load": LoadRecord(
                kind="rate", began_s=95.0, ended_s=END_S, n_arrived=39, rate_per_s=1.5, began_by="ramp",
                ended_by="duration", sub_windows_s=tuple(START_S + 2.0 * k for k in range(11)), generator_cpu_s=0.25,
                arrivals_digest="4" * 64,
            ),
            "measurement_warnings": (),
        }
    )  # fmt: skip


def _requests() -> list[RequestOutput]:
    """One that began before, two short ones and so many long ones in each part; the tenth failed, the last is cut."""
    found = [_short(0, 99.75, late_s=0.0)]
    for part, n_long in enumerate(N_LONG):
        at_s = START_S + 2.0 * part
        found += [_short(len(found) + i, at_s + 0.25 + i, late_s=0.001 * (part + 1)) for i in range(2)]
        found += [_long(len(found) + i, at_s + 0.5 + 0.125 * i) for i in range(n_long)]
    lost = found[10]
    found[10] = RequestOutput(
        index=10, input_tokens=lost.input_tokens, output_tokens=0, finish_reason="error", output_digest=tokens_digest(),
        due_s=lost.due_s, sent_s=lost.sent_s, end_s=(lost.sent_s or 0.0) + 0.5, error="no answer within 0.5 s",
        error_kind="timeout", counted_by="usage",
    )  # fmt: skip
    return [*found, _long(len(found), 119.25)]


def _short(index: int, due_s: float, late_s: float) -> RequestOutput:
    """Three tokens, told one by one: after 0.25 s and each eighth of a second after that."""
    times_s = tuple(due_s + 0.25 + 0.125 * i for i in range(3))
    ids = (index, index + 1, index + 2)
    return RequestOutput(
        index=index, input_tokens=4, output_tokens=3, finish_reason="stop", output_digest=tokens_digest(ids),
        due_s=due_s, sent_s=due_s + late_s, first_token_s=times_s[0], token_times_s=times_s, end_s=times_s[-1],
    )  # fmt: skip


def _long(index: int, due_s: float) -> RequestOutput:
    """Eight tokens in four parts, after 0.375 s and each quarter after that; two tokens of its prompt were known."""
    times_s = tuple(due_s + 0.375 + 0.25 * i for i in range(4))
    return RequestOutput(
        index=index, input_tokens=6, output_tokens=8, finish_reason="length", output_digest=f"{index:064x}",
        due_s=due_s, sent_s=due_s + 0.002, first_token_s=times_s[0], chunk_times_s=times_s, end_s=times_s[-1],
        cached_tokens=2, counted_by="usage",
    )  # fmt: skip


def _energy() -> EnergyMeasurement:
    """A meter of the machine that is read five times a second."""
    times = [99.0 + 0.2 * i for i in range(111)]
    reads = tuple(Reading(t, POWER_W[min(max(int((t - START_S) // 2), 0), 9)]) for t in times)
    trace = DeviceTrace(
        device="power meter", sensor="hwmon", start_s=START_S, end_s=END_S,
        facts={"power_averaged_s": 0.2, "power_polled_s": 0.2}, readings=(Readings(kind="power", reads=reads),),
    )  # fmt: skip
    # The steps between parts are slopes between two readings, which the first and the last reading of a part see.
    energy_j = integrate_power_j([r.time_s for r in reads], [r.value for r in reads], start_s=START_S, end_s=END_S)
    row = DeviceEnergy(
        device="power meter", kind="host", energy_j=energy_j, source="integrated", uncertainty_j=4.0,
        uncertainty_parts_j={"integration": 3.0, "averaging": 1.0}, update_period_s=0.2, field="power1_average",
        sensor="hwmon", scope="host", headline=True, duration_sec=END_S - START_S,
    )  # fmt: skip
    return EnergyMeasurement(energy_j, END_S - START_S, 111, devices=(row,), uncertainty_j=4.0, trace=(trace,))


def write() -> None:
    """Write the golden result, in the place of the one that is there."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    found = [raw()]
    save_result(aggregate_processes(found, write_sidecars(FOLDER, found)), FOLDER)
    write_process_result(found[0], FOLDER / ".state")
    mark_done(FOLDER)


if __name__ == "__main__":
    write()
