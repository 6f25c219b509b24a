"""Which GPUs workers get, and what they cannot run with one each."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.execution import StudyExecutionConfig, Workers, checked_workers
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.gpu.machine import variables_showing
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.execute import execute_study
from llenergymeasure.orchestration.studies.gpus_each import gpus_of_workers, refuse_what_one_gpu_cannot, showing_only
from llenergymeasure.testing.gpus import FakeGpuDevice, FakeGpuDriver
from tests.unit.orchestration.conftest import Bench, study_of

GPUS = tuple(GpuInfo(index=i, uuid=f"GPU-{i}", name="Acme") for i in range(3))
SEEN = VisibleGpus(GPUS)


def found(name: str = "a", devices: tuple[str, ...] = ("GPU-0",), n_processes: int = 1, **fields: Any) -> Any:
    """An experiment without energy, with what preflight found of it."""
    config = ExperimentConfig.model_validate({"model": "m", "name": name, "energy": {"backend": None}, **fields})
    layout = ProcessLayout.of(n_processes, "tensor")
    return Settled(config, {}), ExaminedExperiment(devices=devices, layout=layout)


@pytest.mark.parametrize(("workers", "n"), [(1, 0), (2, 2), (3, 3), ("per_gpu", 3)])
def test_each_has_a_gpu_and_one_is_this_process(workers: Workers, n: int) -> None:
    assert gpus_of_workers(workers, SEEN) == GPUS[:n]


def test_of_one_gpu_this_process_is_the_worker() -> None:
    assert gpus_of_workers("per_gpu", VisibleGpus(GPUS[:1])) == ()


@pytest.mark.parametrize(("workers", "visible", "why"), [
    (4, SEEN, "execution.workers: 4: each worker has a GPU to itself, and 3 can be used here; give no more"),
    ("per_gpu", VisibleGpus(), "there is none here that can be used; without one they would measure the same host"),
    (2, VisibleGpus(), "execution.workers: 2: each worker has a GPU to itself, and there is none here"),
    ("per_gpu", VisibleGpus(problem="it is in MIG mode"), "execution.workers: per_gpu: it is in MIG mode"),
])  # fmt: skip
def test_without_as_many_gpus_it_is_an_error(workers: Workers, visible: VisibleGpus, why: str) -> None:
    with pytest.raises(PreFlightError) as caught:
        gpus_of_workers(workers, visible)
    assert why in str(caught.value)


def test_a_vendor_without_such_a_variable_says_so() -> None:
    assert variables_showing("ACME-1", FakeGpuDriver(FakeGpuDevice("ACME-1"))) is None
    assert variables_showing("GPU-1") == {"CUDA_VISIBLE_DEVICES": "GPU-1"}


def test_what_is_shown_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("0,1", None):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if before is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
        with showing_only("GPU-1"):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-1"
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_what_one_gpu_can_run_is_not_refused() -> None:
    refuse_what_one_gpu_cannot(GPUS, [found()], "per_gpu")
    refuse_what_one_gpu_cannot((), [found(n_processes=2)], 1)


def test_each_experiment_is_named_with_what_it_would_need() -> None:
    given = [found("fits"), found("two", n_processes=2), found("far", devices=("GPU-2",)), found("host", devices=())]
    with pytest.raises(ConfigError) as caught:
        refuse_what_one_gpu_cannot(GPUS, given, "per_gpu")
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("execution.workers: per_gpu gives each worker one GPU")
    assert lines == [
        "experiment 2 of 4 (two): it takes 2 processes (tensor parallel), each with a GPU",
        "experiment 3 of 4 (far): it names a GPU by its place (GPU-2), and each worker sees one, as the first",
        "experiment 4 of 4 (host): it uses no GPU, and what the host does would be measured while other workers use it",
    ]


def test_a_sensor_of_the_host_would_count_what_others_do() -> None:
    with pytest.raises(ConfigError, match="its energy sensor rapl reads the package, and so what other workers do"):
        refuse_what_one_gpu_cannot(GPUS, [found(energy={"backend": "rapl"})], 2)


def test_what_was_left_to_a_machine_with_several_kinds_is_refused() -> None:
    config, examined = found()
    chosen = Settled(config.config, {"precision": "auto"})
    refuse_what_one_gpu_cannot(GPUS, [(chosen, examined)], "per_gpu")
    of_two = (GPUS[0], GpuInfo(index=1, uuid="GPU-1", name="Other"))
    with pytest.raises(ConfigError, match=r"precision: auto is left to the machine, .* \(Acme, Other\); write what"):
        refuse_what_one_gpu_cannot(of_two, [(chosen, examined)], "per_gpu")


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "all", "2"])
def test_other_numbers_of_workers_are_no_number(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        StudyExecutionConfig.model_validate({"workers": value})
    assert "workers" in str(caught.value)
    with pytest.raises(ConfigError, match="it takes a whole number from 1 on, or per_gpu"):
        checked_workers(value)


def test_workers_are_processes() -> None:
    with pytest.raises(ValidationError, match="starts processes, and launcher: in_process runs everything in this one"):
        StudyExecutionConfig(launcher="in_process", workers="per_gpu")


def test_a_machine_without_gpus_runs_nothing(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    given = study_of("a", output_dir=tmp_path, execution=StudyExecutionConfig(workers="per_gpu"))
    with pytest.raises(PreFlightError, match="there is none here that can be used"):
        execute_study(given, bench.options())
    assert bench.log == []
    assert list(tmp_path.iterdir()) == []
