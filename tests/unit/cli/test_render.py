"""Results as text: no joule without its origin."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from llenergymeasure.cli import render_result
from llenergymeasure.cli.render import memory_lines
from llenergymeasure.cli.studies import render_summary
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.memory.free import FreeMemory
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.machine.place import Job
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyBreakdown,
    EnergyMeasurement,
    FlopsResult,
    FlopsTerms,
    MemoryEstimate,
    ThermalThrottleInfo,
    WarmupResult,
)
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import ExperimentFailure, StudyResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit
from llenergymeasure.results.showing.lines import LABEL, WIDTH
from llenergymeasure.testing import fake_environment, fake_process_result
from tests.fakes.studies import summary_of

Source = Literal["counter", "integrated", "modelled"]

# The fake request: 3 input and 4 output tokens in a window of 2 s.


def result(**fields: Any) -> ExperimentResult:
    plan = ExperimentPlan.of(ExperimentConfig(model="org/a-model", name=fields.pop("name", None)))
    return ExperimentResult.from_processes([fake_process_result(plan).model_copy(update=fields)])


def with_energy(source: Source = "counter", joules: float | None = 80.0, **fields: Any) -> ExperimentResult:
    """With an energy of one device."""
    kind: Literal["gpu", "cpu"] = "cpu" if source == "modelled" else "gpu"
    device = DeviceEnergy(device="A", kind=kind, energy_j=joules, source=source)
    energy = EnergyMeasurement(joules, 2.0, 2, devices=(device,))
    return result(energy_backend="a-sensor", energy=energy, **fields)


def lines_of(text: str) -> list[str]:
    """The lines of a text, those that were broken beside a label in one again."""
    lines: list[str] = []
    for each in text.splitlines():
        if each.startswith(" " * LABEL) and lines and lines[-1]:
            lines[-1] += f" {each.strip()}"
        else:
            lines.append(each)
    return lines


def line(text: str, label: str) -> str:
    """The one line with this label."""
    (found,) = [row for row in lines_of(text) if row.startswith(label)]
    return found


def study_of(*outcomes: ExperimentResult | ExperimentFailure, output_dir: Path | None = None) -> str:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    study = StudyResult(
        name="s",
        start_time=now,
        end_time=now,
        experiments=[o for o in outcomes if isinstance(o, ExperimentResult)],
        failures=[o for o in outcomes if isinstance(o, ExperimentFailure)],
        output_dir=output_dir,
    )
    return render_summary.study(summary_of(study), output_dir, stopped=None)


def failure(name: str = "broken") -> ExperimentFailure:
    return ExperimentFailure(
        slot=1, name=name, measurement_config_hash="0" * 16, error_type="BackendError", message="no such weights"
    )


def test_the_log_of_one_that_failed_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    text = study_of(failure(), output_dir=tmp_path)
    assert line(text, "        log: ").endswith(f"{tmp_path}/runs/0001-{'0' * 16}/attempt-1/log.txt")


def test_the_figures_of_an_experiment_are_shown(tmp_path: Path) -> None:
    text = render_result.experiment(
        with_energy(peak_memory_mb=1234.4, flops_result=FlopsResult(value=2e9, method="palm", confidence="low")),
        tmp_path,
    )
    assert "3 in, 4 out; 1 of 1 requests ended at the limit" in line(text, "tokens")
    assert "2.00 output tok/s, 3.50 total tok/s, 0.500 req/s over 2.00 s" in line(text, "throughput")
    # A single request: it has no percentile but the median.
    assert line(text, "latency in s").split()[3:] == ["mean", "p50", "p90", "p99", "n"]
    assert line(text, "TTFT").split() == ["TTFT", "0.500", "0.500", "-", "-", "1"]
    assert line(text, "E2E").split() == ["E2E", "2.00", "2.00", "-", "-", "1"]
    assert "20.0 J per output token, 11.4 J per token" in line(text, "energy per token")
    assert "2.00e+09 (palm; confidence low)" in line(text, "FLOPs")
    assert "1,230 MB" in line(text, "peak memory")
    assert str(tmp_path) in line(text, "result")


def of_requests(n: int, n_each: int | None) -> ExperimentResult:
    """Of so many requests, in batches of so many, or by themselves."""
    (one,) = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m"))).requests
    requests = [
        replace(one, index=i, batch=None if n_each is None else i // n_each, sent_s=10.0 if n_each else 10.0 - i / n)
        for i in range(n)
    ]
    return result(requests=tuple(requests))


@pytest.mark.parametrize(("n", "n_each"), [(24, 8), (792, 8), (99, None), (100, None), (100, 1)])
def test_the_table_says_of_how_many_values_a_percentile_is_and_has_none_of_too_few(n: int, n_each: int | None) -> None:
    of = of_requests(n, n_each)
    text = render_result.experiment(of, None)
    head, row = line(text, "latency in s").split()[3:], line(text, "TTFT").split()[1:]
    n_independent = n // (n_each or 1)
    # Times between the tokens of a request are never independent.
    assert head == ["mean", "p50", "p90", "p99", "n", "independent"]
    found = dict(zip(head, row, strict=True))
    assert (found["n"], found["independent"]) == (str(n), str(n_independent))
    assert (found["p90"] != "-", found["p99"] != "-") == (n_independent >= 10, n_independent >= 100)
    in_batches = n_each not in (None, 1)
    assert ("TTFT and E2E count from the start of the batch" in text) == in_batches
    assert ("TTFT: from the start of the batch" in study_of(of)) == in_batches
    # The file has all of them.
    assert of.latency_stats is not None
    assert of.latency_stats.ttft_s is not None
    assert of.latency_stats.ttft_s.p99 > 0


def test_quality_stands_with_what_it_is_of_or_not_at_all() -> None:
    assert "quality" not in render_result.experiment(result(), None)
    found = QualityResult(
        text="~/a.txt", nll_nats=6000.0, n_scored_tokens=2000, n_bytes=8000, n_context_tokens=512
    ).worked_out()
    row = line(render_result.experiment(result(quality=found), None), "quality")
    assert row.endswith("perplexity 20.1, 1.08 bits per byte: 2,000 tokens of ~/a.txt, 512 at a time")
    of_tokens = replace(found, n_bytes=None).worked_out()
    assert "perplexity 20.1: 2,000" in render_result.experiment(result(quality=of_tokens), None)
    none = QualityResult(text="~/a.txt", why_not="there was no memory")
    assert line(render_result.experiment(result(quality=none), None), "quality").endswith("see the warnings")


def test_a_study_has_a_column_for_perplexity_where_some_row_asked_for_it() -> None:
    assert "perplexity" not in study_of(result())
    found = QualityResult(text="t", nll_nats=6000.0, n_scored_tokens=2000).worked_out()
    none = QualityResult(text="t", why_not="there was no memory")
    others = [result(quality=each).model_copy(update={"measurement_config_hash": f"{i:016d}"})
              for i, each in enumerate([none, None])]  # fmt: skip
    header, _, *rows = study_of(result(quality=found), *others).splitlines()
    at = header.index("perplexity")
    assert [row[at:].split()[0] for row in rows[:3]] == ["20.1", "-", "-"]


def test_what_the_model_did_stands_below_the_rule_as_far_as_it_is_known() -> None:
    phase = FlopsTerms(linear=3e12, attention=4e12, head=5e12)
    rule = FlopsResult(value=2e9, method="palm", confidence="high", number_format="bf16")
    known = replace(rule, prefill=phase, decode=replace(phase, head=6e12))
    assert "FLOPs, model" not in render_result.experiment(with_energy(flops_result=rule), None)
    # 25 TFLOP and 80 J.
    row = line(render_result.experiment(with_energy(flops_result=known), None), "FLOPs, model")
    assert row.endswith("2.50e+13: prefill 1.20e+13, decode 1.30e+13; 3.20 J/TFLOP")
    modelled = line(render_result.experiment(with_energy("modelled", flops_result=known), None), "FLOPs, model")
    assert modelled.endswith("3.20 J/TFLOP (modelled)")
    used = result(flops_result=known).model_copy(update={"mfu": 0.04567})
    assert line(render_result.experiment(used, None), "FLOPs, model").endswith("1.30e+13; MFU 4.57 % of dense bf16")


@pytest.mark.parametrize(
    ("source", "origin"), [("counter", "sensed"), ("integrated", "sensed"), ("modelled", "modelled")]
)
def test_the_origin_stands_next_to_the_energy(source: Source, origin: str) -> None:
    row = line(render_result.experiment(with_energy(source), None), "energy, raw")
    assert "80.0 J" in row
    assert origin in row
    assert "a-sensor" in row
    text = study_of(with_energy(source))
    assert "80" in line(text, "1  a-model-pytorch-bf16")
    beneath = line(text, "energy: ")
    assert origin in beneath
    assert "a-sensor" in beneath


def test_a_sensed_energy_says_how_accurate_its_sensor_is_and_a_modelled_one_does_not() -> None:
    assert "+-5 % (sensor)" in line(render_result.experiment(with_energy("counter"), None), "energy, raw")
    assert "%" not in line(render_result.experiment(with_energy("modelled"), None), "energy, raw")


def test_the_bound_of_the_window_and_the_cost_of_reading_are_shown_where_they_are_known() -> None:
    text = render_result.experiment(with_energy("counter"), None)
    assert "(window)" not in line(text, "energy, raw")
    assert "reading sensors" not in text
    update = {"energy_uncertainty_j": 1.25, "instrument_cpu_s": 0.03, "energy_aliasing_pct": 11.14}
    text = render_result.experiment(with_energy("counter").model_copy(update=update), None)
    assert "80.0 J +-1.2 J (window) +-11 % (aliasing) +-5 % (sensor)" in line(text, "energy, raw")
    # 0.03 s in a window of 2 s.
    assert "0.030 s of processor time, 1.50 % of a core" in line(text, "reading sensors")


def test_the_interval_stands_beside_the_energy_and_its_parts_below() -> None:
    update = {
        "energy_uncertainty_j": 1.25,
        "energy_aliasing_pct": 10.0,
        "energy_interval_j": (70.75, 89.25),
        "energy_interval_parts_j": {"edges": 1.0, "unseen": 0.25, "witness": 0.0, "aliasing": 8.0},
    }
    text = render_result.experiment(with_energy("counter").model_copy(update=update), None)
    assert "80.0 J in 70.8 to 89.2 J +-5 % (sensor)" in line(text, "energy, raw")
    assert "(window)" not in text
    assert line(text, "energy, interval").endswith("of +- J that add up: edges 1.00, unseen 0.250, aliasing 8.00")


def test_every_line_with_modelled_joules_says_so() -> None:
    text = render_result.experiment(with_energy("modelled"), None)
    rows = [row for row in lines_of(text) if re.search(r"\d J\b", row)]
    assert len(rows) == 2
    assert all("modelled" in row for row in rows)


def test_an_energy_whose_devices_are_not_known_is_not_called_unmeasured() -> None:
    known = result(energy_backend="a-sensor", energy=EnergyMeasurement(80.0, 2.0, 2))
    assert "80" in line(study_of(known), "1  a-model-pytorch-bf16")
    row = line(render_result.experiment(known, None), "energy, raw")
    assert "80" in row
    for text in (row, line(study_of(known), "energy: ")):
        assert "not measured" not in text
        assert "a-sensor" in text


@pytest.mark.parametrize("lost", [result(), with_energy(joules=None)])
def test_absent_energy_says_so_and_shows_no_joules(lost: ExperimentResult) -> None:
    text = render_result.experiment(lost, None)
    assert "none measured; see the warnings" in line(text, "energy")
    assert not re.search(r"\d J\b", text)
    assert "energy_unavailable" in text
    text = study_of(lost)
    assert line(text, "energy: ") == "energy: not measured"
    assert "J/out tok" not in text
    assert "sensed" not in text


def test_adjusted_and_net_energy_stand_beside_the_raw_one() -> None:
    breakdown = EnergyBreakdown(raw_j=80.0, adjusted_j=60.0, baseline_power_w=10.0, baseline_method="fresh")
    text = render_result.experiment(with_energy(energy_breakdown=breakdown, idle_loaded_power_w=15.0), None)
    assert "60.0 J" in line(text, "energy, adjusted")
    assert "10.0 W" in line(text, "energy, adjusted")
    assert "50.0 J" in line(text, "energy, net")  # 80 J - 15 W x 2 s
    assert "15.0 W" in line(text, "energy, net")


def test_bounds_stand_behind_what_they_are_of() -> None:
    breakdown = EnergyBreakdown(
        raw_j=80.0, adjusted_j=60.0, baseline_power_w=10.0, baseline_method="fresh", baseline_power_uncertainty_w=0.5
    )
    result = with_energy(
        energy_breakdown=breakdown, idle_loaded_power_w=15.0, idle_loaded_power_uncertainty_w=0.25, dither_pause_s=0.4
    )
    bounded = result.model_copy(
        update={
            "energy_breakdown": replace(breakdown, adjusted_uncertainty_j=4.0),
            "energy_net_of_loaded_idle_uncertainty_j": 12.0,
        }
    )
    text = render_result.experiment(bounded, None)
    assert "60.0 +-4 J after the idle baseline of 10.0 +-0.5 W" in line(text, "energy, adjusted")
    assert "50.0 +-12 J after loaded idle of 15.0 +-0.25 W" in line(text, "energy, net")
    assert "0.400 s of pauses are in the figures, about 6.00 J of them (loaded idle)" in line(text, "dither")


def test_every_warning_is_shown_whole_whatever_its_length() -> None:
    long = "nvml_low_sample_count: " + " ".join(f"word{i}" for i in range(60))
    text = render_result.experiment(
        result(measurement_warnings=(MeasurementWarning("first", "do this"), MeasurementWarning.of(long))), None
    )
    assert "first: do this" in line(text, "warnings")
    assert long in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= WIDTH


HOT = MeasurementWarning("gpu_throttled", "the power cap lowered the clocks")
OTHERS = MeasurementWarning("foreign_load_high", "others took 87 %")


@pytest.mark.parametrize(
    ("warnings", "said"),
    [
        ((), "the energy is citable"),
        ((HOT,), "the energy is questionable: gpu_throttled"),
        ((HOT, OTHERS), "the energy is not citable: foreign_load_high"),
    ],
)
def test_whether_the_energy_may_be_cited_is_shown_with_what_decided_it(
    warnings: tuple[MeasurementWarning, ...], said: str
) -> None:
    found = with_energy(measurement_warnings=warnings)
    assert line(render_result.experiment(found, None), "validity").endswith(said)
    verdict, _, flags = said.partition(": ")
    assert (f"note: {verdict} ({flags})" in study_of(found)) == (verdict != "the energy is citable")


def test_without_warnings_it_says_none() -> None:
    assert line(render_result.experiment(result(measurement_warnings=()), None), "warnings").endswith("none")


def test_throttling_is_shown_with_its_reason_only_when_there_was_some() -> None:
    hot = ThermalThrottleInfo(detected=True, thermal=True, power=True, throttle_duration_sec=1.5)
    assert line(render_result.experiment(result(thermal_throttle=hot), None), "throttling").endswith(
        "for 1.5 s (heat and power cap)"
    )
    assert "throttling" not in render_result.experiment(result(thermal_throttle=ThermalThrottleInfo()), None)


def test_failures_stand_below_with_their_reason(tmp_path: Path) -> None:
    text = study_of(with_energy(name="good"), failure(), output_dir=tmp_path)
    assert line(text, "failed: broken") == "failed: broken: BackendError: no such weights"
    assert "2 experiments, 1 failed" in text
    assert str(tmp_path) in text
    assert "note: energy_unavailable" in text


def test_a_study_in_which_all_failed_says_why() -> None:
    text = study_of(failure("a"), failure("b"))
    assert line(text, "failed: a") == "failed: a: BackendError: no such weights"
    assert "2 experiments, 2 failed" in text
    assert "not written" in text


def test_why_a_study_stopped_stands_beneath_its_table() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    stopped = StudyResult(name="s", start_time=now, end_time=now, experiments=[with_energy()], failures=[], n_planned=3)
    lines = render_summary.study(summary_of(stopped), None, stopped="enough").splitlines()
    assert lines[-3:] == [
        "1 experiments, 0 failed, 2 of 3 not run",
        "stopped: enough",
        "results: not written (no output folder)",
    ]


@pytest.mark.parametrize(
    ("early", "said"), [(False, "; then 60 s of thermal floor"), (True, "; then 60 s of thermal floor, ended early")]
)
def test_a_floor_that_ended_early_is_said_to_have(early: bool, said: str) -> None:
    warmup = WarmupResult(
        converged=True,
        final_cv=None,
        iterations_completed=1,
        target_cv=0.05,
        max_prompts=1,
        thermal_floor_wait_s=60.0,
        thermal_floor_ended_early=early,
    )
    assert line(render_result.experiment(with_energy(warmup_result=warmup), None), "warm-up").endswith(said)


def test_several_processes_are_counted_and_one_is_not_worth_a_line() -> None:
    plan = ExperimentPlan.of(ExperimentConfig(model="m"))
    shared = {"n_processes": 2, "parallelism": "tensor"}
    raws = [fake_process_result(plan).model_copy(update={"process_index": i, **shared}) for i in range(2)]
    text = render_result.experiment(ExperimentResult.from_processes(raws), None)
    assert line(text, "processes").split(maxsplit=1)[1] == "2 (tensor parallel)"
    assert "processes" not in render_result.experiment(result(), None)


def test_weights_that_were_not_read_and_an_adapter_stand_behind_the_model() -> None:
    assert line(render_result.experiment(result(), None), "model").endswith("org/a-model, bf16")
    other = ModelDescription(
        engine="fake", engine_version="1", weights="random, seed 42", adapter="lora, rank 4, alpha 8, merged"
    )
    row = line(render_result.experiment(result(model=other), None), "model")
    assert row.endswith("org/a-model, bf16, weights not read: random, seed 42, adapter (lora, rank 4, alpha 8, merged)")


MEMORY = MemoryEstimate(weights_mb=6000.0, kv_cache_mb=2000.0, activations_mb=500.0, overhead_mb=700.0)
FREE = FreeMemory(where="on GPU 0 (Fake)", free_mb=9200.0)


@pytest.mark.parametrize(
    ("fit", "lines"),
    [
        (
            MemoryFit(MEMORY, FREE),
            [
                "memory: a run adds 9,200 MB (weights 6,000, KV cache 2,000, activations 500, libraries and slack 700)",
                "memory: 9,200 MB are free on GPU 0 (Fake): it fits",
            ],
        ),
        (
            MemoryFit(replace(MEMORY, kv_cache_mb=None, unknown=("KV cache: why",)), FREE),
            [
                "memory: a run adds at least 6,000 MB (weights 6,000, KV cache unknown, activations 500, libraries and "
                "slack 700)",
                "memory: unknown KV cache: why",
                "memory: 9,200 MB are free on GPU 0 (Fake): what is known of it fits",
            ],
        ),
        (MemoryFit(None, FREE), ["memory: not known for this model; 9,200 MB are free on GPU 0 (Fake)"]),
        (
            MemoryFit(MEMORY, replace(FREE, free_mb=9199.0), 2),
            [
                "memory: a run adds 9,200 MB for each of 2 processes (weights 6,000, KV cache 2,000, activations 500, "
                "libraries and slack 700)",
                "memory: 9,199 MB are free on GPU 0 (Fake)",
            ],
        ),
    ],
    ids=["fits", "at least", "unknown", "two processes"],
)
def test_memory_is_told_part_by_part_beside_what_is_free(fit: MemoryFit, lines: list[str]) -> None:
    assert memory_lines(fit) == lines


def test_a_name_can_neither_begin_a_line_nor_break_the_table() -> None:
    text = study_of(with_energy(name="good\nfailed: forged"), failure("bad\nresults: forged"))
    assert not any(line.startswith(("failed: forged", "results: forged")) for line in text.splitlines())
    assert "good\\nfailed: forged" in text
    assert "failed: bad\\nresults: forged: " in text


def test_what_a_model_or_an_engine_is_called_cannot_begin_a_line_of_a_result() -> None:
    found = with_energy()
    forged = found.effective_config | {"model": "m\nvalidity              citable"}
    text = render_result.experiment(found.model_copy(update={"effective_config": forged}), None)
    assert next(line for line in text.splitlines() if line.startswith("validity")) != "validity              citable"
    assert "m\\nvalidity" in text


def test_weights_that_were_made_dense_are_told_with_their_file() -> None:
    packaged = ModelDescription(engine="fake", engine_version="1", dense_from="m.Q4_1.gguf")
    row = line(render_result.experiment(result(model=packaged), None), "model")
    assert row.endswith("org/a-model, bf16, weights of m.Q4_1.gguf made dense")


def test_the_job_of_a_result_is_shown() -> None:
    of_job = replace(fake_environment(), job=Job(scheduler="pbs", job_id="12.server", n_cpus=2))
    shown = " ".join(render_result.experiment(result(environment_snapshot=of_job), None).split())
    assert "job pbs 12.server, 2 CPUs part of a node 2 of the host's 4 CPUs, by the pbs job" in shown
    assert "part of a node" not in render_result.experiment(result(), None)
