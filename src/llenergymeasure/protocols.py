"""The five seams. Whoever implements one of these can be plugged in without touching the rest."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, ModelIdentity, Prompt
from llenergymeasure.domain.metrics import EnergyMeasurement, FlopsResult, MemoryEstimate
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import PowerThermalSample


@runtime_checkable
class LoadedModel(Protocol):
    """A model in an engine, ready to generate. It owns its handles."""

    def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Sequence[Prompt]]:
        """Tokenise [n] prompts and group them as they will be run; outside the measured window."""
        ...

    def seed(self, random_seed: int) -> None:
        """Start sampling from this seed; called once, just before the measured window."""
        ...

    def generate(self, prompts: Sequence[Prompt]) -> InferenceOutput:
        """Run one prepared group to its end, in the order given."""
        ...

    def synchronize(self) -> None:
        """Return when the device has finished everything it was given."""
        ...

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """Floating-point operations behind ``output``; None if the engine cannot tell."""
        ...

    def peak_memory_mb(self) -> float | None:
        """Most memory held since loading, in MB (10^6 bytes); of the device, or the process on a CPU."""
        ...

    def warnings(self) -> Sequence[str]:
        """What a reader has to know of how the engine ran since ``seed``, each with its flag and what to do."""
        ...

    def describe(self) -> ModelDescription:
        """Engine, version, real devices and parameters as the engine resolved them."""
        ...

    def identity(self) -> ModelIdentity:
        """Commit and digests of the files that were loaded; may read all of them, so it is asked once, when loaded."""
        ...


@runtime_checkable
class InferenceBackend(Protocol):
    """An inference engine."""

    name: str

    def installation_problem(self) -> str | None:
        """Why the engine cannot be used at all; None if it is installed."""
        ...

    def problems(self, config: ExperimentConfig) -> Sequence[str]:
        """Everything that would keep ``config`` from running here, found without touching a device."""
        ...

    def cautions(self, config: ExperimentConfig) -> Sequence[str]:
        """What will run and not as one would think, each with its flag and what to do; no device is touched."""
        ...

    def processes(self, config: ExperimentConfig) -> ProcessLayout:
        """How many processes have to be started for ``config``; an engine that starts its own needs one."""
        ...

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:
        """What all processes will hold in memory, from the model's description alone; None if it cannot be told."""
        ...

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """UUIDs, out of the visible GPUs', that ``config`` will use; found without a CUDA context.

        Of several processes each is asked for its own; before they are started, for those of all.
        """
        ...

    def load(self, plan: ExperimentPlan) -> AbstractContextManager[LoadedModel]:
        """Load the model; leaving the context frees it.

        Raises:
            BackendError: the model cannot be had.
        """
        ...


@runtime_checkable
class EnergyBackend(Protocol):
    """A source of joules. Once started, ``stop_tracking`` never raises: a lost sensor is ``total_j=None``."""

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
