"""What users and other programs import, and what importing it costs."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

import llenergymeasure
from llenergymeasure import exceptions, protocols
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import LLEMError, PreFlightError
from tests.fakes.effort import PATIENCE_S

PUBLIC = [
    "ExperimentConfig",
    "ExperimentResult",
    "StudyConfig",
    "StudyResult",
    "__version__",
    "run_experiment",
    "run_study",
]
SEAMS = ["EnergyBackend", "InferenceBackend", "Launcher", "ResultsRepository", "TelemetrySampler"]

# The table of import paths in the contract. A path without names promises only that it is there.
PATHS = {
    "llenergymeasure": PUBLIC,
    "llenergymeasure.protocols": SEAMS,
    "llenergymeasure.exceptions": [
        "LLEMError", "ConfigError", "BackendError", "PreFlightError", "ExperimentError", "StudyError",
    ],
    "llenergymeasure.config.models": [
        "ExperimentConfig", "StudyConfig", "WarmupConfig", "BaselineConfig", "EnergyConfig", "DecoderConfig",
        "DatasetConfig", "ExecutionConfig", "LoRAConfig",
    ],
    "llenergymeasure.config.loader": ["load_experiment_config", "load_study_config"],
    "llenergymeasure.config.introspection": [],
    "llenergymeasure.domain.experiment": ["ExperimentResult", "RawProcessResult", "StudyResult"],
    "llenergymeasure.domain.metrics": [
        "EnergyBreakdown", "FlopsResult", "WarmupResult", "ThermalThrottleInfo", "LatencyStatistics", "DeviceEnergy",
        "EnergyMeasurement",
    ],
    "llenergymeasure.core.backends": ["get_backend"],
    "llenergymeasure.core.backends.pytorch": ["PyTorchBackend"],
    "llenergymeasure.core.energy_backends": [
        "select_energy_backend", "NVMLBackend", "ZeusBackend", "CodeCarbonBackend", "EnergyMeasurement",
    ],
    "llenergymeasure.core.energy_backends.nvml": ["EnergyMeasurement"],
    "llenergymeasure.core.power_thermal": ["PowerThermalSampler", "PowerThermalSample"],
    "llenergymeasure.core.baseline": ["measure_baseline_power", "create_energy_breakdown"],
    "llenergymeasure.core.warmup": ["warmup_until_converged", "create_warmup_inference_fn"],
    "llenergymeasure.core.flops": ["estimate_flops_palm"],
    "llenergymeasure.core.timeseries": ["write_timeseries_parquet"],
    "llenergymeasure.core.measurement_warnings": ["collect_measurement_warnings"],
    "llenergymeasure.core.environment": ["collect_environment_snapshot"],
    "llenergymeasure.core.state": [],
    "llenergymeasure.results.aggregation": [],
    "llenergymeasure.results.persistence": [],
}  # fmt: skip

EXIT_CODES = {
    "LLEMError": 1,
    "ConfigError": 2,
    "ComparisonRefusedError": 2,
    "PreFlightError": 1,
    "BackendError": 1,
    "ExperimentError": 1,
    "TimedOutError": 1,
    "NodeMissingError": 1,
    "StudyError": 1,
}

HEAVY = ("torch", "transformers", "pydantic", "numpy", "yaml", "pyarrow", "scipy", "pynvml", "zeus", "codecarbon")


@pytest.mark.parametrize("path", PATHS)
def test_every_import_path_of_the_contract_keeps_its_names(path: str) -> None:
    module = import_module(path)
    assert [name for name in PATHS[path] if not hasattr(module, name)] == []


def test_the_package_exports_exactly_its_public_names() -> None:
    assert sorted(llenergymeasure.__all__) == PUBLIC
    assert dir(llenergymeasure) == PUBLIC


@pytest.mark.parametrize("name", ["ConfigError", "load_study_config", "run", "np", "_HOME_"])
def test_any_other_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(llenergymeasure, name)


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from llenergymeasure import *", names)
    assert sorted(set(names) - {"__builtins__"}) == PUBLIC


def test_the_version_is_two() -> None:
    assert llenergymeasure.__version__ == "2.0.0"


@pytest.mark.parametrize(
    ("function", "parameters", "result"),
    [
        (llenergymeasure.run_experiment, ["config", "kwargs"], ExperimentResult),
        (llenergymeasure.run_study, ["config"], StudyResult),
    ],
)
def test_the_two_functions_return_one_type_and_never_none(
    function: object, parameters: list[str], result: type
) -> None:
    assert callable(function)
    assert list(inspect.signature(function).parameters) == parameters
    assert get_type_hints(function)["return"] is result


@pytest.mark.parametrize("kind", ["fields", "experiments"])
def test_a_study_can_be_given_as_fields_or_as_its_experiments_alone(kind: str, tmp_path: Path) -> None:
    # Refused before anything runs, both of them by name.
    missing = [{"model": str(tmp_path / "a")}, llenergymeasure.ExperimentConfig(model=str(tmp_path / "b"))]
    given: Any = {"name": "s", "experiments": missing} if kind == "fields" else missing
    with pytest.raises(PreFlightError) as refused:
        llenergymeasure.run_study(given)
    assert str(tmp_path / "a") in str(refused.value)
    assert str(tmp_path / "b") in str(refused.value)


def test_a_study_of_no_experiments_is_a_wrong_value() -> None:
    with pytest.raises(ValidationError, match="experiments"):
        llenergymeasure.run_study([])


def by_position(function: Callable[..., object]) -> str:
    """What can be given by position, with its defaults, without annotations."""
    positional = [p for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in positional)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("core.power_thermal", "PowerThermalSampler", "device_index=0, sample_interval_ms=100"),
        (
            "core.baseline",
            "measure_baseline_power",
            "device_index=0, duration_sec=30.0, sample_interval_ms=100, cache_ttl_sec=3600.0",
        ),
        ("core.baseline", "create_energy_breakdown", "total_j, baseline, duration_sec"),
        ("core.warmup", "create_warmup_inference_fn", "model, tokenizer, prompt, max_new_tokens=32"),
        ("core.warmup", "warmup_until_converged", "run_single_inference, config"),
        ("core.timeseries", "write_timeseries_parquet", "samples, output_path, gpu_index=0"),
        ("core.flops", "estimate_flops_palm", "model, n_input_tokens, n_output_tokens, batch_size=1"),
        ("core.energy_backends", "select_energy_backend", "explicit"),
        ("core.energy_backends", "NVMLBackend", "device_index=0"),
        ("core.energy_backends", "ZeusBackend", "gpu_indices=None"),
        (
            "core.energy_backends",
            "EnergyMeasurement",
            "total_j, duration_sec, samples, per_gpu_j=None, devices=(), uncertainty_j=None, warnings=()",
        ),
        (
            "core.measurement_warnings",
            "collect_measurement_warnings",
            "duration_sec, gpu_persistence_mode, temp_start_c, temp_end_c, nvml_sample_count, "
            "thermal_drift_threshold_c=10.0",
        ),
    ],
)
def test_what_is_called_by_position_keeps_its_places_and_defaults(path: str, name: str, expected: str) -> None:
    assert by_position(getattr(import_module(f"llenergymeasure.{path}"), name)) == expected


@pytest.mark.parametrize("seam", SEAMS)
def test_the_seams_can_be_checked_at_run_time(seam: str) -> None:
    assert not isinstance(object(), getattr(protocols, seam))


def test_the_energy_seam_is_recognised_by_its_four_members() -> None:
    class Meter:
        name = "meter"

        def is_available(self) -> bool:
            return True

        def start_tracking(self) -> None: ...

        def stop_tracking(self, tracker: None) -> None: ...

    assert isinstance(Meter(), protocols.EnergyBackend)
    del Meter.stop_tracking
    assert not isinstance(Meter(), protocols.EnergyBackend)


def test_the_errors_are_one_tree_with_an_exit_code_each() -> None:
    found = {
        name: error.exit_code
        for name, error in vars(exceptions).items()
        if isinstance(error, type) and issubclass(error, LLEMError)
    }
    assert found == EXIT_CODES
    assert not issubclass(LLEMError, ValueError | OSError)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout


SAY_WHAT_WAS_LOADED = f"import sys; print('loaded', sorted(set(sys.modules) & set({HEAVY!r})))"


@pytest.mark.parametrize("flag", [None, "--help", "-h", "--version"])
def test_importing_the_package_and_asking_for_help_load_nothing_heavy(flag: str | None) -> None:
    call = f"try:\n    main([{flag!r}])\nexcept SystemExit as end:\n    assert end.code == 0" if flag else ""
    load = "from llenergymeasure.cli import main" if flag else ""
    said = in_a_fresh_process(f"import llenergymeasure\n{load}\n{call}\n{SAY_WHAT_WAS_LOADED}")
    assert said.splitlines()[-1] == "loaded []"
    if flag in ("--help", "-h"):
        assert "Usage: llem" in said
        assert {"run", "config"} <= set(said.split())
    if flag == "--version":
        assert "2.0.0" in said


def test_configuration_and_results_load_no_engine_and_no_sensor() -> None:
    said = in_a_fresh_process(
        "import llenergymeasure.config.loader, llenergymeasure.domain.experiment\n" + SAY_WHAT_WAS_LOADED
    )
    loaded = said.splitlines()[-1]
    assert "pydantic" in loaded
    assert [name for name in HEAVY if name not in ("pydantic", "numpy", "yaml") and f"'{name}'" in loaded] == []


def test_every_published_module_can_be_the_first_to_be_imported() -> None:
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.startswith("llenergymeasure")]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""
    command = [sys.executable, "-c", code, *PATHS, "llenergymeasure.core.session"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
