"""The counters that Linux shows under /sys/class/powercap: which there are, what each covers, what it can count."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llenergymeasure.domain.metrics import DeviceKind

ROOT = Path("/sys/class/powercap")
# What no package takes, nor its memory: the largest are specified at 500 W (EPYC 9965, Xeon 6980P), and twice that is
# reached by overclocking.
MOST_W = 2000.0
# Limits hold for averages over up to a minute, peaks of milliseconds go to about twice the short-term limit, and a
# second interface may allow more than this one says.
_OVER_LIMIT = 4.0
# A limit that is set below what a processor needs is not kept.
_LEAST_W = 100.0
_PACKAGE = re.compile(r"(?:package|pkg)(-\d+)?(-die-\d+)?", re.IGNORECASE)
_MEMORY = re.compile(r"dram(-\d+)?(-die-\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Zone:
    """A counter of a CPU package (or a die of it) or of its memory.

    ``socket`` is the label without the die. ``range_uj`` is where the counter goes round, None where that is not said.
    ``ceiling_w`` is the mean power that it cannot exceed.
    """

    path: Path
    label: str
    socket: str
    kind: DeviceKind
    range_uj: int | None
    ceiling_w: float

    @property
    def counter(self) -> Path:
        """The file of the counter."""
        return self.path / "energy_uj"

    def read_uj(self) -> int:
        """What the counter says, in microjoules.

        Raises:
            OSError: it cannot be read.
            ValueError: it says no number, or one that the counter cannot have.
        """
        value = int(self.counter.read_text())
        if value < 0 or (self.range_uj is not None and value > self.range_uj):
            raise ValueError(f"it says {value} uJ, and counts from 0 to {self.range_uj}")
        return value


def zones(root: Path) -> list[Zone]:
    """The packages under ``root`` and their memory, each once.

    ``psys`` holds both, ``core`` and ``uncore`` are parts of a package, and what others than the processor show there
    (idle injection, frequency domains) has no such name or no counter; none of them is listed. The MMIO interface
    shows packages a second time: of two zones of one name the one that can be read goes first, then that of the MSRs.
    """
    found: list[Zone] = []
    for path in sorted(root.glob("*:*"), key=lambda p: (not _readable(p / "energy_uj"), "mmio" in p.name, p.name)):
        zone = _zone(path)
        if zone is None:
            continue
        named = [other for other in found if other.label == zone.label]
        if not named:
            found.append(zone)
        elif _interface(named[0].path) == _interface(path):
            # Two packages that the kernel gave one name.
            found.append(replace(zone, label=f"{zone.label} ({path.name})"))
    return sorted(found, key=lambda zone: (zone.kind, zone.label))


def _zone(path: Path) -> Zone | None:
    """The package or memory at this path; None for what is neither."""
    name = _text(path / "name")
    if name is None or not any((path / file).exists() for file in ("energy_uj", "max_energy_range_uj")):
        return None
    if _PACKAGE.fullmatch(name):
        kind: DeviceKind = "cpu"
        label = name
    elif _MEMORY.fullmatch(name):
        kind = "dram"
        label = _memory_label(path, name)
    else:
        return None
    range_uj = _number(path / "max_energy_range_uj")
    return Zone(path, label, re.sub(r"-die-\d+", "", label), kind, range_uj, _ceiling_w(path))


def _memory_label(path: Path, name: str) -> str:
    """``dram-0`` for what lies in ``package-0``, as the kernel calls both sockets' memory ``dram``."""
    if name.lower() != "dram":
        return name
    holder, _, _ = path.name.rpartition(":")
    package = _PACKAGE.fullmatch(_text(path.parent / holder / "name") or "")
    if package is not None and (package[1] or package[2]):
        return f"dram{package[1] or ''}{package[2] or ''}"
    return f"dram-{path.name.split(':')[1]}"


def _ceiling_w(path: Path) -> float:
    """Four times the highest limit in force, at least 100 W and at most ``MOST_W``, which it is without a limit."""
    if _text(path / "enabled") == "0":
        return MOST_W
    said = (_number(file) for what in ("power_limit_uw", "max_power_uw") for file in path.glob(f"constraint_*_{what}"))
    highest_w = max(_positive(said), default=0) / 1e6
    return min(max(_OVER_LIMIT * highest_w, _LEAST_W), MOST_W) if highest_w > 0 else MOST_W


def _positive(values: Iterable[int | None]) -> Iterator[int]:
    return (value for value in values if value is not None and value > 0)


def _interface(path: Path) -> str:
    return path.name.split(":")[0]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int | None:
    try:
        value = int(path.read_text())
    except (OSError, ValueError):
        return None
    return value if value > 0 else None


def _readable(path: Path) -> bool:
    try:
        int(path.read_text())
    except (OSError, ValueError):
        return False
    return True
