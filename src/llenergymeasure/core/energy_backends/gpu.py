"""GPU energy from their driver: energy counters with their ticks timed, and sampled power beside them."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Self

from llenergymeasure.core.energy_backends.base import NO_GPU_IN_USE, SensorBase, SensorContext, energy_of_rows
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDriverBase, GpuUnavailableError
from llenergymeasure.core.gpu.window import GpuWindow
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import GpuDriver


class GpuSensor(SensorBase):
    """Reads energy counters and power of GPUs, every 100 ms unless told otherwise.

    The sensor of a further vendor derives from it and names its ``driver``, in ``GpuDriverBase``'s terms.
    ``remedy_without_power`` is what can be done about a card that answers and reports no power.
    """

    scope = "gpu"
    driver: ClassVar[Callable[..., GpuDriver]]
    remedy_without_power: str = ""

    def __init__(self, context: SensorContext) -> None:
        """Watch the GPUs of the context, through the driver that it has or else one of the class's."""
        given = type(self).driver() if context.driver is None else context.driver
        self._driver = with_defaults(given, GpuDriverBase)
        self._context = replace(context, driver=self._driver)

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A sensor for the GPUs of the context."""
        return cls(context)

    def problem(self) -> str | None:
        """Why no power can be read; None when every GPU gave one."""
        if self._context.devices == ():
            return NO_GPU_IN_USE
        try:
            with self._driver.opened() as driver:
                found = driver.find(self._context.devices, self._context.device_index)
                silent = [device.uuid for device in found if device.power_w() is None]
        except GpuUnavailableError as error:
            return str(error)
        if not silent:
            return None
        self.remedy = self.remedy_without_power
        return f"{', '.join(silent)} reports no power"

    def start_tracking(self) -> GpuWindow:
        """Begin a window, with a sampler of its own unless one is running."""
        return GpuWindow.open(self._context.sampler, self._context.own_sampler, self._context.clock)

    def start_at_once(self) -> GpuWindow:
        """Begin a window anywhere in a tick."""
        context = self._context
        return GpuWindow.open(context.sampler, context.own_sampler, context.clock, at_once=True)

    def begin_now(self, tracker: GpuWindow) -> GpuWindow:
        """The same window, beginning now."""
        return tracker.from_now()

    def end_now(self, tracker: GpuWindow) -> GpuWindow:
        """The same window, ended now."""
        return tracker.until(self._context.clock())

    def stop_tracking(self, tracker: GpuWindow) -> EnergyMeasurement:
        """Energy between the two calls: the counters', guarded by sampled power; a lost GPU gives no total."""
        found = tracker.close()
        rows = tuple(gpu.row for gpu in found.gpus)
        warnings = tuple(warning for gpu in found.gpus for warning in gpu.warnings)
        reasons = [gpu.problem for gpu in found.gpus if gpu.problem is not None]
        reason = found.problem or "; ".join(reasons) or "no GPU is watched"
        measured = energy_of_rows(rows, found.duration_sec, found.n_samples, reason, warnings)
        measured = replace(measured, trace=found.traces)
        if measured.total_j is None:
            return measured
        return replace(measured, per_gpu_j={row.device: row.energy_j for row in rows if row.energy_j is not None})
