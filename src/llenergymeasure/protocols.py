"""The five seams, and the two of GPU drivers. Whoever implements one can be plugged in without touching the rest."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from llenergymeasure.domain.inference import ModelDescription, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.telemetry import PowerThermalSample


@runtime_checkable
class LoadedModel(Protocol):
    """A model in an engine, ready to generate. It owns its handles.

    These two are what an engine must write; ``LoadedModelBase`` has the rest with defaults.
    """

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Run [n] requests as ``load`` says, and return when all have ended or the load is cancelled.

        ``on_done`` is called once for each request that was begun, as soon as it has ended, and never by two threads
        at the same time. Requests that fail alone are told as such; an engine that cannot go on raises.
        """
        ...

    def describe(self) -> ModelDescription:
        """Engine, version, real devices and parameters as the engine resolved them."""
        ...


@runtime_checkable
class InferenceBackend(Protocol):
    """An inference engine; ``EngineBase`` has defaults for everything that is not here."""

    name: str

    def load(self, plan: ExperimentPlan) -> AbstractContextManager[LoadedModel]:
        """Load the model; leaving the context frees it.

        Raises:
            BackendError: the model cannot be had.
        """
        ...


@runtime_checkable
class EnergyBackend(Protocol):
    """A sensor of joules; ``SensorBase`` has defaults for everything that is not here.

    Once started, ``stop_tracking`` never raises: a lost sensor is ``total_j=None``.
    """

    name: str

    def is_available(self) -> bool:
        """Whether a device was really read."""
        ...

    def start_tracking(self) -> Any:
        """Begin a window; the return value goes to ``stop_tracking``."""
        ...

    def stop_tracking(self, tracker: Any) -> EnergyMeasurement:
        """End the window and say what it took."""
        ...


@runtime_checkable
class GpuDevice(Protocol):
    """One GPU; ``GpuDeviceBase`` has counter, temperature, limits and all else with None for what it cannot tell."""

    uuid: str
    index: int

    def name(self) -> str:
        """Product name."""
        ...

    def power_w(self) -> float | None:
        """Power in watts; None where it does not answer."""
        ...


@runtime_checkable
class GpuDriver(Protocol):
    """A vendor's GPUs; ``GpuDriverBase`` has defaults for everything that is not here.

    Several devices are read at once, each of them by one thread at a time.
    """

    name: str

    def devices(self) -> Sequence[GpuDevice]:
        """All GPUs that answer, in the driver's order."""
        ...


@runtime_checkable
class TelemetrySampler(Protocol):
    """Power, temperature and throttle state over time."""

    def start(self) -> None:
        """Begin sampling in the background."""
        ...

    def stop(self) -> None:
        """End sampling; the samples stay."""
        ...

    def get_samples(self) -> list[PowerThermalSample]:
        """The samples since ``start``, oldest first."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Where the processes of a plan run."""

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Run the plan and wait for all of its processes."""
        ...


@runtime_checkable
class ResultsRepository(Protocol):
    """Where results are kept."""

    def save(self, result: ExperimentResult, output_dir: Path) -> Path:
        """Keep a result; the return value is what ``load`` takes."""
        ...

    def load(self, path: Path) -> ExperimentResult:
        """Give back an equal result."""
        ...
