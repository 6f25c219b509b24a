"""The choice among energy sources."""

import logging
import re
import warnings

import pytest

from llenergymeasure.core.energy_backends import SensorContext, probe_sensors, select_energy_backend
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.protocols import EnergyBackend


def test_none_means_none_and_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        assert select_energy_backend(None) is None
    assert (caught, caplog.records, tuple(capfd.readouterr())) == ([], [], ("", ""))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("zues", "did you mean 'zeus'?"), ("rapl2", "did you mean 'rapl'?"), ("?", "known: auto, codecarbon, nvml, rapl")],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(repr(name))}.*{re.escape(hint)}"):
        select_energy_backend(name)


@pytest.mark.parametrize(
    ("name", "remedy"), [("zeus", "pip install 'llenergymeasure[zeus]'"), ("nvml", "install the NVIDIA driver")]
)
def test_a_name_that_is_not_usable_is_refused_with_the_reason_and_what_to_do(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as error:
        select_energy_backend(name)
    assert f"energy backend {name!r} is not usable: " in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.zeus
@pytest.mark.parametrize("name", ["zeus", "nvml"])
def test_gpu_sensors_of_an_experiment_on_the_cpu_are_refused_with_what_would_help_and_nothing_else(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        select_energy_backend(name, devices=())
    assert "the experiment runs on the CPU" in str(error.value)
    assert "build of the engine that has CUDA" in str(error.value)
    assert "pip install" not in str(error.value)
    assert "driver" not in str(error.value)


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="not usable"):
        select_energy_backend("nvml", devices=("GPU-nowhere",))


def test_auto_on_a_cpu_takes_a_source_that_gave_a_number_or_none() -> None:
    source = select_energy_backend("auto", devices=())
    assert source is None or (source.name in ("rapl", "codecarbon") and isinstance(source, EnergyBackend))


def test_sources_are_tried_best_first_and_none_that_sees_only_the_cpu_is_taken_for_a_gpu() -> None:
    tried = list(probe_sensors(SensorContext(devices=("GPU-nowhere",))))
    assert [status.name for status in tried] == ["zeus", "nvml", "rapl", "codecarbon"]
    assert all(status.problem for status in tried)
    assert select_energy_backend("auto", devices=("GPU-nowhere",)) is None


def test_sources_are_probed_one_by_one_as_they_are_asked_for() -> None:
    assert next(iter(probe_sensors(SensorContext(devices=())))).name == "zeus"
