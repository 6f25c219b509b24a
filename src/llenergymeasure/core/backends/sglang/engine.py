"""The SGLang engine: transformers checkpoints, offline, in SGLang's own scheduler processes."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from llenergymeasure.config.engines import SGLangConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import CheckpointEngine, Origin
from llenergymeasure.core.backends.sglang.checks import cautions_of, problems_of
from llenergymeasure.core.backends.sglang.configuration import engine_version
from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.sglang.model import SGLangModel
from llenergymeasure.core.backends.sglang.parameters import engine_arguments, n_gpus, section_of
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, contained, first_line

# What bears on figures, and no key among it.
_TOLD = ("SGLANG_ENABLE_", "SGLANG_DISABLE_", "SGLANG_USE_", "SGLANG_MAX_", "FLASHINFER_", "NCCL_", "OMP_NUM_THREADS")


class SGLangBackend(CheckpointEngine):
    """Runs what SGLang loads; answers are streamed, so that each token has a time of ours."""

    name = "sglang"
    section = SGLangConfig
    packages = ("sglang", "torch", "transformers")
    extra = "sglang"
    takes_quantised = True
    hardware_proven = False
    loggers = ("sglang", "transformers", "huggingface_hub", "torch", "flashinfer")
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    loads = frozenset({"all_at_once", "concurrency", "due_times"})

    def __init__(self, library: Callable[[], Any] | None = None) -> None:
        """``library`` gives the module ``sglang``; None imports it."""
        self._library = library or self._imported

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What SGLang refuses, as far as it can be known before it loads."""
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
        """The distribution, and variables that change how SGLang computes."""
        told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD)}
        return {"sglang": engine_version() or "unknown", **told}

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

    @staticmethod
    def _imported() -> Any:
        try:
            with contained():
                return importlib.import_module("sglang")
        except Exception as error:
            raise BackendError(f"sglang cannot be imported: {first_line(error)}; install it anew") from error
