"""The choice among energy sources."""

import logging
import re
import warnings
from pathlib import Path

import pytest

from llenergymeasure.core.energy_backends import (
    CodeCarbonBackend,
    RAPLBackend,
    SensorBase,
    SensorContext,
    ZeusBackend,
    probe_sensors,
    select_energy_backend,
)
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.protocols import EnergyBackend
from tests.fakes.codecarbon import FakeTracker
from tests.fakes.rapl import Zone


def test_none_means_none_and_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        assert select_energy_backend(None) is None
    assert (caught, caplog.records, tuple(capfd.readouterr())) == ([], [], ("", ""))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("zues", "did you mean 'zeus'?"),
        ("rapl2", "did you mean 'rapl'?"),
        ("?", "known: auto, codecarbon, hwmon, nvml, rapl"),
    ],
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
    assert source is None or (source.name in ("rapl", "hwmon", "codecarbon") and isinstance(source, EnergyBackend))


def test_sources_are_tried_best_first_and_none_that_sees_only_the_cpu_is_taken_for_a_gpu() -> None:
    tried = list(probe_sensors(SensorContext(devices=("GPU-nowhere",))))
    assert [status.name for status in tried] == ["zeus", "nvml", "rapl", "hwmon", "codecarbon"]
    assert all(status.problem for status in tried)
    assert select_energy_backend("auto", devices=("GPU-nowhere",)) is None


def test_sources_are_probed_one_by_one_as_they_are_asked_for() -> None:
    assert next(iter(probe_sensors(SensorContext(devices=())))).name == "zeus"


@pytest.mark.parametrize("name", ["zeus", "codecarbon"])
def test_what_is_installed_is_not_to_be_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether or not it is: the sensors ask this for it.
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    sensor: SensorBase
    if name == "zeus":
        sensor = ZeusBackend(visible=lambda: [])
    else:
        sensor = CodeCarbonBackend(tracker_factory=FakeTracker(fail_at="create"))
    assert sensor.problem() is not None
    assert "install with" not in sensor.remedy
    assert sensor.remedy
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    bare = ZeusBackend() if name == "zeus" else CodeCarbonBackend()
    assert f"install with pip install 'llenergymeasure[{name}]'" in (bare.problem() or "")
    assert f"install with pip install 'llenergymeasure[{name}]'" in bare.remedy


def test_zeus_without_a_gpu_asks_for_the_driver_and_for_what_is_visible() -> None:
    absent = ZeusBackend(devices=["GPU-b"], visible=lambda: ["GPU-a"], monitor_factory=lambda _: None)
    assert absent.problem() == "GPU-b is not visible to CUDA"
    assert "CUDA_VISIBLE_DEVICES" in absent.remedy
    none = ZeusBackend(visible=lambda: [], monitor_factory=lambda _: None)
    assert none.problem() == "no NVIDIA GPU answered"
    assert "install the NVIDIA driver" in none.remedy


def test_counters_that_are_not_there_are_not_to_be_made_readable(tmp_path: Path) -> None:
    rapl = RAPLBackend(tmp_path)
    assert "no CPU package counters" in (rapl.problem() or "")
    assert "modprobe intel_rapl_msr" in rapl.remedy
    Zone(tmp_path, "intel-rapl:0", "package-0").say("garbage")
    assert "cannot be read" in (rapl.problem() or "")
    assert "chmod" not in rapl.remedy
