"""The driver library behind values that may be None."""

import pytest

from llenergymeasure.core.gpu.base import GpuUnavailableError
from llenergymeasure.core.gpu.machine import driver_held
from llenergymeasure.core.nvidia.nvml import NvidiaDriver, NvmlDevice
from tests.fakes.nvml import FakeGpu, FakeNvml

POWER_FIELD = "nvmlDeviceGetFieldValues"


def _device(library: FakeNvml) -> NvmlDevice:
    with NvidiaDriver(library).opened() as nvml:
        return nvml.devices()[0]


def test_the_library_is_shut_down_when_the_body_raises() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    opened: list[int] = []

    @NvidiaDriver(library).opened()
    def body() -> None:
        opened.append(library.n_open)
        raise KeyError

    with pytest.raises(KeyError):
        body()
    assert (opened, library.n_open) == ([1], 0)


def test_a_machine_without_a_driver_is_unavailable_with_the_drivers_reason() -> None:
    library = FakeNvml()
    library.fail("nvmlInit", value=1)
    with (
        pytest.raises(GpuUnavailableError, match=r"no NVIDIA driver answered \(Uninitialized\)"),
        NvidiaDriver(library).opened(),
    ):
        pytest.fail("there is nothing to enter")


def test_devices_that_do_not_answer_are_left_out_and_the_others_keep_their_index() -> None:
    library = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b"), FakeGpu("GPU-c"))
    library.fail("nvmlDeviceGetHandleByIndex", uuid="GPU-a")
    library.fail("nvmlDeviceGetUUID", uuid="GPU-b")
    with NvidiaDriver(library).opened() as nvml:
        assert [(d.index, d.uuid) for d in nvml.devices()] == [(2, "GPU-c")]


def test_an_unknown_device_is_named_in_the_error() -> None:
    with NvidiaDriver(FakeNvml(FakeGpu("GPU-a"))).opened() as nvml:
        assert nvml.device_by_uuid("GPU-a").index == 0
        assert nvml.device_by_index(0).uuid == "GPU-a"
        with pytest.raises(GpuUnavailableError, match="GPU-zzz"):
            nvml.device_by_uuid("GPU-zzz")
        with pytest.raises(GpuUnavailableError, match="index 1 "):
            nvml.device_by_index(1)


def test_readings_are_converted_to_the_units_in_their_names() -> None:
    gpu = FakeGpu("GPU-a", power_w=123.456, memory_used=1_500_000, memory_total=80_000_000_000, power_limit_w=350.5)
    with NvidiaDriver(FakeNvml(gpu)).opened() as nvml:
        device = nvml.devices()[0]
        assert device.power_w() == 123.456
        assert device.memory_mb() == (1.5, 80_000.0)
        assert device.power_limit_w() == 350.5
        assert device.temperature_c() == 40.0
        assert device.utilisation_pct() == 50.0
        assert device.persistence_mode() is True


def test_persistence_mode_off_is_false_and_not_unknown() -> None:
    with NvidiaDriver(FakeNvml(FakeGpu("GPU-a", persistence_mode=0))).opened() as nvml:
        assert nvml.devices()[0].persistence_mode() is False


def test_a_card_without_instant_power_falls_back_to_the_drivers_power_usage_and_says_so() -> None:
    with NvidiaDriver(FakeNvml(FakeGpu("GPU-a", power_w=55.0, has_instant_power=False))).opened() as nvml:
        device = nvml.devices()[0]
        assert device.power_w() == 55.0
        assert device.power_field == "nvmlDeviceGetPowerUsage"
    assert _device(FakeNvml(FakeGpu("GPU-a"))).power_field == "NVML_FI_DEV_POWER_INSTANT"


def test_a_failed_instant_reading_is_not_replaced_by_the_average_one() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    library.fail(POWER_FIELD, from_call=2)  # the first call is the question whether the card has it
    with NvidiaDriver(library).opened() as nvml:
        device = nvml.devices()[0]
        assert device.power_w() is None
        assert device.power_field == "NVML_FI_DEV_POWER_INSTANT"


def test_every_reading_of_a_lost_gpu_is_none() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    device = _device(library)  # the session has ended: every call is refused from here on
    assert device.power_w() is None
    assert device.temperature_c() is None
    assert device.memory_mb() == (None, None)
    assert device.utilisation_pct() is None
    assert device.throttle_reasons() is None
    assert device.persistence_mode() is None
    assert device.power_limit_w() is None
    assert device.name() == "unknown GPU"


@pytest.mark.parametrize("version", ["570.86.15", b"570.86.15"])
def test_text_is_text_in_old_and_new_bindings(version: str | bytes) -> None:
    with NvidiaDriver(FakeNvml(driver=version)).opened() as nvml:
        assert nvml.version() == "570.86.15"


def test_a_held_driver_stays_up_between_sessions_and_one_that_is_not_there_is_no_error() -> None:
    library = FakeNvml(FakeGpu("GPU-a"))
    with driver_held(NvidiaDriver(library)):
        with NvidiaDriver(library).opened():
            assert library.n_open == 2
        assert library.n_open == 1
    assert library.n_open == 0
    library.fail("nvmlInit")
    with driver_held(NvidiaDriver(library)):
        assert library.n_open == 0


def test_a_card_that_refuses_its_own_power_and_has_its_modules_is_read_as_a_module() -> None:
    alone, module = _device(FakeNvml(FakeGpu("GPU-a"))), FakeNvml(FakeGpu("GPU-b", 512.0, is_module=True))
    assert (alone.scope, alone.power_field) == ("gpu", "NVML_FI_DEV_POWER_INSTANT")
    with NvidiaDriver(module).opened() as nvml:
        (device,) = nvml.devices()
        assert (device.scope, device.power_w()) == ("module", 512.0)
        assert device.power_field == "NVML_FI_DEV_POWER_INSTANT of NVML_POWER_SCOPE_MODULE"
        assert device.average_power_field == "NVML_FI_DEV_POWER_AVERAGE of NVML_POWER_SCOPE_MODULE"
    assert _device(FakeNvml(FakeGpu("GPU-c", has_instant_power=False))).scope == "gpu"


def _read_as(gpu: FakeGpu) -> tuple[str, str, float | None, float | None, float | None]:
    """What power and counter cover, the power, and its limits, in force and by default."""
    with NvidiaDriver(FakeNvml(gpu)).opened() as nvml:
        (d,) = nvml.devices()
        return d.scope, d.counter_covers(), d.power_w(), d.power_limit_w(), d.default_power_limit_w()


def test_the_limit_of_a_gpu_says_nothing_of_the_power_of_its_module() -> None:
    module = FakeGpu("GPU-b", 900.0, power_limit_w=400.0, is_module=True)
    assert _read_as(module) == ("module", "module", 900.0, None, None)
    module.module_limit_w = 1000.0
    assert _read_as(module) == ("module", "module", 900.0, 1000.0, 1000.0)


def test_where_power_is_told_of_the_gpu_and_of_its_module_the_counter_is_the_modules() -> None:
    both = FakeGpu("GPU-a", 300.0, module_w=420.0, module_limit_w=1000.0)
    assert _read_as(both) == ("gpu", "module", 300.0, 700.0, 700.0)
    # A driver that knows of no scopes gives the same for each.
    assert _read_as(FakeGpu("GPU-a", 300.0, module_w=300.0))[:2] == ("gpu", "gpu")
    assert _read_as(FakeGpu("GPU-a", 300.0))[:2] == ("gpu", "gpu")
    # Or nearly the same, where the one sensor was new between two of its answers.
    assert _read_as(FakeGpu("GPU-a", 300.0, module_w=303.0))[:2] == ("gpu", "gpu")
