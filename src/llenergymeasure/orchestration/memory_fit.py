"""Whether an experiment's memory is there, before anything is loaded."""

from dataclasses import dataclass

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.gpu_info import VisibleGpus
from llenergymeasure.core.memory import FreeMemory, free_gpu_memory, free_host_memory
from llenergymeasure.domain.metrics import MemoryEstimate

_ADVICE = "lower batch_size, max_input_tokens or max_output_tokens, use fewer bits, or give it more memory"


@dataclass(frozen=True)
class MemoryFit:
    """What an experiment takes and what there is.

    Refused are weights and cache that cannot fit, whatever an allocator does, at the lengths the configuration allows.
    """

    estimate: MemoryEstimate | None
    free: FreeMemory

    @property
    def problem(self) -> str | None:
        """Why it cannot be run; None if it may."""
        estimate, free = self.estimate, self.free
        if estimate is None or free.free_mb is None or estimate.may_spill:
            return None
        if estimate.certain_mb <= free.free_mb + free.swap_mb:
            return None
        return f"not enough memory: {self._comparison(estimate.certain_mb)}; {_ADVICE}"

    @property
    def caution(self) -> str | None:
        """Why it might fail, or be slow; None if it has room."""
        estimate, free = self.estimate, self.free
        if estimate is None or free.free_mb is None or self.problem is not None:
            return None
        needed_mb = estimate.certain_mb if estimate.total_mb is None else estimate.total_mb
        if needed_mb <= free.free_mb:
            return None
        elsewhere = " and parts go to slower memory" if estimate.may_spill else ""
        return f"memory_tight: {self._comparison(needed_mb)}{elsewhere}; {_ADVICE}"

    def _comparison(self, needed_mb: float) -> str:
        swap = f" and {self.free.swap_mb:,.0f} MB of swap" if self.free.swap_mb else ""
        return (
            f"up to {needed_mb:,.0f} MB are needed ({parts_of(self.estimate)}), and {self.free.free_mb:,.0f} MB "
            f"{self.free.where}{swap} are free"
        )


def memory_fit(config: ExperimentConfig, visible: VisibleGpus) -> MemoryFit:
    """The engine's estimate beside what is free where the experiment would run; found without a CUDA context."""
    backend = get_backend(config.backend)
    estimate = backend.estimate_memory(config)
    if visible.problem is not None:
        return MemoryFit(estimate, FreeMemory(where=f"({visible.problem})", free_mb=None))
    chosen = backend.select_devices(config, visible.uuids)
    gpus = [gpu for gpu in visible.gpus if gpu.uuid in chosen]
    return MemoryFit(estimate, free_gpu_memory(gpus) if gpus else free_host_memory())


def parts_of(estimate: MemoryEstimate | None) -> str:
    """Each part with its size; one that is unknown says so."""
    if estimate is None:
        return "unknown"
    named = {
        "weights": estimate.weights_mb,
        "KV cache": estimate.kv_cache_mb,
        "activations": estimate.activations_mb,
        "libraries and slack": estimate.overhead_mb,
    }
    return ", ".join(f"{name} {'unknown' if mb is None else f'{mb:,.0f}'}" for name, mb in named.items())
