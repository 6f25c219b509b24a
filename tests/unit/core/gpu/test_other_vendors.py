"""A GPU of another vendor gets recorder, counter arithmetic, guards and energy without writing any of it."""

import re
import time
from pathlib import Path

import pytest

from llenergymeasure.core.energy_backends.base import SensorContext
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuDriverBase, GpuUnavailableError
from llenergymeasure.core.gpu.machine import driver_version, has_energy_counter, list_gpus, visible_gpus
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import GpuDevice, GpuDriver, TelemetrySampler
from llenergymeasure.testing.gpus import FakeCountingGpuDevice, FakeGpuDevice, FakeGpuDriver, FakeGpuSensor

SOURCE = Path(__file__).parents[4] / "src" / "llenergymeasure"
# Who may know NVIDIA: its room, the list of vendors, and sensors that read nothing else.
KNOW_NVIDIA = {"core/gpu/machine.py", "core/energy_backends/nvml.py"}


def measured(driver: GpuDriver, sampler: TelemetrySampler | None = None) -> EnergyMeasurement:
    context = SensorContext(devices=tuple(d.uuid for d in driver.devices()), sampler=sampler, driver=driver)
    sensor = FakeGpuSensor.in_context(context)
    assert sensor.problem() is None
    with Tracking(sensor) as tracking:
        time.sleep(0.3)
    return tracking.measurement


def test_its_counter_is_timed_and_its_power_is_the_witness() -> None:
    found = measured(FakeGpuDriver(FakeCountingGpuDevice("ACME-1"), FakeCountingGpuDevice("ACME-2", 1, 100.0)))
    assert found.total_j is not None
    assert found.uncertainty_j is not None
    # However busy the machine that reads them is.
    assert abs(found.total_j - 300.0 * found.duration_sec) <= found.uncertainty_j
    first, second = found.devices
    assert (first.device, first.source, first.field) == ("ACME-1", "counter", "acme_energy")
    assert (first.sensor, first.scope, first.headline) == ("acme", "module", True)
    assert first.witness_j == pytest.approx(200.0 * found.duration_sec, rel=0.01)
    assert (second.device, second.source) == ("ACME-2", "counter")


def test_one_that_says_its_power_and_no_more_is_integrated() -> None:
    found = measured(FakeGpuDriver(FakeGpuDevice("ACME-1")))
    (row,) = found.devices
    assert (row.source, row.field, row.scope) == ("integrated", "power", "gpu")
    assert row.energy_j == found.total_j == pytest.approx(200.0 * found.duration_sec, rel=1e-3)


def test_a_sampler_that_runs_is_shared_and_one_of_something_else_is_not_asked() -> None:
    driver = FakeGpuDriver(FakeGpuDevice("ACME-1"))
    with PowerThermalSampler(0, 20, driver=driver) as sampler:
        assert measured(driver, sampler).total_j is not None
        assert sampler.running
    assert not sampler.running
    assert sampler.get_samples()

    class Other:
        def start(self) -> None: ...
        def stop(self) -> None: ...
        def get_samples(self) -> list[object]:
            raise AssertionError("not asked")

    assert measured(driver, Other()).total_j is not None


def test_a_lost_device_is_no_energy_and_a_reason() -> None:
    device = FakeCountingGpuDevice("ACME-1")
    sensor = FakeGpuSensor.in_context(SensorContext(devices=("ACME-1",), driver=FakeGpuDriver(device)))
    tracker = sensor.start_tracking()
    device.watts = None
    time.sleep(0.6)
    found = sensor.stop_tracking(tracker)
    assert found.total_j is None
    assert found.warnings[0].flag == "energy_unavailable"
    assert sensor.problem() == "ACME-1 reports no power"


def test_what_a_device_cannot_tell_is_none_and_not_nothing() -> None:
    driver = FakeGpuDriver(FakeGpuDevice("ACME-1"))
    assert isinstance(driver, GpuDriver)
    assert isinstance(driver.devices()[0], GpuDevice)
    assert list_gpus(driver) == (GpuInfo(index=0, uuid="ACME-1", name="Acme 1000"),)
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "7"}, driver).uuids == ("ACME-1",)
    assert driver_version(driver) is None
    assert not has_energy_counter("ACME-1", driver)
    assert not has_energy_counter("ACME-9", driver)
    assert has_energy_counter("ACME-2", FakeGpuDriver(FakeCountingGpuDevice("ACME-2")))


def test_a_device_that_is_not_there_is_named() -> None:
    class Driver(GpuDriverBase):
        name = "acme"

        def devices(self) -> list[GpuDevice]:
            return [FakeGpuDevice("ACME-1", 3)]

    assert Driver().find(None, 3)[0].uuid == "ACME-1"
    assert isinstance(Driver().find(["ACME-1"], 0)[0], GpuDeviceBase)
    with pytest.raises(GpuUnavailableError, match="no GPU with index 0"):
        Driver().find(None, 0)
    with pytest.raises(GpuUnavailableError, match="GPU ACME-2 does not answer"):
        Driver().find(["ACME-1", "ACME-2"], 0)


def test_only_the_list_of_vendors_and_its_own_sensor_know_nvidia() -> None:
    knowing = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"llenergymeasure\.core\.nvidia", path.read_text(encoding="utf-8"))
    }
    assert {name for name in knowing if not name.startswith("core/nvidia/")} == KNOW_NVIDIA
