"""The vLLM engine: transformers checkpoints, offline, in vLLM's own engine process."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import ScheduledEngine
from llenergymeasure.core.backends.vllm.adapter import adapter_problems
from llenergymeasure.core.backends.vllm.cautions import cautions_of
from llenergymeasure.core.backends.vllm.checks import problems_of
from llenergymeasure.core.backends.vllm.configuration import engine_version, runs_on_cpu
from llenergymeasure.core.backends.vllm.core import Core
from llenergymeasure.core.backends.vllm.memory import Place, estimate, room_problems, space_in
from llenergymeasure.core.backends.vllm.model import VLLMModel
from llenergymeasure.core.backends.vllm.parameters import engine_arguments, n_gpus, section_of
from llenergymeasure.core.backends.vllm.quantised import quantisation_problems
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.core.environment import cpu_flags, native_formats
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.memory.free import host_total_mb
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import first_line

_log = logging.getLogger(__name__)


class VLLMBackend(ScheduledEngine):
    """Runs what vLLM loads, driven step by step, so that each token has a time of ours."""

    name = "vllm"
    section = VLLMConfig
    module = "vllm"
    packages = ("vllm", "torch", "transformers")
    extra = "vllm"
    loggers = ("vllm", "transformers", "huggingface_hub", "torch", "torch.utils._pytree", "torchao")
    # Nothing is sent to vLLM's makers; its messages go the way of all others, and its processes are started clean,
    # for this one may have threads.
    variables: ClassVar[Mapping[str, str]] = {
        "TRANSFORMERS_VERBOSITY": "error",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_CONFIGURE_LOGGING": "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    told_variables = ("VLLM_CPU_", "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_USE_", "VLLM_ATTENTION", "OMP_NUM_THREADS")

    def version(self) -> str | None:
        """As installed."""
        return engine_version()

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What vLLM refuses, as far as it can be known before it loads."""
        yield from problems_of(config)

    def described_problems(self, config: ExperimentConfig, description: Any) -> Iterator[str]:
        """What vLLM refuses of this model, or runs as another one."""
        yield from adapter_problems(config, description)
        yield from quantisation_problems(config, description, on_cpu=runs_on_cpu(), flags=cpu_flags())
        model = skeleton(description, trust_remote_code=self.trusted(config))
        if model is not None and section_of(config).max_model_len is not None:
            with contextlib.suppress(OSError, ValueError):  # weights that are not here
                yield from room_problems(config, model, _place_of(config))

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:
        """Weights and cache, by vLLM's own rule; None of a model whose description tells nothing."""
        try:
            model = skeleton(read_description(self.checkpoint(config)), trust_remote_code=self.trusted(config))
            return None if model is None else estimate(config, model, _place_of(config))
        except Exception as error:  # noqa: BLE001 - an estimate that cannot be had is no error
            _log.debug("the memory of %s is not known: %s", config.model, first_line(error))
            return None

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """What will run and not as one would think."""
        return list(cautions_of(config, on_cpu=runs_on_cpu(), native=native_formats()))

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """The first GPUs, as many as there are ranks; none of a vLLM that is made for CPUs."""
        return () if runs_on_cpu() else tuple(visible[: n_gpus(config)])

    def open(self, origin: Origin) -> VLLMModel:
        """Load; graphs are captured in it.

        Raises:
            BackendError: vLLM cannot load it.
        """
        adapter = origin.adapter
        rank = None if adapter is None else adapter.rank
        core = Core(self._library(), engine_arguments(origin.config, str(origin.opened), rank))
        try:
            if adapter is not None:
                core.put_on(adapter.folder)
            return VLLMModel(origin, core)
        except BaseException:
            core.close()
            raise


def _place_of(config: ExperimentConfig) -> Place:
    if runs_on_cpu():
        return Place(total_mb=(host_total_mb(),), on_cpu=True, space_bytes=space_in(os.environ))
    gpus = visible_gpus().gpus[: n_gpus(config)]
    return Place(total_mb=tuple(gpu.memory_total_mb for gpu in gpus), on_cpu=False)
