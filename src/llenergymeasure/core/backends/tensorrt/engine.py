"""The TensorRT-LLM engine: transformers checkpoints, offline, in MPI workers of TensorRT-LLM's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from llenergymeasure.config.engines import TensorRTConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledEngine
from llenergymeasure.core.backends.tensorrt.checks import cautions_of, problems_of
from llenergymeasure.core.backends.tensorrt.configuration import engine_version
from llenergymeasure.core.backends.tensorrt.model import TensorRTModel
from llenergymeasure.core.backends.tensorrt.parameters import n_gpus
from llenergymeasure.domain.warnings import MeasurementWarning


class TensorRTBackend(ScheduledEngine):
    """Runs what TensorRT-LLM loads, streamed, so that each token has a time of ours."""

    name = "tensorrt"
    section = TensorRTConfig
    module = "tensorrt_llm"
    packages = ("tensorrt_llm", "torch", "transformers")
    extra = "tensorrt"
    hardware_proven = False
    loggers = ("TRT-LLM", "tensorrt_llm", "transformers", "huggingface_hub", "torch", "torch.utils._pytree")
    # Nothing is sent to its makers by releases that would, and nothing is written in the measured loop.
    variables: ClassVar[Mapping[str, str]] = {
        "TRANSFORMERS_VERBOSITY": "error",
        "TLLM_LOG_LEVEL": "WARNING",
        "TRTLLM_NO_USAGE_STATS": "1",
    }
    told_variables = ("TLLM_", "TRTLLM_", "OMP_NUM_THREADS")

    def version(self) -> str | None:
        """As installed."""
        return engine_version()

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What TensorRT-LLM refuses, as far as it can be known before it loads."""
        yield from problems_of(config)

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """What will run and not as one would think."""
        return list(cautions_of(config))

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """The first GPUs, as many as there are ranks."""
        return tuple(visible[: n_gpus(config)])

    def open(self, origin: Origin) -> TensorRTModel:
        """Load; graphs are captured and kernels tried in it.

        Raises:
            BackendError: TensorRT-LLM cannot load it.
        """
        return TensorRTModel(origin, self._library)
