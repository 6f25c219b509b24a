"""Several processes become one result: devices once, tokens by the kind of parallelism."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, ThermalThrottleInfo
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.results.aggregation import aggregate_directory, aggregate_processes
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.testing import fake_environment
from tests.fakes.effort import examples

RawOf = Callable[..., RawProcessResult]


def energy(duration_sec: float, **joules: float | None) -> EnergyMeasurement:
    """A window in which each named GPU took so many joules."""
    devices = tuple(DeviceEnergy(device=d, kind="gpu", energy_j=j, source="counter") for d, j in joules.items())
    known = [j for j in joules.values() if j is not None]
    return EnergyMeasurement(sum(known) if len(known) == len(joules) else None, duration_sec, 2, devices=devices)


def request(index: int, input_tokens: int, output_tokens: int) -> RequestOutput:
    return RequestOutput(
        index=index,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        sent_s=0.0,
        first_token_s=0.5,
        end_s=1.0,
        finish_reason="stop",
        output_digest="0",
    )


def two(raw_of: RawOf, parallelism: str, first: dict[str, Any], second: dict[str, Any]) -> list[RawProcessResult]:
    both = {"n_processes": 2, "parallelism": parallelism, "energy_backend": "nvml"}
    return [raw_of(process_index=0, **both, **first), raw_of(process_index=1, **both, **second)]


def test_data_parallel_processes_sum_tokens_and_devices(raw_of: RawOf) -> None:
    raws = two(
        raw_of,
        "data",
        {"requests": (request(0, 5, 10), request(2, 5, 20)), "window_start_s": 10.0, "window_end_s": 14.0,
         "energy": energy(4.0, A=100.0)},
        {"requests": (request(1, 7, 30),), "window_start_s": 11.0, "window_end_s": 15.0, "energy": energy(4.0, B=80.0)},
    )  # fmt: skip
    result = aggregate_processes(raws)
    assert (result.input_tokens, result.output_tokens, result.n_requests) == (17, 60, 3)
    assert result.duration_sec == 5.0  # from 10 to 15
    assert result.tokens_per_second == 12.0
    assert result.total_energy_j == 180.0
    assert result.energy_per_output_token_j == 3.0
    assert result.energy_per_request_j == 60.0
    assert result.aggregation is not None
    assert (result.aggregation.n_processes, result.aggregation.parallelism) == (2, "data")
    assert [(p.process_index, p.output_tokens, p.energy_j) for p in result.process_results] == [
        (0, 30, 100.0),
        (1, 30, 80.0),
    ]


def test_tensor_parallel_processes_count_tokens_and_devices_once(raw_of: RawOf) -> None:
    requests = (request(0, 5, 10), request(1, 5, 20))
    raws = two(
        raw_of,
        "tensor",
        {"requests": requests, "energy": energy(2.0, A=100.0, B=80.0)},
        {"requests": requests, "energy": energy(2.5, A=110.0, B=88.0)},
    )
    result = aggregate_processes(raws)
    assert (result.input_tokens, result.output_tokens, result.n_requests) == (10, 30, 2)
    # Both saw both devices: each counts once, by the longer window.
    assert result.total_energy_j == 198.0
    assert sorted(d.device for d in result.energy_devices) == ["A", "B"]


def test_what_a_sensor_read_and_was_not_believed_stands_beside_the_total(raw_of: RawOf) -> None:
    window = {"window_start_s": 10.0, "window_end_s": 14.0}
    first, second = energy(4.0, A=100.0), energy(4.0, A=101.0)
    refused = DeviceEnergy(device="A", kind="gpu", energy_j=7.0, source="counter", sensor="zeus", headline=False)
    believed = tuple(replace(d, sensor="nvml", headline=True) for d in first.devices)
    first = replace(first, devices=(*believed, refused))
    second = replace(second, devices=tuple(replace(d, sensor="zeus", headline=True) for d in second.devices))
    result = aggregate_processes(two(raw_of, "tensor", {"energy": first, **window}, {"energy": second, **window}))
    # The same device, whichever sensor was believed in each process, is counted once.
    assert result.total_energy_j == 100.0
    assert [(d.sensor, d.energy_j) for d in result.energy_devices] == [("nvml", 100.0), ("zeus", 7.0)]


def test_a_process_without_energy_leaves_no_total(raw_of: RawOf) -> None:
    result = aggregate_processes(two(raw_of, "data", {"energy": energy(2.0, A=100.0)}, {"energy": None}))
    assert result.total_energy_j is None
    assert result.energy_per_output_token_j is None
    assert result.measurement_warnings


def test_throttling_in_any_process_is_throttling_and_the_environment_is_the_first_ones(raw_of: RawOf) -> None:
    hot = ThermalThrottleInfo(detected=True, thermal=True, throttle_duration_sec=3.0, max_temperature_c=91.0)
    cool = ThermalThrottleInfo(max_temperature_c=50.0)
    machines = [replace(fake_environment(), cpu_model=f"CPU of {i}") for i in range(2)]
    raws = two(
        raw_of,
        "data",
        {"thermal_throttle": cool, "environment_snapshot": machines[0]},
        {"thermal_throttle": hot, "environment_snapshot": machines[1]},
    )
    result = aggregate_processes(raws[::-1])
    assert result.thermal_throttle == hot
    assert result.environment_snapshot.cpu_model == "CPU of 0"


@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    joules=st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    tokens=st.lists(st.integers(0, 1000), min_size=5, max_size=5),
    seed=st.randoms(),
)
def test_sums_are_conserved_whatever_the_order_of_the_files(
    raw_of: RawOf, joules: list[int], tokens: list[int], seed: Any
) -> None:
    raws = [
        raw_of(
            process_index=i,
            n_processes=len(joules),
            parallelism="data",
            energy_backend="nvml",
            requests=(request(i, 1, tokens[i]),),
            energy=energy(2.0, **{f"GPU-{i}": float(joule)}),
        )
        for i, joule in enumerate(joules)
    ]
    in_order = aggregate_processes(raws)
    seed.shuffle(raws)
    assert aggregate_processes(raws) == in_order
    assert in_order.total_energy_j == sum(joules)
    assert in_order.output_tokens == sum(tokens[: len(joules)])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([], "no process results"),
        ([{"n_processes": 2}], r"expected processes 0 to 1, found \[0\]"),
        ([{"n_processes": 2}, {"n_processes": 2}], r"expected processes 0 to 1, found \[0, 0\]"),
        ([{}, {"experiment_id": "another"}], "different experiments"),
    ],
)
def test_processes_that_do_not_belong_together_are_refused(
    raw_of: RawOf, fields: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ExperimentError, match=said):
        aggregate_processes([raw_of(**f) for f in fields])


def test_a_window_without_length_is_an_experiment_error(raw_of: RawOf) -> None:
    with pytest.raises(ExperimentError):
        aggregate_processes([raw_of(window_start_s=5.0, window_end_s=5.0)])


def test_a_directory_is_aggregated_from_its_files(raw_of: RawOf, tmp_path: Path) -> None:
    raws = two(raw_of, "data", {"requests": (request(0, 5, 10),)}, {"requests": (request(1, 5, 20),)})
    for raw in raws:
        write_process_result(raw, tmp_path)
    assert aggregate_directory(tmp_path, 2) == aggregate_processes(raws)
    with pytest.raises(ExperimentError, match=r"process_2\.json is missing"):
        aggregate_directory(tmp_path, 3)
