"""What every engine has without writing it: defaults for all but loading, running and describing."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from llenergymeasure.config.engines import EngineSection
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint, describe_source
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, ModelIdentity, Request, RequestOutput
from llenergymeasure.domain.load import Load, LoadKind
from llenergymeasure.domain.metrics import FlopsResult, MemoryEstimate
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import ProcessEnd
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError
from llenergymeasure.protocols import LoadedModel


class LoadedModelBase:
    """A ``LoadedModel`` whose ``run`` and ``describe`` are still to be written.

    ``computes_here`` says whether this process does the work; where another one does, its own is to send and receive.
    """

    computes_here: ClassVar[bool] = True

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Run [n] requests as ``load`` says, telling each as soon as it has ended."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def describe(self) -> ModelDescription:
        """Engine, version, real devices and parameters as the engine resolved them."""
        raise NotImplementedError(f"{type(self).__name__} has no describe()")

    def seed(self, random_seed: int) -> None:
        """Start sampling from this seed; called just before the measured window."""

    def synchronize(self) -> None:
        """Return when the device has finished everything it was given; at once where ``run`` returns no earlier."""

    def capacity(self) -> int | None:
        """Most requests that the scheduler works on at a time; None where it has no such limit, or does not say."""
        return None

    def flops(self, output: InferenceOutput) -> FlopsResult | None:  # noqa: ARG002 - a default
        """Floating-point operations behind ``output``; None where the engine cannot tell."""
        return None

    def peak_memory_mb(self) -> float | None:
        """Most memory held since loading, in MB (10^6 bytes); of the device, or the process on a CPU."""
        return None

    def token_log_probs(self, token_ids: Sequence[int]) -> Sequence[float] | None:  # noqa: ARG002 - a default
        """Natural logarithms of the probability of each of [n] tokens but the first, given those before it.

        Of the model as it is loaded, with its adapter and its quantisation, before any setting of decoding: [n - 1]
        values of zero or less. Asked after everything is measured, of at most as many tokens as the model has room for;
        under tensor parallelism of all processes at once. None where the engine cannot tell.
        """
        return None

    def warnings(self) -> Sequence[MeasurementWarning]:
        """What a reader has to know of how the engine ran since ``seed``; a text ``flag: ...`` will do."""
        return ()

    def identity(self) -> ModelIdentity:
        """Commit and digests of the files that were loaded; may read all of them, so it is asked once, when loaded."""
        return ModelIdentity()


class EngineBase:
    """An ``InferenceBackend`` whose ``load`` is still to be written.

    ``section`` holds its settings, and says which precisions it has and which it takes where none was written.
    ``packages`` are the modules that must be there, ``extra`` the extra of this package that brings them. ``loggers``
    are those of its libraries, which are kept quiet, and ``variables`` are set in processes of ours that the user has
    not set. ``loads`` are the ways in which requests may arrive. One that ``tokenises_itself`` is given messages and
    text, and says how many tokens there were; every other one is given token ids. One that is not
    ``hardware_proven`` was tested against a recorded shape of its library's API only: ``llem config``, preflight and
    every result say so.
    """

    name: str
    section: ClassVar[type[EngineSection]] = EngineSection
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    loggers: ClassVar[tuple[str, ...]] = ()
    variables: ClassVar[Mapping[str, str]] = {}
    loads: ClassVar[frozenset[LoadKind]] = frozenset({"all_at_once"})
    tokenises_itself: ClassVar[bool] = False
    hardware_proven: ClassVar[bool] = True

    def load(self, plan: ExperimentPlan) -> AbstractContextManager[LoadedModel]:
        """Load the model; leaving the context frees it."""
        raise NotImplementedError(f"the engine {self.name} has no load()")

    def installation_problem(self) -> str | None:
        """Why the engine cannot be used at all; by default the packages that are missing."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if not missing:
            return None
        how = f"; install with pip install 'llenergymeasure[{self.extra}]'" if self.extra else ""
        return f"the {self.name} engine needs {', '.join(missing)}{how}"

    def problems(self, config: ExperimentConfig) -> Sequence[str]:  # noqa: ARG002 - a default
        """What beside a missing package would keep ``config`` from running here, found without touching a device."""
        return ()

    def cautions(self, config: ExperimentConfig) -> Sequence[MeasurementWarning]:  # noqa: ARG002 - a default
        """What will run and not as one would think, as ``LoadedModelBase.warnings``; no device is touched."""
        return ()

    def takes_text(self, config: ExperimentConfig) -> bool:  # noqa: ARG002 - a default
        """Whether it tokenises the prompts of ``config`` itself; by default it does so with all or none."""
        return self.tokenises_itself

    def elsewhere(self, config: ExperimentConfig) -> str | None:  # noqa: ARG002 - a default
        """Why joules of this machine are not those of the work of ``config``; None where they are."""
        return None

    def load_of(self, config: ExperimentConfig) -> Load:  # noqa: ARG002 - a default
        """How the requests of an experiment arrive that does not say it."""
        return Load.all_at_once()

    def checkpoint(self, config: ExperimentConfig) -> Checkpoint:
        """The files from which prompts are tokenised.

        Raises:
            BackendError: they cannot be had.
        """
        return Checkpoint(source=describe_source(config.model))

    def processes(self, config: ExperimentConfig) -> ProcessLayout:  # noqa: ARG002 - a default
        """How many processes have to be started for ``config``; an engine that starts its own needs one."""
        return ProcessLayout()

    def start_processes(self, command: Sequence[str], n_processes: int, folder: Path) -> Sequence[ProcessEnd]:  # noqa: ARG002
        """Run ``command`` (after Python's own) in all processes of ``processes`` to their end; those that failed.

        All end when one fails, and each finds its number in the variable ``RANK``. ``folder`` is for files that only
        serve to run them; it need not exist yet, and goes with the run.
        """
        raise BackendError(f"the {self.name} engine asks for {n_processes} processes and cannot start them")

    def switched_load(self, device: str) -> AbstractContextManager[Callable[[float], None]]:  # noqa: ARG002 - a default
        """Work for a GPU, given by its UUID, that ``llem calibrate`` switches on and off.

        What the context gives is called with seconds, keeps the GPU busy for as long and returns when it is idle.

        Raises:
            BackendError: the engine has none, or cannot use the GPU.
        """
        raise BackendError(f"the {self.name} engine has no load to calibrate with")

    def native_precision(self, config: ExperimentConfig) -> str:  # noqa: ARG002 - a default
        """What the device of ``config`` computes natively: ``precision: auto``. No device is touched."""
        return self.section.default_precision

    def environment(self) -> Mapping[str, str]:
        """What of this machine and installation bears on the figures of this engine; goes into the snapshot."""
        return {}

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:  # noqa: ARG002 - a default
        """What all processes will hold in memory, from the model's description alone; None if it cannot be told."""
        return None

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """UUIDs, out of the visible GPUs', that ``config`` will use; found without touching one.

        By default all of them: once the model is loaded, what it does not describe as its devices is left out. Of
        several processes those of all, in their order where each has one of its own.
        """
        return tuple(visible)
