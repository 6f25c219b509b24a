"""FLOPs of a whole result, and what they are held against, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.domain.environment import EnvironmentSnapshot, GpuInfo
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.metrics import FlopsResult, FlopsTerms
from llenergymeasure.domain.result import ExperimentResult
from tests.unit.domain.conftest import MakeProcess, gpu, request

of = ExperimentResult.from_processes

# Both phases together: 2 x (3 + 4 + 5) = 24 TFLOP.
PHASE = FlopsTerms(linear=3e12, attention=4e12, head=5e12)
FLOPS = FlopsResult(
    value=1e12, method="palm", confidence="high", prefill=PHASE, decode=PHASE, number_format="bf16", n_parameters=7
)
# 312 TFLOP/s in bf16, by its datasheet.
A100 = "NVIDIA A100-SXM4-80GB"


def on(*uuids: str, name: str = A100, mig_mode: bool | None = None, **model: Any) -> dict[str, Any]:
    """The fields of a process whose model lies on these GPUs."""
    gpus = tuple(GpuInfo(index=i, uuid=uuid, name=name, mig_mode=mig_mode) for i, uuid in enumerate(uuids))
    environment = EnvironmentSnapshot(
        python_version="3.11.0", platform="p", cpu_model=None, n_cpus=None, memory_total_mb=None, cuda_version=None,
        driver_version=None, gpus=(*gpus, GpuInfo(index=9, uuid="idle", name=A100)),
    )  # fmt: skip
    devices = model.pop("devices", uuids)
    return {
        "environment_snapshot": environment,
        "model": ModelDescription(engine="fake", engine_version="1", devices=devices),
    }


def test_terms_are_summed_over_data_parallel_processes_and_the_least_sure_one_speaks_for_all(
    process: MakeProcess,
) -> None:
    second = replace(FLOPS, confidence="medium", number_format="fp16")
    flops = of([process(0, 2, flops_result=FLOPS), process(1, 2, flops_result=second)]).flops_result
    doubled = FlopsTerms(linear=6e12, attention=8e12, head=10e12)
    assert flops == replace(FLOPS, value=2e12, confidence="medium", prefill=doubled, decode=doubled, number_format=None)
    unknown = replace(FLOPS, decode=None)
    partial = of([process(0, 2, flops_result=FLOPS), process(1, 2, flops_result=unknown)])
    assert partial.total_flops == 2e12
    assert partial.model_flops is None


def test_joules_and_seconds_are_held_against_what_the_model_did(process: MakeProcess) -> None:
    # 24 TFLOP and 120 J in 2 s on a card that could have done 624.
    result = of([process(flops_result=FLOPS, devices=[gpu("A", 120.0)], **on("A"))])
    assert result.model_flops == 24e12
    assert result.joules_per_tflop == 5.0
    assert result.mfu == pytest.approx(24 / 624)


def test_data_parallel_work_is_held_against_every_card(process: MakeProcess) -> None:
    raws = [process(i, 2, flops_result=FLOPS, devices=[gpu(f"G{i}", 120.0)], **on(f"G{i}")) for i in range(2)]
    result = of(raws)
    assert result.mfu == pytest.approx(2 * 24 / (2 * 624))
    assert result.joules_per_tflop == 5.0


def test_tensor_parallel_work_counts_once_and_every_card(process: MakeProcess) -> None:
    shared = (request(0),)
    raws = [
        process(i, 2, parallelism="tensor", requests=shared, flops_result=FLOPS, **on("G0", "G1", devices=(f"G{i}",)))
        for i in range(2)
    ]
    assert of(raws).mfu == pytest.approx(24 / (2 * 624))


@pytest.mark.parametrize(
    ("flops", "place"),
    [
        (None, on("A")),
        (replace(FLOPS, prefill=None), on("A")),
        (replace(FLOPS, decode=replace(PHASE, attention=None)), on("A")),
        (replace(FLOPS, number_format=None), on("A")),
        (FLOPS, on()),
        (FLOPS, on("A", name="NVIDIA Something New")),
        (FLOPS, on("A", name="Tesla T4")),
        (FLOPS, on("A", mig_mode=True)),
        (FLOPS, on("A", devices=("A", "elsewhere"))),
    ],
    ids=["no flops", "no prefill", "attention", "format", "cpu", "unknown card", "no bf16", "mig", "unknown device"],
)
def test_utilisation_is_absent_where_either_side_is_not_known(
    process: MakeProcess, flops: FlopsResult | None, place: dict[str, Any]
) -> None:
    assert of([process(flops_result=flops, devices=[gpu("A", 1.0)], **place)]).mfu is None


def test_energy_per_work_is_absent_without_energy_or_work(process: MakeProcess) -> None:
    assert of([process(flops_result=FLOPS)]).joules_per_tflop is None
    assert of([process(flops_result=replace(FLOPS, decode=None), devices=[gpu("A", 1.0)])]).joules_per_tflop is None
    nothing = FlopsTerms(linear=0.0, attention=0.0, head=0.0)
    idle = replace(FLOPS, prefill=nothing, decode=nothing)
    assert of([process(flops_result=idle, devices=[gpu("A", 1.0)])]).joules_per_tflop is None


def test_terms_survive_the_file_and_sums_are_not_written(process: MakeProcess) -> None:
    result = of([process(flops_result=FLOPS, devices=[gpu("A", 120.0)], **on("A"))])
    text = result.model_dump_json()
    assert ExperimentResult.model_validate_json(text) == result
    written = result.model_dump(mode="json")
    assert "model_flops" not in written
    assert written["flops_result"]["prefill"] == {"linear": 3e12, "attention": 4e12, "head": 5e12}
    assert "model_flops" not in written["flops_result"]


def test_a_file_from_before_there_were_terms_is_still_read(process: MakeProcess) -> None:
    written = of([process(flops_result=FLOPS)]).model_dump(mode="json")
    for name in ("prefill", "decode", "number_format"):
        del written["flops_result"][name]
    del written["joules_per_tflop"], written["mfu"]
    older = ExperimentResult.model_validate(written)
    assert (older.total_flops, older.model_flops, older.joules_per_tflop, older.mfu) == (1e12, None, None, None)
