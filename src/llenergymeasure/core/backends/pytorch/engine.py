"""The PyTorch engine: any causal language model that transformers loads."""

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.pytorch.adapter import with_adapter
from llenergymeasure.core.backends.pytorch.generation import reset_own_settings, section_of, set_draft
from llenergymeasure.core.backends.pytorch.loading import (
    check_loaded,
    checkpoint_of,
    draft_arguments,
    has_cuda,
    loading_arguments,
    read_model_description,
)
from llenergymeasure.core.backends.pytorch.memory import estimate_model
from llenergymeasure.core.backends.pytorch.model import PyTorchModel
from llenergymeasure.core.backends.pytorch.placement import devices_of
from llenergymeasure.core.backends.pytorch.precision import (
    native_precision,
    precision_cautions,
    precision_problems,
)
from llenergymeasure.core.backends.pytorch.preflight.batching import batching_cautions
from llenergymeasure.core.backends.pytorch.preflight.checks import problems_of
from llenergymeasure.core.backends.pytorch.preflight.files import left_out_cautions
from llenergymeasure.core.backends.pytorch.processes import layout_of, leave_group, run_together
from llenergymeasure.core.backends.pytorch.provenance import LoadedFrom
from llenergymeasure.core.backends.pytorch.random_weights import random_model
from llenergymeasure.core.backends.pytorch.seeding import seeded
from llenergymeasure.core.backends.pytorch.switched_load import matrix_products
from llenergymeasure.core.checkpoint.hub import asked_if_it_answers
from llenergymeasure.core.checkpoint.source import (
    PACKAGED_MODELS,
    Checkpoint,
    ModelSource,
    describe_source,
    resolve_model,
)
from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer
from llenergymeasure.core.environment import native_formats
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.session import measure_here
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import ProcessEnd
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_log = logging.getLogger(__name__)

# Threads, allocators, instruction sets and number formats: what torch and its libraries read on starting.
_TELLING = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip


class PyTorchBackend(EngineBase):
    """Runs models through ``transformers`` on the first visible CUDA device, else on the CPU."""

    name = "pytorch"

    section = PyTorchConfig
    packages = ("torch", "transformers", "accelerate")
    extra = "pytorch"
    # torch sets the level of its own loggers on import, except of those it does not know by name.
    loggers = (
        "transformers",
        "huggingface_hub",
        "accelerate",
        "torch",
        "torch.utils._pytree",
        "torchao",
        "bitsandbytes",
    )
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    loads = frozenset({"batches"})

    def load_of(self, config: ExperimentConfig) -> Load:
        """Batches of ``batch_size``."""
        return Load.in_batches(section_of(config).batch_size)

    def checkpoint(self, config: ExperimentConfig) -> Checkpoint:
        """The files that the section's revision and subfolder name, trusted as far as it says."""
        return checkpoint_of(config, describe_source(config.model))

    def problems(self, config: ExperimentConfig) -> list[str]:
        """What is missing on this machine: the model, the adapter, formats; and keys that nobody knows."""
        with asked_if_it_answers(*_of_the_hub(config)):
            return problems_of(config) + precision_problems(config, self._gpus_of(config))

    def cautions(self, config: ExperimentConfig) -> list[MeasurementWarning]:
        """Number formats that are only emulated, batches that change tokens, and weights that the model leaves out."""
        gpus = self._gpus_of(config)
        # GPUs that the driver does not tell apart are no CPU.
        slow = precision_cautions(config, gpus, native_formats()) if gpus or not has_cuda() else []
        with asked_if_it_answers(*_of_the_hub(config)):
            return [*slow, *_cautions_of_the_model(config)]

    def native_precision(self, config: ExperimentConfig) -> str:
        """What the GPUs have tensor cores for, or the CPU instructions; fp32 where neither."""
        gpus = self._gpus_of(config)
        return native_precision(gpus, native_formats()) if gpus or not has_cuda() else self.section.default_precision

    def processes(self, config: ExperimentConfig) -> ProcessLayout:
        """As many as ``data_parallel_size`` or ``tp_plan`` takes."""
        return layout_of(config)

    def start_processes(self, command: Sequence[str], n_processes: int, folder: Path) -> list[ProcessEnd]:
        """By torchrun."""
        return run_together(command, n_processes, folder)

    def switched_load(self, device: str) -> AbstractContextManager[Callable[[float], None]]:
        """Products of large matrices."""
        return matrix_products(device)

    def environment(self) -> dict[str, str]:
        """The instructions that torch's CPU kernels use, and variables that change how torch computes."""
        import torch

        return {"cpu_capability": torch.backends.cpu.get_cpu_capability(), **variables_set(os.environ)}

    def estimate_memory(self, config: ExperimentConfig) -> MemoryEstimate | None:
        """Of the model with its draft and adapter, in all processes; None if its description tells nothing."""
        try:
            return estimate_model(config)
        except Exception as error:  # noqa: BLE001 - an estimate that cannot be had is no error
            _log.debug("the memory of %s is not known: %s", config.model, error)
            return None

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:
        """None without CUDA in torch; those that device_map names, or all that it may use; else one per process."""
        import torch

        if not torch.backends.cuda.is_built():
            return ()
        section = section_of(config)
        if section.device_map is not None:
            return devices_of(section.device_map, visible)
        return tuple(visible[: layout_of(config).n_processes])

    def _gpus_of(self, config: ExperimentConfig) -> list[GpuInfo]:
        visible = visible_gpus()
        chosen = self.select_devices(config, visible.uuids)
        return [gpu for gpu in visible.gpus if gpu.uuid in chosen]

    @contextlib.contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[PyTorchModel]:
        """Load model and tokenizer; on leaving, the device's memory and torch's settings are given back.

        Raises:
            BackendError: the model, its tokenizer, its draft or the adapter cannot be loaded.
        """
        config = plan.config
        with _torch_settings(config), contextlib.ExitStack() as loading:
            loading.enter_context(asked_if_it_answers(*_of_the_hub(config)))
            source = resolve_model(config.model)
            try:
                tokenizer = load_tokenizer(checkpoint_of(config, source))
                model = _load_model(config, source)
                overridden = reset_own_settings(model, config)
                adapter = None
                if config.lora is not None:
                    model, adapter = with_adapter(model, config.lora)
                draft, of_draft = _load_draft(config, model)
                _compile(config, model)
                origin = LoadedFrom(config=config, source=source, adapter=adapter, overridden=[*overridden, *of_draft])
                loaded = PyTorchModel(model, tokenizer, config, draft, origin=origin)
            except BackendError:
                raise
            except Exception as error:
                raise BackendError(f"model {config.model!r} could not be loaded: {error}") from error
            loading.close()
            _sample_alike(config)
            del model, draft  # the last references, so that release() really frees them
            try:
                yield loaded
            finally:
                loaded.release()
                _free()
            if layout_of(config).parallelism == "tensor":
                leave_group()

    def run(self, config: ExperimentConfig) -> ExperimentResult:
        """Measure ``config`` in this process, writing nothing.

        Raises:
            LLEMError: as ``measure``; a configuration of several processes is a ``ConfigError``.
        """
        return ExperimentResult.from_processes([measure_here(config, self)])


def _of_the_hub(config: ExperimentConfig) -> list[str | None]:
    """The names behind which there may be something of the model hub."""
    adapter = None if config.lora is None else config.lora.path
    names = (config.model, section_of(config).assistant_model, adapter)
    return [None if name in PACKAGED_MODELS else name for name in names]


def _cautions_of_the_model(config: ExperimentConfig) -> list[MeasurementWarning]:
    try:
        description = read_model_description(config, describe_source(config.model))
        return [*batching_cautions(config, description), *left_out_cautions(config, description)]
    except Exception as error:  # noqa: BLE001 - whatever keeps a description from being read is told as a problem
        _log.debug("the description of %s cannot be read: %s", config.model, error)
        return []


def variables_set(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the variables that change how torch computes those that are set."""
    return {name: environ[name] for name in _TELLING if name in environ}


@contextlib.contextmanager
def _torch_settings(config: ExperimentConfig) -> Iterator[None]:
    """The settings that torch keeps for the whole process, put back afterwards."""
    import torch

    section = section_of(config)
    n_threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        if section.num_threads is not None:
            torch.set_num_threads(section.num_threads)
        if section.float32_matmul_precision is not None:
            torch.set_float32_matmul_precision(section.float32_matmul_precision)
        yield
    finally:
        torch.set_num_threads(n_threads)
        torch.set_float32_matmul_precision(precision)


def _load_model(config: ExperimentConfig, source: ModelSource) -> Any:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    if section_of(config).random_weights:
        return random_model(config, source)
    arguments = loading_arguments(config, source)
    model, info = _from_pretrained(source, arguments)
    check_loaded(config.model, info)
    if "device_map" not in arguments and "distributed_config" not in arguments and has_cuda():
        model.to(torch.device("cuda:0"))
    model.eval()
    return model


def _from_pretrained(source: ModelSource, arguments: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A model, and which of its weights were in its files."""
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(source.location, output_loading_info=True, **arguments)
    return loaded[0], loaded[1]


def _load_draft(config: ExperimentConfig, model: Any) -> tuple[Any, list[str]]:
    """The draft model beside the model, told how to draft, with what was reset of its own; None without one."""
    section = section_of(config)
    if section.assistant_model is None:
        set_draft(model, section)
        return None, []
    source = resolve_model(section.assistant_model)
    draft, info = _from_pretrained(source, draft_arguments(config, source))
    check_loaded(section.assistant_model, info)
    draft.to(model.device)
    draft.eval()
    overridden = reset_own_settings(draft, config, is_draft=True)
    set_draft(draft, section)
    return draft, [f"{setting} (of the draft model)" for setting in overridden]


def _compile(config: ExperimentConfig, model: Any) -> None:
    section = section_of(config)
    if section.compile:
        options = {"mode": section.compile_mode, "dynamic": section.compile_dynamic}
        # An adapter's wrapper is not what generate runs.
        inner = model if config.lora is None or config.lora.merge else model.get_base_model()
        inner.compile(
            fullgraph=bool(section.compile_fullgraph),
            backend=section.compile_backend or "inductor",
            **{name: value for name, value in options.items() if value is not None},
        )


def _sample_alike(config: ExperimentConfig) -> None:
    """Processes that compute each token together must draw the same one, in warm-up too."""
    if layout_of(config).parallelism == "tensor":
        seeded(config.random_seed)


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
