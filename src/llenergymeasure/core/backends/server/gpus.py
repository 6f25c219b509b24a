"""The GPUs that a server is on, by the driver's list of processes."""

from collections.abc import Mapping, Sequence, Set

from llenergymeasure.core.gpu.machine import told_by
from llenergymeasure.protocols import GpuDriver

Pids = Mapping[str, frozenset[int] | None]


def pids_on(uuids: Sequence[str], driver: GpuDriver | None = None) -> dict[str, frozenset[int] | None]:
    """The processes on each of these GPUs; None where the driver, by default this machine's, does not say."""
    found = told_by(uuids, lambda device: device.running_pids(), driver)
    return {uuid: None if pids is None else frozenset(pids) for uuid, pids in found.items()}


def gpus_of(uuids: Sequence[str], before: Pids, after: Pids, own: Set[int]) -> tuple[str, ...]:
    """Those of the GPUs that a server has taken.

    In a container the driver may list the numbers that processes have on the host: then those GPUs are the server's on
    which processes came since before it was started.

    Args:
        uuids: the GPUs that it could use.
        before: processes on each before it was started.
        after: once it is ready.
        own: its processes, as they count themselves.

    Returns:
        All of ``uuids`` where the driver does not say which processes are on them; none where it is on none.
    """
    told = {uuid: pids for uuid in uuids if (pids := after.get(uuid)) is not None}
    if len(told) < len(uuids):
        return tuple(uuids)
    taken = tuple(uuid for uuid in uuids if told[uuid] & own)
    return taken or tuple(uuid for uuid in uuids if told[uuid] - (before.get(uuid) or frozenset()))
