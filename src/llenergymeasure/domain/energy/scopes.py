"""What a figure covers, in words."""

from typing import NamedTuple

from llenergymeasure.domain.metrics import EnergyScope


class ScopeName(NamedTuple):
    """The name of what one figure covers, and of what several do."""

    one: str
    several: str


SCOPE_NAMES: dict[EnergyScope, ScopeName] = {
    "gpu": ScopeName("GPU", "GPUs"),
    "module": ScopeName("module of GPU, CPU and memory", "modules of GPU, CPU and memory"),
    "package": ScopeName("CPU", "CPUs"),
    "dram": ScopeName("memory", "memories"),
    "soc": ScopeName("system on a chip", "systems on a chip"),
    "host": ScopeName("machine", "machines"),
    "wall": ScopeName("machine at the wall", "machines at the wall"),
}
