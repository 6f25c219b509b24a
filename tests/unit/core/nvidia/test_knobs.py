"""Power limit and clocks of an NVIDIA card."""

from collections.abc import Iterator

import pytest

from llenergymeasure.config.device import KNOBS, Knob
from llenergymeasure.core.gpu.base import GpuDeviceBase, KnobRange, KnobRefusedError
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from tests.fakes.nvml import FakeGpu, FakeNvml


@pytest.fixture
def library() -> FakeNvml:
    return FakeNvml(FakeGpu("GPU-a", power_limit_w=500.0))


@pytest.fixture
def device(library: FakeNvml) -> Iterator[GpuDeviceBase]:
    with NvidiaDriver(library).opened() as driver:
        (found,) = driver.find(["GPU-a"], 0)
        yield found


def test_what_can_be_set(device: GpuDeviceBase) -> None:
    assert device.knob_range("power_limit_w") == KnobRange(200.0, 700.0)
    assert device.knob_range("sm_clock_mhz") == KnobRange(210, 1410, (210, 1395, 1410))
    assert device.knob_range("memory_clock_mhz") == KnobRange(810, 1593, (810, 1593))


def test_limits_are_set_in_milliwatts_and_clocks_locked_to_one_value(library: FakeNvml, device: GpuDeviceBase) -> None:
    (gpu,) = library.gpus
    device.turn("power_limit_w", 250.5)
    device.turn("sm_clock_mhz", 1395)
    device.turn("memory_clock_mhz", 810)
    assert (gpu.power_limit_w, gpu.locked_mhz) == (250.5, {"sm": (1395, 1395), "memory": (810, 810)})
    assert [device.knob_value(knob) for knob in KNOBS] == [250.5, 1395, 810]
    device.turn("sm_clock_mhz", None)
    device.turn("memory_clock_mhz", None)
    assert gpu.locked_mhz == {"sm": None, "memory": None}


def test_a_limit_is_not_given_free(library: FakeNvml, device: GpuDeviceBase) -> None:
    with pytest.raises(KnobRefusedError, match="a power limit cannot be given free"):
        device.turn("power_limit_w", None)
    assert library.gpus[0].power_limit_w == 500


@pytest.mark.parametrize(
    ("code", "told", "is_forbidden"),
    [
        (2, "the driver does not take this value", False),
        (3, "this card or its driver has no such knob", False),
        (4, "only root may set it", True),
        (13, "this card or its driver has no such knob", False),
        (15, "the driver says: GPU is lost", False),
    ],
)
def test_each_refusal_is_told_in_words(
    library: FakeNvml, device: GpuDeviceBase, code: int, told: str, is_forbidden: bool
) -> None:
    library.fail("nvmlDeviceSetPowerManagementLimit", value=code)
    with pytest.raises(KnobRefusedError) as raised:
        device.turn("power_limit_w", 250)
    assert (str(raised.value), raised.value.is_forbidden) == (told, is_forbidden)


def test_a_driver_that_tells_nothing_has_no_knobs(library: FakeNvml, device: GpuDeviceBase) -> None:
    for name in ("PowerManagementLimitConstraints", "PowerManagementLimit", "SupportedMemoryClocks", "ClockInfo"):
        library.fail(f"nvmlDeviceGet{name}", value=3)
    for knob in KNOBS:
        assert (device.knob_range(knob), device.knob_value(knob)) == (None, None)


def test_the_limit_of_a_module_is_not_set() -> None:
    library = FakeNvml(FakeGpu("GPU-a", is_module=True))
    with NvidiaDriver(library).opened() as driver:
        (device,) = driver.find(["GPU-a"], 0)
        assert device.knob_range("power_limit_w") is None
        assert device.knob_range("sm_clock_mhz") is not None


@pytest.mark.parametrize(
    ("knob", "value", "command"),
    [
        ("power_limit_w", 250.0, "sudo nvidia-smi -i 0 -pl 250"),
        ("sm_clock_mhz", 1395, "sudo nvidia-smi -i 0 -lgc 1395,1395"),
        ("sm_clock_mhz", None, "sudo nvidia-smi -i 0 -rgc"),
        ("memory_clock_mhz", 810, "sudo nvidia-smi -i 0 -lmc 810,810"),
        ("memory_clock_mhz", None, "sudo nvidia-smi -i 0 -rmc"),
    ],
)
def test_the_command_that_does_the_same(device: GpuDeviceBase, knob: Knob, value: float | None, command: str) -> None:
    assert device.knob_command(knob, value) == command
