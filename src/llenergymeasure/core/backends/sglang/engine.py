"""The SGLang engine: transformers checkpoints, offline, in SGLang's own scheduler processes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from llenergymeasure.config.engines import SGLangConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledEngine
from llenergymeasure.core.backends.sglang.checks import cautions_of, problems_of
from llenergymeasure.core.backends.sglang.configuration import engine_version
from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.sglang.model import SGLangModel
from llenergymeasure.core.backends.sglang.parameters import engine_arguments, n_gpus
from llenergymeasure.domain.warnings import MeasurementWarning


class SGLangBackend(ScheduledEngine):
    """Runs what SGLang loads; answers are streamed, so that each token has a time of ours."""

    name = "sglang"
    section = SGLangConfig
    module = "sglang"
    packages = ("sglang", "torch", "transformers")
    extra = "sglang"
    hardware_proven = False
    loggers = ("sglang", "transformers", "huggingface_hub", "torch", "flashinfer")
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    told_variables = (
        "SGLANG_ENABLE_",
        "SGLANG_DISABLE_",
        "SGLANG_USE_",
        "SGLANG_MAX_",
        "FLASHINFER_",
        "NCCL_",
        "OMP_NUM_THREADS",
    )

    def version(self) -> str | None:
        """As installed."""
        return engine_version()

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What SGLang refuses, as far as it can be known before it loads."""
        yield from problems_of(config)

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """What will run and not as one would think."""
        return list(cautions_of(config))

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """The first GPUs, as many as there are ranks."""
        return tuple(visible[: n_gpus(config)])

    def open(self, origin: Origin) -> SGLangModel:
        """Load; graphs are captured in it.

        Raises:
            BackendError: SGLang cannot load it.
        """
        core = Core(self._library(), engine_arguments(origin))
        try:
            return SGLangModel(origin, core)
        except BaseException:
            core.close()
            raise
