"""Which GPUs there are, and which of them this process may use. Creates no CUDA context."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.core.nvidia.nvml import NvmlDevice, NvmlUnavailableError, nvml_session
from llenergymeasure.domain.environment import GpuInfo


@dataclass(frozen=True)
class VisibleGpus:
    """The GPUs CUDA would show, in CUDA's order, or why that is not known."""

    gpus: tuple[GpuInfo, ...] = ()
    problem: str | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        """UUIDs in CUDA's order."""
        return tuple(gpu.uuid for gpu in self.gpus)


def list_gpus(library: Any = None) -> tuple[GpuInfo, ...]:
    """All NVIDIA GPUs of the machine in the driver's order; none without a driver."""
    try:
        with nvml_session(library) as nvml:
            return tuple(_describe(device) for device in nvml.devices())
    except NvmlUnavailableError:
        return ()


def has_energy_counter(uuid: str, library: Any = None) -> bool:
    """Whether this GPU counts its energy (Volta and later)."""
    try:
        with nvml_session(library) as nvml:
            return nvml.device_by_uuid(uuid).energy_counter_j() is not None
    except NvmlUnavailableError:
        return False


def driver_version(library: Any = None) -> str | None:
    """Version of the NVIDIA driver; None without one."""
    try:
        with nvml_session(library) as nvml:
            return nvml.driver_version()
    except NvmlUnavailableError:
        return None


def visible_gpus(environ: Mapping[str, str] | None = None, library: Any = None) -> VisibleGpus:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, by index or by (the start of a) UUID.

    As in CUDA, the list ends at the first entry that names no device. A MIG slice cannot be told
    from its neighbours by any energy sensor, so it leaves no GPUs and a problem.
    """
    gpus = list_gpus(library)
    listed = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
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


def _describe(device: NvmlDevice) -> GpuInfo:
    used_mb, total_mb = device.memory_mb()
    pids = device.running_pids()
    return GpuInfo(
        index=device.index,
        uuid=device.uuid,
        name=device.name(),
        memory_total_mb=total_mb,
        memory_used_mb=used_mb,
        persistence_mode=device.persistence_mode(),
        power_limit_w=device.power_limit_w(),
        power_limit_default_w=device.default_power_limit_w(),
        mig_mode=device.mig_mode(),
        architecture=device.architecture(),
        compute_capability=device.compute_capability(),
        running_pids=None if pids is None else tuple(pids),
    )
