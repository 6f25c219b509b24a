"""How many processes an experiment takes, and whether this machine can hold them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.placement import highest_gpu
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.domain.process import ProcessEnd


def layout_of(config: ExperimentConfig) -> ProcessLayout:
    """The processes of a configuration; ``tp_plan`` without ``tp_size`` takes as many as there are GPUs."""
    section = section_of(config)
    if section.tp_plan is not None:
        return ProcessLayout.of(section.tp_size or n_gpus(), "tensor")
    return ProcessLayout.of(section.data_parallel_size or 1, "data")


def n_gpus() -> int:
    """The GPUs that torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def process_problems(config: ExperimentConfig, n_there: int | None = None) -> Iterator[str]:
    """What of this machine, or of the adapter, is not made for so many processes or GPUs.

    Args:
        config: the experiment.
        n_there: the GPUs of this machine; None are those that torch sees.
    """
    section = section_of(config)
    n_there, n_needed = n_gpus() if n_there is None else n_there, layout_of(config).n_processes
    if section.tp_plan is not None and section.tp_size is None and n_there == 0:
        yield (
            "pytorch.tp_plan: without tp_size it takes all visible GPUs, and torch sees none; "
            "give tp_size, which on a CPU is the number of processes"
        )
    if layout_of(config).parallelism == "tensor" and config.lora is not None and config.lora.merge:
        yield (
            "lora.merge: an adapter cannot be folded into weights that pytorch.tp_plan has split over processes; "
            "set lora.merge: false"
        )
    highest = None if section.device_map is None else highest_gpu(section.device_map)
    if highest is not None and 0 < n_there <= highest:
        yield (
            f"pytorch.device_map: it names GPU {highest}, counted from 0, and torch sees {n_there}; change it, or let "
            "CUDA_VISIBLE_DEVICES show more"
        )
    if 0 < n_there < n_needed:
        field = "tp_size" if section.tp_plan is not None else "data_parallel_size"
        yield (
            f"pytorch.{field}: {n_needed} processes need {n_needed} GPUs, and torch sees {n_there}; "
            "lower it, or let CUDA_VISIBLE_DEVICES show more"
        )


def unshareable(config: ExperimentConfig, description: Any) -> Iterator[str]:
    """What of a model cannot be split by its own tensor-parallel plan.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    layout = layout_of(config)
    if layout.parallelism != "tensor":
        return
    text = description.get_text_config()
    plan = getattr(text, "base_model_tp_plan", None) or {}
    if not plan:
        yield f"pytorch.tp_plan: transformers has no such plan for models of type {text.model_type!r}; remove it"
    for projection, name in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
        n_heads = getattr(text, name, None)
        # Other styles put the heads together again before anybody looks at one.
        is_split = any(key.endswith(f".{projection}") and style == "colwise" for key, style in plan.items())
        if is_split and n_heads is not None and n_heads % layout.n_processes:
            yield (
                f"pytorch.tp_size: {layout.n_processes} processes cannot share {n_heads} of {name} evenly; "
                "choose a divisor of it"
            )


def leave_group() -> None:
    """Leave the process group that transformers joined; for a process that has done its work."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):  # nothing that was measured depends on it
            torch.distributed.destroy_process_group()


def run_together(command: Sequence[str], n_processes: int, folder: Path) -> list[ProcessEnd]:
    """Run Python with ``command`` in [n] processes of this machine to their end; those that failed.

    torchrun itself only prints how they ended. Its own files go to ``folder``: where it is killed nobody removes what
    it has left in the temporary folder.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", "127.0.0.1", "--max-restarts", "0", "--log-dir", str(folder)]
    try:
        run.main([*options, "--nproc-per-node", str(n_processes), *command])
    except ChildFailedError as error:
        return [
            ProcessEnd(process_index=rank, exit_code=failure.exitcode, time_s=failure.timestamp)
            for rank, failure in error.failures.items()
        ]
    return []
