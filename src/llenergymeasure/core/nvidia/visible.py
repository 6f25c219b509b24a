"""Which GPUs CUDA shows to a process."""

from collections.abc import Sequence

from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.domain.environment import GpuInfo


def shown_by_cuda(gpus: Sequence[GpuInfo], listed: str | None) -> VisibleGpus:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, by index or by (the start of a) UUID, in CUDA's order.

    As in CUDA, the list ends at the first entry that names no device. A MIG slice cannot be told
    from its neighbours by any energy sensor, so it leaves no GPUs and a problem.

    Args:
        gpus: all of the machine, in the driver's order.
        listed: the variable; None where it is not set.
    """
    if listed is None or not gpus:
        return _unless_sliced(gpus)
    chosen: list[GpuInfo] = []
    for entry in (part.strip() for part in listed.split(",")):
        if entry.upper().startswith("MIG"):
            return VisibleGpus(
                problem=f"CUDA_VISIBLE_DEVICES names the MIG slice {entry}: no sensor sees the energy of one slice; "
                "measure on a whole GPU"
            )
        gpu = _match(entry, gpus)
        if gpu is None or gpu in chosen:
            break
        chosen.append(gpu)
    return _unless_sliced(chosen)


def _unless_sliced(gpus: Sequence[GpuInfo]) -> VisibleGpus:
    sliced = [gpu.uuid for gpu in gpus if gpu.mig_mode]
    if not sliced:
        return VisibleGpus(tuple(gpus))
    return VisibleGpus(
        problem=f"{', '.join(sliced)} is in MIG mode: no sensor sees the energy of one slice; measure on a whole GPU"
    )


def _match(entry: str, gpus: Sequence[GpuInfo]) -> GpuInfo | None:
    if entry.isdecimal():
        # CUDA counts by speed unless CUDA_DEVICE_ORDER is PCI_BUS_ID; the driver counts by bus. They
        # agree on machines whose GPUs are alike, and the engine's own report is checked after loading.
        return gpus[int(entry)] if int(entry) < len(gpus) else None
    found = [gpu for gpu in gpus if entry and gpu.uuid.lower().startswith(entry.lower())]
    return found[0] if len(found) == 1 else None
