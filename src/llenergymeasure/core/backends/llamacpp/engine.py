"""The llama.cpp engine: GGUF files, through the package ``xllamacpp``."""

import contextlib
import gc
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.llamacpp.checks import imported, problems_of
from llenergymeasure.core.backends.llamacpp.memory import estimate
from llenergymeasure.core.backends.llamacpp.model import LlamaCppModel, engine_version
from llenergymeasure.core.backends.llamacpp.opened import header_for, opened
from llenergymeasure.core.backends.llamacpp.parameters import common_params, section_of
from llenergymeasure.core.backends.llamacpp.socket_place import place_of_socket
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError, first_line

_log = logging.getLogger(__name__)

# ggml's names of backends that run on GPUs, as they stand before what each was built for.
_GPU_BUILDS = ("CUDA", "ROCm", "Vulkan", "SYCL", "Metal")
_BUILD = re.compile(r"(?:^|\| )(\w+) : ")


class LlamaCppBackend(EngineBase):
    """Runs GGUF files through llama.cpp's own server, in this process and behind a socket of this user's alone."""

    name = "llamacpp"

    section = LlamaCppConfig
    packages = ("xllamacpp", "gguf", "transformers", "torch")
    extra = "llamacpp"
    # transformers reads a file's description, and imports what it may need of quantised models.
    loggers = ("gguf", "transformers", "torch", "torch.utils._pytree", "torchao")
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    loads = frozenset({"all_at_once", "concurrency", "due_times"})

    def __init__(self, library: Callable[[], Any] = imported) -> None:
        """``library`` gives the module ``xllamacpp``."""
        self._library = library

    def problems(self, config: ExperimentConfig) -> list[str]:
        """What the file is not, or has no room for, and what llama.cpp does not know."""
        try:
            library = self._library()
            return list(problems_of(config, library, len(self.select_devices(config, visible_gpus().uuids))))
        except BackendError as error:
            return [str(error)]

    def native_precision(self, config: ExperimentConfig) -> str:
        """What the file holds; one that is quantised, made here or cannot be read goes with what ``config`` says."""
        try:
            return header_for(config).precision or config.precision
        except BackendError:
            return config.precision

    def environment(self) -> dict[str, str]:
        """The build, and the instructions and devices that it was built for and found."""
        return {
            "llama_cpp": engine_version() or "unknown",
            "llama_cpp_system": self._library().get_system_info().strip(),
        }

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:
        """Weights and cache by the file's header; None where there is none."""
        try:
            return estimate(header_for(config), section_of(config))
        except Exception as error:  # noqa: BLE001 - an estimate that cannot be had is no error
            _log.debug("the memory of %s is not known: %s", config.model, error)
            return None

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """All that are visible, where llama.cpp was built for GPUs and may put layers on them."""
        section = section_of(config)
        builds = _BUILD.findall(self._library().get_system_info())
        may_use = section.n_gpu_layers != 0 or section.no_op_offload is not True
        return tuple(visible) if may_use and any(build in _GPU_BUILDS for build in builds) else ()

    @contextlib.contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[LlamaCppModel]:
        """Load the file, which may have to be made first; on leaving, threads, socket and weights are gone.

        Raises:
            BackendError: it cannot be had, or llama.cpp cannot load it.
        """
        config, library = plan.config, self._library()
        file = opened(config)
        with place_of_socket() as socket:
            try:
                params = common_params(library, config, file.path, str(socket))
                server = library.Server(params)
                model = LlamaCppModel(server, params, config, file)
            except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, OSError) as error:
                raise BackendError(
                    f"model {config.model!r} could not be loaded: {first_line(error)} (the log has what llama.cpp said)"
                ) from error
            model.devices = self.select_devices(config, visible_gpus().uuids)
            del server  # the last reference beside the model's, so that release() really ends it
            try:
                yield model
            finally:
                model.release()
                gc.collect()
