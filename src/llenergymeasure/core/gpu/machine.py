"""The GPUs of this machine, of whatever vendor, and which of them this process may use. Creates no context on them."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from llenergymeasure.core.calibration.store import known
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuDriverBase, GpuUnavailableError, VisibleGpus
from llenergymeasure.core.gpu.power_sensor import PowerSensor, found_sensor, sensor_of_the_counter
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.protocols import GpuDriver

_Told = TypeVar("_Told")
# A vendor is a room beside ``nvidia`` and a line here.
_DRIVERS: tuple[Callable[[], GpuDriverBase], ...] = (NvidiaDriver,)


def gpu_driver() -> GpuDriverBase:
    """The first driver that has devices; the last one where none has."""
    *others, last = _DRIVERS
    return next((driver for make in others if list_gpus(driver := make())), last())


def list_gpus(driver: GpuDriver | None = None) -> tuple[GpuInfo, ...]:
    """All GPUs in the driver's order; none without a driver. Default: this machine's driver."""
    try:
        with whole_driver(driver).opened() as opened:
            version = opened.version()
            found = [with_defaults(device, GpuDeviceBase).describe() for device in opened.devices()]
            return tuple(replace(gpu, calibration=known(gpu.uuid, version)) for gpu in found)
    except GpuUnavailableError:
        return ()


def visible_gpus(environ: Mapping[str, str] | None = None, driver: GpuDriver | None = None) -> VisibleGpus:
    """The GPUs that this process may use; default this machine's, by the variables of this process."""
    whole = whole_driver(driver)
    return whole.visible(list_gpus(whole), os.environ if environ is None else environ)


def variables_showing(uuid: str, driver: GpuDriver | None = None) -> Mapping[str, str] | None:
    """Variables by which a process sees one GPU and no other; None where the vendor has none."""
    return whole_driver(driver).variables_showing(uuid)


def driver_version(driver: GpuDriver | None = None) -> str | None:
    """Version of the driver; None without one. Default: this machine's."""
    try:
        with whole_driver(driver).opened() as opened:
            return opened.version()
    except GpuUnavailableError:
        return None


def told_by(
    uuids: Sequence[str], ask: Callable[[GpuDeviceBase], _Told], driver: GpuDriver | None = None
) -> dict[str, _Told]:
    """What each of these GPUs answers now; those that do not answer are left out.

    Args:
        uuids: of the GPUs; without any no driver is opened.
        ask: asks one.
        driver: theirs; default this machine's.
    """
    if not uuids:
        return {}
    try:
        with whole_driver(driver).opened() as opened:
            devices = [with_defaults(device, GpuDeviceBase) for device in opened.devices()]
            return {device.uuid: ask(device) for device in devices if device.uuid in uuids}
    except GpuUnavailableError:
        return {}


def has_energy_counter(uuid: str, driver: GpuDriver | None = None) -> bool:
    """Whether a GPU counts its energy."""
    return any(told_by([uuid], lambda device: device.energy_counter_j() is not None, driver).values())


def power_sensor_of(gpu: GpuInfo) -> PowerSensor | None:
    """What the sensor behind the power of a described GPU looks at: as it was found, else published; else None."""
    if gpu.calibration is not None and gpu.calibration.power is not None:
        return found_sensor(gpu.calibration.power)
    return next((sensor for make in _DRIVERS if (sensor := make().power_sensor_of(gpu)) is not None), None)


def sensor_behind(gpu: GpuInfo, row: DeviceEnergy) -> PowerSensor | None:
    """What looked for the figure of a described GPU: its counter's, or its power's; None where that is not known."""
    power = power_sensor_of(gpu)
    return sensor_of_the_counter(gpu.calibration, power) if row.source == "counter" else power


@contextmanager
def driver_held(driver: GpuDriver | None = None) -> Iterator[None]:
    """Keep the driver up, where there is one, so that it is opened at once inside the body.

    A driver without clients may come up anew for each of them, which takes seconds.
    """
    with ExitStack() as stack:
        with suppress(GpuUnavailableError):
            stack.enter_context(whole_driver(driver).opened())
        yield


def whole_driver(driver: GpuDriver | None = None) -> GpuDriverBase:
    """A driver with everything that it did not write itself; default this machine's."""
    return gpu_driver() if driver is None else with_defaults(driver, GpuDriverBase)
