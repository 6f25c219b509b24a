"""Whether an experiment's memory is there, before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.memory.free import FreeMemory, free_gpu_memory, free_host_memory, fullest_gpu_memory
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.warnings import MeasurementWarning

_ADVICE = "lower batch_size, max_input_tokens or max_output_tokens, use fewer bits, or give it more memory"


@dataclass(frozen=True)
class MemoryFit:
    """What an experiment takes and what there is.

    Refused are weights and cache that cannot fit, whatever an allocator does, at the lengths the configuration allows.
    Where each of ``n_processes`` has a GPU of its own, ``estimate`` is what one of them takes, and ``free`` is of the
    fullest GPU.
    """

    estimate: MemoryEstimate | None
    free: FreeMemory
    n_processes: int = 1

    @property
    def problem(self) -> str | None:
        """Why it cannot be run; None if it may."""
        estimate, free = self.estimate, self.free
        if estimate is None or free.free_mb is None or estimate.may_spill:
            return None
        if estimate.certain_mb <= free.free_mb + free.swap_mb:
            return None
        cache = "unknown" if estimate.kv_cache_mb is None else f"{estimate.kv_cache_mb:,.0f}"
        return (
            f"not enough memory: weights and KV cache alone take {estimate.certain_mb:,.0f} MB{self.for_each} (weights "
            f"{estimate.weights_mb:,.0f}, KV cache {cache}), and {self._there_is()}; {estimate.advice or _ADVICE}"
        )

    @property
    def caution(self) -> MeasurementWarning | None:
        """Why it might fail, or be slow; None if it has room."""
        estimate, free = self.estimate, self.free
        if estimate is None or free.free_mb is None or self.problem is not None:
            return None
        needed_mb = estimate.certain_mb if estimate.total_mb is None else estimate.total_mb
        if needed_mb <= free.free_mb:
            return None
        elsewhere = " and parts go to slower memory" if estimate.may_spill else ""
        return MeasurementWarning(
            "memory_tight",
            f"up to {needed_mb:,.0f} MB are needed{self.for_each} ({parts_of(estimate)}), and "
            f"{self._there_is()}{elsewhere}",
            estimate.advice or _ADVICE,
        )

    @property
    def for_each(self) -> str:
        """What a figure of one process is followed by; nothing where it is the whole."""
        return f" for each of {self.n_processes} processes" if self.n_processes > 1 else ""

    def _there_is(self) -> str:
        swap = f" and {self.free.swap_mb:,.0f} MB of swap" if self.free.swap_mb else ""
        return f"{self.free.free_mb:,.0f} MB {self.free.where}{swap} are free"


def memory_fit(
    estimate: MemoryEstimate | None, devices: Sequence[str], n_processes: int, visible: VisibleGpus
) -> MemoryFit:
    """An engine's estimate beside what is free where the experiment would run; found without a CUDA context.

    Args:
        estimate: what all processes take together.
        devices: UUIDs of the GPUs that they will use; none for the CPU.
        n_processes: how many there are.
        visible: the GPUs of this machine, or why they are not known.
    """
    if visible.problem is not None:
        return MemoryFit(estimate, FreeMemory(where=f"({visible.problem})", free_mb=None))
    gpus = [gpu for gpu in visible.gpus if gpu.uuid in devices]
    if not gpus:
        return MemoryFit(estimate, free_host_memory())
    return fit_on_gpus(estimate, gpus, n_processes)


def fit_on_gpus(estimate: MemoryEstimate | None, gpus: Sequence[GpuInfo], n_processes: int) -> MemoryFit:
    """An estimate of all processes beside what is left on their GPUs.

    Args:
        estimate: what the processes take together.
        gpus: [n] GPUs, which one process has together, and several have one each.
        n_processes: how many processes there are.
    """
    if n_processes == 1:
        return MemoryFit(estimate, free_gpu_memory(gpus))
    share = None if estimate is None else estimate.divided_by(n_processes)
    return MemoryFit(share, fullest_gpu_memory(gpus), n_processes)


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
