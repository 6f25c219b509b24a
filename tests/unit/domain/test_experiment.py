"""The figures of a result from the processes that measured them, added up by hand."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.domain.assembly import distinct_samples
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyBreakdown,
    EnergyMeasurement,
    FlopsResult,
    ThermalThrottleInfo,
    WarmupResult,
)
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import ExperimentFailure, StudyResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from tests.fakes.effort import examples
from tests.unit.domain.conftest import START, MakeProcess, breakdown, gpu, measured, request

of = ExperimentResult.from_processes


def throttled(**flags: bool | float | None) -> ThermalThrottleInfo:
    return ThermalThrottleInfo(**{"detected": True, **flags})  # type: ignore[arg-type]


def test_one_process_is_its_own_result(process: MakeProcess) -> None:
    # Two requests: 3 + 5 tokens in, 4 + 6 out, 2 s, 100 J; 20 W idle when loaded, 5 W before.
    raw = process(devices=[gpu("G", 100.0, uncertainty_j=1.5)], baseline_w=5.0, idle_loaded_power_w=20.0)
    result = of([raw])
    assert (result.n_requests, result.input_tokens, result.output_tokens, result.total_tokens) == (2, 8, 10, 18)
    assert result.duration_sec == 2.0
    assert (result.tokens_per_second, result.total_tokens_per_second, result.requests_per_second) == (5.0, 9.0, 1.0)
    assert result.total_energy_j == result.energy_total_j == 100.0
    assert result.energy_per_output_token_j == 10.0
    assert result.avg_energy_per_token_j == pytest.approx(100 / 18)
    assert result.energy_per_request_j == 50.0
    assert (result.baseline_power_w, result.energy_adjusted_j) == (5.0, 90.0)
    assert (result.idle_loaded_power_w, result.energy_net_of_loaded_idle_j) == (20.0, 60.0)
    assert (result.energy_uncertainty_j, result.sensor_accuracy_pct) == (1.5, 5.0)
    assert [d.device for d in result.energy_devices] == ["G"]
    assert result.warmup_excluded_samples == 5
    assert result.aggregation is None
    assert len(result.process_results) == 1
    assert result.schema_version == "2.0"
    assert "G" in result.reproducibility_notes
    assert (result.start_time, result.end_time) == (START + timedelta(seconds=10), START + timedelta(seconds=12))


def test_data_parallel_processes_are_summed_over_requests_and_devices(process: MakeProcess) -> None:
    raws = [
        process(0, 2, window=(10, 12), devices=[gpu("A", 100.0)], baseline_w=10.0, peak_memory_mb=3.0),
        process(1, 2, window=(11, 15), devices=[gpu("B", 300.0)], baseline_w=20.0, peak_memory_mb=4.0),
    ]
    result = of(raws)
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (4, 16, 20)
    assert result.duration_sec == 5.0  # 10 to 15
    assert result.tokens_per_second == 4.0
    assert result.total_energy_j == 400.0
    assert result.energy_per_output_token_j == 20.0
    assert {d.device: d.energy_j for d in result.energy_devices} == {"A": 100.0, "B": 300.0}
    # 10 W for 2 s and 20 W for 4 s
    assert result.energy_adjusted_j == 300.0
    assert result.baseline_power_w == 30.0
    assert result.peak_memory_mb == 7.0
    assert [(p.process_index, p.energy_j, p.devices) for p in result.process_results] == [
        (0, 100.0, ("A",)),
        (1, 300.0, ("B",)),
    ]
    assert result.aggregation is not None
    assert (result.aggregation.n_processes, result.aggregation.parallelism) == (2, "data")
    assert result.latency_stats is not None
    assert result.latency_stats.e2e_s is not None
    assert result.latency_stats.e2e_s.n == 4
    assert result.environment_snapshot.platform == "machine 0"


@pytest.mark.parametrize(
    ("second", "names"), [((11, 15), ("A", "B")), ((10, 14), ("A", "A"))], ids=["uneven", "one device"]
)
def test_what_energy_beyond_idling_was_made_of_can_be_worked_out_from_the_result_alone(
    process: MakeProcess, second: tuple[float, float], names: tuple[str, str]
) -> None:
    raws = [
        process(i, 2, window=window, devices=[gpu(names[i], 100.0 + i)], baseline_w=10.0, idle_loaded_power_w=12.0 + i)
        for i, window in enumerate([(10.0, 12.0), second])
    ]
    result = of(raws)
    # Of those that read the same devices the one that did so for longest.
    longest = {
        p.counted_devices: p for p in sorted(result.process_results, key=lambda p: p.energy_window_s or 0.0)
    }.values()
    for kind, found in (
        ("baseline_power_w", result.energy_adjusted_j),
        ("idle_loaded_power_w", result.energy_net_of_loaded_idle_j),
    ):
        idled_j = sum(getattr(p, kind) * (p.energy_window_s or 0.0) for p in longest)
        assert result.total_energy_j is not None
        assert found == pytest.approx(result.total_energy_j - idled_j)
        assert idled_j > 0


def test_the_order_in_which_processes_arrive_does_not_matter(process: MakeProcess) -> None:
    raws = [process(i, 3, window=(10, 12 + i), devices=[gpu(f"G{i}", 10.0 * i)], baseline_w=1.0) for i in range(3)]
    results = [of(order) for order in permutations(raws)]
    assert all(result == results[0] for result in results)
    assert results[0].environment_snapshot.platform == "machine 0"


def test_tensor_parallel_tokens_count_once_and_energy_per_device(process: MakeProcess) -> None:
    shared = (request(0), request(1, 5, 6))
    flops = FlopsResult(value=8.0, method="palm", confidence="high")
    raws = [
        process(i, 2, parallelism="tensor", requests=shared, devices=[gpu(f"G{i}", 100.0)], flops_result=flops)
        for i in range(2)
    ]
    result = of(raws)
    assert (result.n_requests, result.input_tokens, result.output_tokens) == (2, 8, 10)
    assert result.total_energy_j == 200.0
    assert result.energy_per_output_token_j == 20.0
    assert result.total_flops == 8.0
    assert result.tokens_per_second == 5.0


def test_a_device_seen_by_two_processes_counts_once(process: MakeProcess) -> None:
    raws = [process(i, 2, devices=[gpu("A", 100.0)], baseline_w=10.0) for i in range(2)]
    result = of(raws)
    assert result.total_energy_j == 100.0
    assert len(result.energy_devices) == 1
    assert (result.baseline_power_w, result.energy_adjusted_j) == (10.0, 80.0)


def test_of_two_readings_of_a_device_the_longer_window_counts_for_energy_and_baseline_alike(
    process: MakeProcess,
) -> None:
    raws = [
        process(0, 2, window=(10, 12), devices=[gpu("A", 100.0)], baseline_w=10.0),
        process(1, 2, window=(10, 14), devices=[gpu("A", 180.0)], baseline_w=10.0),
    ]
    result = of(raws)
    assert result.total_energy_j == 180.0
    assert result.energy_adjusted_j == 140.0  # 10 W for the 4 s in which the 180 J were used


def test_where_processes_chose_other_readings_of_a_device_each_is_listed_once_and_the_longer_ones_choice_counts(
    process: MakeProcess,
) -> None:
    def read(zeus_j: float, nvml_j: float, headline: str) -> list[DeviceEnergy]:
        return [
            replace(gpu("G", joules), sensor=sensor, headline=sensor == headline)
            for sensor, joules in (("zeus", zeus_j), ("nvml", nvml_j))
        ]

    short = process(0, 2, window=(10.0, 12.0), devices=read(101.0, 100.0, "zeus"))
    long = process(1, 2, window=(10.0, 14.0), devices=read(203.0, 200.0, "nvml"))
    for raws in ([short, long], [long, short]):
        result = of(raws)
        assert result.total_energy_j == 200.0
        listed = [(d.sensor, d.energy_j, d.headline) for d in result.energy_devices]
        assert sorted(listed, key=str) == [("nvml", 200.0, True), ("zeus", 203.0, False)]


def test_a_device_that_only_the_shorter_window_counts_is_counted(process: MakeProcess) -> None:
    counted = replace(gpu("G", 100.0), sensor="nvml", headline=True)
    other = replace(gpu("H", 50.0), sensor="nvml", headline=True)
    short = process(0, 2, window=(10.0, 12.0), devices=[counted])
    long = process(1, 2, window=(10.0, 14.0), devices=[other, replace(counted, energy_j=200.0, headline=False)])
    assert of([short, long]).total_energy_j == 150.0


def test_a_device_that_no_process_read_for_the_whole_time_is_told(process: MakeProcess) -> None:
    apart = [process(i, 2, window=(10 + i, 70 + i), devices=[gpu("A", 6000.0)]) for i in range(2)]
    (warning,) = of(apart).measurement_warnings
    assert warning.startswith("energy_of_a_part: A was used by several processes and read for 60 of 61 s")
    for devices in (["A", "A"], ["A", "B"]):
        covered = [process(i, 2, window=(10, 70 + i), devices=[gpu(devices[i], 6000.0)]) for i in range(2)]
        assert of(covered).measurement_warnings == []


def test_warm_up_is_that_of_all_processes(process: MakeProcess) -> None:
    steady = WarmupResult(converged=True, final_cv=0.01, iterations_completed=3, target_cv=0.05, max_prompts=9)
    never = replace(steady, converged=False, final_cv=0.4, iterations_completed=9, n_failed=1)
    raws = [process(i, 2, warmup_result=warmup) for i, warmup in enumerate([steady, never])]
    result = of(raws)
    assert (result.warmup_result.converged, result.warmup_result.final_cv) == (False, 0.4)
    assert (result.warmup_result.n_failed, result.warmup_excluded_samples) == (1, 12)
    shared = (request(0),)
    split = [process(i, 2, parallelism="tensor", requests=shared, warmup_result=steady) for i in range(2)]
    assert of(split).warmup_excluded_samples == 3


def test_a_parameter_that_differs_between_processes_is_given_for_each(process: MakeProcess) -> None:
    raws = [process(i, 2) for i in range(2)]
    raws = [
        raw.model_copy(update={"model": replace(raw.model, parameters={"device": f"cuda:{i}", "dtype": "bfloat16"})})
        for i, raw in enumerate(raws)
    ]
    assert of(raws).model.parameters == {"device": ["cuda:0", "cuda:1"], "dtype": "bfloat16"}


def test_others_on_the_processors_are_those_that_the_most_was_seen_of(process: MakeProcess) -> None:
    assert of([process(i, 2, foreign_cpu_pct=pct) for i, pct in enumerate([1.5, 2.5])]).foreign_cpu_pct == 2.5
    assert of([process(0, 1)]).foreign_cpu_pct is None


def test_the_baseline_of_a_device_in_two_overlapping_sets_is_not_taken_off_twice(process: MakeProcess) -> None:
    # 10 W for each of three devices over 2 s is 60 J; the two sets of two would make it 80 J.
    raws = [
        process(0, 2, devices=[gpu("A", 100.0), gpu("B", 100.0)], baseline_w=20.0),
        process(1, 2, devices=[gpu("B", 100.0), gpu("C", 100.0)], baseline_w=20.0),
    ]
    result = of(raws)
    assert result.total_energy_j == 300.0
    assert result.energy_adjusted_j is None or result.energy_adjusted_j == pytest.approx(240.0)


def test_a_baseline_missing_in_one_process_leaves_the_energy_unadjusted(process: MakeProcess) -> None:
    raws = [
        process(0, 2, devices=[gpu("A", 100.0)], baseline_w=10.0),
        process(1, 2, devices=[gpu("B", 100.0)], baseline_w=None),
    ]
    result = of(raws)
    assert (result.total_energy_j, result.energy_adjusted_j, result.baseline_power_w) == (200.0, None, None)
    assert result.energy_breakdown is not None
    assert result.energy_breakdown.baseline_method == "unavailable"
    assert result.energy_breakdown.raw_j == 200.0


@pytest.mark.parametrize("lost", [None, [gpu("B", None)]])
def test_energy_missing_in_one_process_is_no_energy_at_all(
    process: MakeProcess, lost: list[DeviceEnergy] | None
) -> None:
    result = of([process(0, 2, devices=[gpu("A", 100.0)], baseline_w=10.0), process(1, 2, devices=lost)])
    absent = (
        result.total_energy_j,
        result.energy_adjusted_j,
        result.energy_per_output_token_j,
        result.avg_energy_per_token_j,
        result.energy_per_request_j,
        result.energy_uncertainty_j,
        result.sensor_accuracy_pct,
    )
    assert absent == (None,) * 7
    assert "not obtained" in result.reproducibility_notes
    assert result.output_tokens == 20
    assert result.tokens_per_second == 10.0


def test_no_energy_is_null_and_never_zero(process: MakeProcess) -> None:
    result = of([process()])
    assert result.total_energy_j is None
    assert (result.energy_breakdown, result.energy_devices, result.energy_backend) == (None, (), None)
    assert result.reproducibility_notes


def test_without_output_tokens_there_is_no_energy_per_output_token(process: MakeProcess) -> None:
    empty = request(0, 3, 1).__class__(index=0, input_tokens=3, output_tokens=0, finish_reason="stop", output_digest="")
    result = of([process(requests=(empty,), devices=[gpu("A", 6.0)])])
    assert result.energy_per_output_token_j is None
    assert result.avg_energy_per_token_j == 2.0
    assert result.tokens_per_second == 0.0


def test_the_bound_that_a_source_gives_for_its_total_is_kept(process: MakeProcess) -> None:
    energy = measured([gpu("A", 100.0)], 2.0, uncertainty_j=1.5)
    assert of([process(energy=energy, energy_backend="zeus")]).energy_uncertainty_j == 1.5


def test_a_source_that_names_no_device_counts_only_in_a_single_process(process: MakeProcess) -> None:
    bare = EnergyMeasurement(50.0, 2.0, 10)
    assert of([process(energy=bare, energy_backend="wattmeter")]).total_energy_j == 50.0
    assert of([process(i, 2, energy=bare, energy_backend="wattmeter") for i in range(2)]).total_energy_j is None


def test_flops_are_summed_over_data_parallel_processes_if_all_know_them(process: MakeProcess) -> None:
    known = [process(i, 2, flops_result=FlopsResult(value=3.0 + i, method="palm", confidence="high")) for i in range(2)]
    assert of(known).total_flops == 7.0
    assert of([known[0], process(1, 2)]).total_flops is None
    assert of([process(0, 2), known[1]]).total_flops is None


def test_throttling_in_any_process_is_throttling(process: MakeProcess) -> None:
    raws = [
        process(0, 3, thermal_throttle=ThermalThrottleInfo(max_temperature_c=60.0)),
        process(1, 3, thermal_throttle=throttled(thermal=True, hw_thermal=True, throttle_duration_sec=1.5)),
        process(2, 3),
    ]
    info = of(raws).thermal_throttle
    assert info == throttled(thermal=True, hw_thermal=True, throttle_duration_sec=1.5, max_temperature_c=60.0)
    assert of([process()]).thermal_throttle is None


def test_warnings_name_their_process_where_there_are_several(process: MakeProcess) -> None:
    x, y = MeasurementWarning("a", "x"), MeasurementWarning("b", "y")
    assert of([process(measurement_warnings=(x, y))]).measurement_warnings == ["a: x", "b: y"]
    raws = [process(0, 2, measurement_warnings=(x,)), process(1, 2, measurement_warnings=(x,))]
    assert of(raws).measurement_warnings == ["a: x [each of 2 processes]"]
    raws = [process(i, 3, measurement_warnings=(x,) if i else (y,)) for i in range(3)]
    assert of(raws).measurement_warnings == ["b: y [process 0]", "a: x [process 1, 2]"]


@pytest.mark.parametrize(
    ("second", "flags"),
    [
        # Common to both are 1.9 of 2.1 s, 1.9 of 2.2 s, and nothing.
        ((10.1, 12.1), []),
        ((10.0, 11.9), []),
        ((10.1, 12.2), ["uneven_processes"]),
        ((11.0, 13.0), ["uneven_processes"]),
        ((12.0, 14.0), ["windows_do_not_overlap"]),
        ((20.0, 22.0), ["windows_do_not_overlap"]),
    ],
)
def test_windows_that_do_not_lie_over_each_other_are_a_warning(
    process: MakeProcess, second: tuple[float, float], flags: list[str]
) -> None:
    result = of([process(0, 2, window=(10.0, 12.0)), process(1, 2, window=second)])
    assert [w.split(":")[0] for w in result.measurement_warnings] == flags


@pytest.mark.parametrize(
    ("indices", "n", "says"),
    [([], 2, "no process"), ([0], 2, "found"), ([1], 2, "found"), ([0, 0], 2, "found"), ([0, 1, 2], 2, "found")],
)
def test_a_missing_or_repeated_process_is_refused(process: MakeProcess, indices: list[int], n: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        of([process(i, n) for i in indices])


def test_processes_of_two_experiments_are_refused(process: MakeProcess) -> None:
    with pytest.raises(ValueError, match="different experiments"):
        of([process(0, 2), process(1, 2, experiment_id="other")])


@settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    shares=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True), min_size=1, max_size=5),
    joules=st.lists(st.floats(0, 1e6), min_size=6, max_size=6),
)
def test_the_total_is_the_sum_over_distinct_devices(
    process: MakeProcess, shares: list[list[int]], joules: list[float]
) -> None:
    raws: list[RawProcessResult] = [
        process(i, len(shares), devices=[gpu(f"G{d}", joules[d]) for d in share]) for i, share in enumerate(shares)
    ]
    distinct = {d for share in shares for d in share}
    result = of(raws)
    assert result.total_energy_j == pytest.approx(sum(joules[d] for d in distinct))
    assert len(result.energy_devices) == len(distinct)


def test_results_are_frozen_and_refuse_unknown_fields(process: MakeProcess) -> None:
    result = of([process()])
    with pytest.raises(ValidationError, match="frozen"):
        result.name = "other"
    with pytest.raises(ValidationError, match="surprise"):
        ExperimentResult.model_validate({**result.model_dump(), "surprise": 1})


def test_other_names_for_fields_are_not_written(process: MakeProcess) -> None:
    written = of([process(devices=[gpu("A", 1.0)])]).model_dump(mode="json")
    assert set(written).isdisjoint({"energy_total_j", "total_flops"})
    assert written["total_energy_j"] == 1.0


def test_an_identity_is_written_once_in_fields_of_the_result(process: MakeProcess) -> None:
    identity = ModelIdentity(revision="c", weights_digest="w", adapter_digest="a", draft_digest="d")
    result = of([process(identity=identity)])
    assert (result.model_revision, result.weights_digest, result.adapter_digest, result.draft_digest) == tuple("cwad")
    assert not {"revision", "weights_digest", "adapter_digest", "draft_digest"} & set(result.model_dump()["model"])
    assert of([process()]).weights_digest is None


def test_a_raw_process_keeps_its_identity_in_its_file(process: MakeProcess) -> None:
    raw = process(identity=ModelIdentity(weights_digest="w"))
    assert RawProcessResult.model_validate_json(raw.model_dump_json()).identity == ModelIdentity(weights_digest="w")


def test_drawn_weights_are_in_the_notes(process: MakeProcess) -> None:
    drawn = ModelDescription(engine="fake", engine_version="1", weights="random, seed 3")
    assert "Weights: random, seed 3;" in of([process(model=drawn)]).reproducibility_notes
    assert "Weights" not in of([process()]).reproducibility_notes


def test_a_study_counts_what_was_tried(process: MakeProcess) -> None:
    failure = ExperimentFailure(
        slot=1, name="b", measurement_config_hash="0" * 16, error_type="BackendError", message="no such model"
    )
    study = StudyResult(name="s", start_time=START, end_time=START, experiments=[of([process()])], failures=[failure])
    assert study.n_experiments == 2
    assert (study.schema_version, study.output_dir) == ("2.0", None)


def test_loaded_idle_of_other_devices_is_summed_and_of_the_same_ones_counted_once(process: MakeProcess) -> None:
    windows = [(10.0, 12.0), (10.0, 14.0)]
    apart = of([
        process(i, 2, window=windows[i], devices=[gpu(f"G{i}", 200.0)], idle_loaded_power_w=[20.0, 30.0][i])
        for i in range(2)
    ])  # fmt: skip
    assert apart.idle_loaded_power_w == 50.0
    assert apart.energy_net_of_loaded_idle_j == 240.0  # 400 J less 20 W for 2 s and 30 W for 4 s
    same = of([
        process(i, 2, window=windows[i], devices=[gpu("G", [150.0, 200.0][i])], idle_loaded_power_w=[20.0, 30.0][i])
        for i in range(2)
    ])  # fmt: skip
    assert same.idle_loaded_power_w == 30.0  # that of the longer window, as the energy
    assert same.energy_net_of_loaded_idle_j == 80.0  # 200 J less 30 W for 4 s


def test_bounds_of_what_is_left_add_up_over_devices_and_of_the_same_ones_count_once(process: MakeProcess) -> None:
    def idled(bound_w: float, seconds: float, raw_j: float, bound_j: float) -> EnergyBreakdown:
        found = breakdown(raw_j, 10.0, seconds)
        return replace(found, baseline_power_uncertainty_w=bound_w, adjusted_uncertainty_j=bound_j)

    windows = [(10.0, 12.0), (10.0, 14.0)]

    def of_two(names: Sequence[str]) -> ExperimentResult:
        return of([
            process(
                i, 2, window=windows[i], devices=[gpu(names[i], [150.0, 200.0][i], uncertainty_j=[3.0, 5.0][i])],
                energy_breakdown=idled([0.5, 0.7][i], 2.0 + 2 * i, [150.0, 200.0][i], 99.0),
                idle_loaded_power_w=20.0, idle_loaded_power_uncertainty_w=[1.0, 1.5][i],
            )
            for i in range(2)
        ])  # fmt: skip

    apart = of_two(("G0", "G1"))
    assert apart.energy_breakdown is not None
    # 3 and 5 J of the energies; 0.5 W for 2 s and 0.7 for 4; 1 W for 2 s and 1.5 for 4.
    assert apart.energy_breakdown.baseline_power_uncertainty_w == pytest.approx(1.2)
    assert apart.energy_breakdown.adjusted_uncertainty_j == pytest.approx(8.0 + 1.0 + 2.8)
    assert apart.idle_loaded_power_uncertainty_w == 2.5
    assert apart.energy_net_of_loaded_idle_uncertainty_j == pytest.approx(8.0 + 2.0 + 6.0)
    assert [p.baseline_power_uncertainty_w for p in apart.process_results] == [0.5, 0.7]
    assert [p.idle_loaded_power_uncertainty_w for p in apart.process_results] == [1.0, 1.5]
    same = of_two(("G", "G"))
    assert same.energy_breakdown is not None
    assert same.energy_breakdown.adjusted_uncertainty_j == pytest.approx(5.0 + 2.8)
    assert same.energy_net_of_loaded_idle_uncertainty_j == pytest.approx(5.0 + 6.0)


def test_what_is_left_is_as_open_as_the_energy_that_it_is_left_of(process: MakeProcess) -> None:
    told = replace(breakdown(100.0, 10.0, 2.0), baseline_power_uncertainty_w=0.5, adjusted_uncertainty_j=1.0)
    raw = process(devices=[gpu("G", 100.0, uncertainty_j=7.0)], energy_breakdown=told)
    found = of([raw]).energy_breakdown
    # 7 J, and 0.5 W for 2 s, whatever the process had said.
    assert found == replace(told, adjusted_uncertainty_j=8.0)
    unbounded = of([process(devices=[gpu("G", 100.0)], energy_breakdown=told, idle_loaded_power_w=20.0)])
    assert unbounded.energy_breakdown == replace(told, adjusted_uncertainty_j=None)
    assert unbounded.energy_net_of_loaded_idle_uncertainty_j is None


def test_pauses_are_told_with_what_was_idled_away_in_them(process: MakeProcess) -> None:
    def paused(i: int, name: str, pause_s: float | None) -> RawProcessResult:
        return process(i, 2, devices=[gpu(name, 100.0)], idle_loaded_power_w=20.0 + i, dither_pause_s=pause_s)

    apart = of([paused(0, "A", 0.5), paused(1, "B", 0.4)])
    assert apart.dither_pause_s == 0.5
    assert apart.dither_energy_j == pytest.approx(20.0 * 0.5 + 21.0 * 0.4)
    shared = of([paused(0, "A", 0.5), paused(1, "A", 0.5)])
    assert (shared.dither_pause_s, shared.dither_energy_j) == (0.5, None)
    without = of([paused(0, "A", None), paused(1, "B", None)])
    assert (without.dither_pause_s, without.dither_energy_j) == (None, None)


@pytest.mark.parametrize("power_w", [None, 20.0])
def test_loaded_idle_that_nobody_can_tell_apart_is_absent(process: MakeProcess, power_w: float | None) -> None:
    shared = [gpu("A", 100.0), *([] if power_w is None else [gpu("B", 100.0)])]
    raws = [
        process(0, 2, devices=shared, idle_loaded_power_w=20.0),
        process(1, 2, devices=[gpu("B", 100.0)], idle_loaded_power_w=power_w),
    ]
    assert (of(raws).idle_loaded_power_w, of(raws).energy_net_of_loaded_idle_j) == (None, None)
    assert of(raws).total_energy_j == 200.0


def test_processors_beside_the_gpus_of_each_process_do_not_stand_in_the_way_of_its_idle_power(
    process: MakeProcess,
) -> None:
    # Each process has a GPU of its own; both list the one processor, which is in no total.
    package = DeviceEnergy(device="package-0", kind="cpu", energy_j=70.0, source="counter")
    raws = [
        process(i, 2, devices=[gpu(f"G{i}", 100.0), package], baseline_w=10.0, idle_loaded_power_w=25.0)
        for i in range(2)
    ]
    result = of(raws)
    assert result.total_energy_j == 200.0
    assert result.energy_adjusted_j == 160.0  # 10 W off each for 2 s
    assert result.energy_net_of_loaded_idle_j == 100.0
    assert [d.device for d in result.energy_devices] == ["G0", "package-0", "G1"]


def test_the_model_lies_on_the_devices_of_all_processes(process: MakeProcess) -> None:
    raws = [
        process(i, 3, model=ModelDescription(engine="fake", engine_version="1", devices=devices))
        for i, devices in enumerate([("A",), ("B", "A"), ()])
    ]
    assert of(raws).model.devices == ("A", "B")


def test_samples_of_a_gpu_that_two_processes_read_count_once(process: MakeProcess) -> None:
    def sample(second: float, index: int, power_w: float) -> PowerThermalSample:
        return PowerThermalSample(second, power_w, gpu_index=index)

    raws = [
        process(0, 2, samples=(sample(10.2, 0, 1.0), sample(10.4, 0, 2.0))),
        process(1, 2, samples=(sample(10.1, 0, 9.0), sample(10.3, 1, 3.0))),
    ]
    assert [(s.timestamp, s.power_w) for s in distinct_samples(raws)] == [(10.2, 1.0), (10.3, 3.0), (10.4, 2.0)]


def test_what_was_read_is_in_the_result_by_one_digest_of_all_requests(process: MakeProcess) -> None:
    told = [replace(request(i), input_digest=f"i{i}") for i in range(4)]
    halves = [process(0, 2, requests=(told[0], told[2])), process(1, 2, requests=(told[3], told[1]))]
    expected = hashlib.sha256(b"0 i0\n1 i1\n2 i2\n3 i3").hexdigest()
    assert of(halves).inputs_digest == of([process(requests=told)]).inputs_digest == expected
    assert of([process()]).inputs_digest is None
