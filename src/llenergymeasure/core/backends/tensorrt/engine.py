"""The TensorRT-LLM engine: transformers checkpoints, offline, in MPI workers of TensorRT-LLM's."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from llenergymeasure.config.engines import TensorRTConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import CheckpointEngine, Origin
from llenergymeasure.core.backends.tensorrt.checks import cautions_of, problems_of
from llenergymeasure.core.backends.tensorrt.configuration import engine_version
from llenergymeasure.core.backends.tensorrt.model import TensorRTModel
from llenergymeasure.core.backends.tensorrt.parameters import n_gpus, section_of
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, contained, first_line

# What bears on figures, and no key among it.
_TOLD = ("TLLM_", "TRTLLM_", "OMP_NUM_THREADS")


class TensorRTBackend(CheckpointEngine):
    """Runs what TensorRT-LLM loads, streamed, so that each token has a time of ours."""

    name = "tensorrt"
    section = TensorRTConfig
    packages = ("tensorrt_llm", "torch", "transformers")
    extra = "tensorrt"
    takes_quantised = True
    hardware_proven = False
    loggers = ("TRT-LLM", "tensorrt_llm", "transformers", "huggingface_hub", "torch", "torch.utils._pytree")
    # Nothing is sent to its makers by releases that would, and nothing is written in the measured loop.
    variables: ClassVar[Mapping[str, str]] = {
        "TRANSFORMERS_VERBOSITY": "error",
        "TLLM_LOG_LEVEL": "WARNING",
        "TRTLLM_NO_USAGE_STATS": "1",
    }
    loads = frozenset({"all_at_once", "concurrency", "due_times"})

    def __init__(self, library: Callable[[], Any] | None = None) -> None:
        """``library`` gives the module ``tensorrt_llm``; None imports it."""
        self._library = library or self._imported

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What TensorRT-LLM refuses, as far as it can be known before it loads."""
        yield from problems_of(config)

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """What will run and not as one would think."""
        return list(cautions_of(config))

    def reads_weights(self, config: ExperimentConfig) -> bool:
        """Dummy weights are drawn."""
        return section_of(config).load_format != "dummy"

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """The first GPUs, as many as there are ranks."""
        return tuple(visible[: n_gpus(config)])

    def environment(self) -> dict[str, str]:
        """The version, and variables that change how TensorRT-LLM computes."""
        told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
        return {"tensorrt_llm": engine_version() or "unknown", **told}

    def open(self, origin: Origin) -> TensorRTModel:
        """Load; graphs are captured and kernels tried in it.

        Raises:
            BackendError: TensorRT-LLM cannot load it.
        """
        return TensorRTModel(origin, self._library)

    def _imported(self) -> Any:
        # It reads them when it is imported, and so do the workers that it starts.
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        try:
            with contained():
                return importlib.import_module("tensorrt_llm")
        except Exception as error:
            raise BackendError(f"tensorrt_llm cannot be imported: {first_line(error)}; install it anew") from error
