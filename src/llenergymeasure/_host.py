"""The machine that this process runs on."""

import platform
from dataclasses import dataclass
from pathlib import Path

_MACHINE_ID = Path("/etc/machine-id")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine since it was started: another one's power, or that of another boot, says nothing of it.

    What the system does not tell is None.
    """

    name: str
    machine_id: str | None
    boot_id: str | None


def this_host() -> Host:
    """This machine, by its name, its own number and the number of this boot."""
    return Host(name=platform.node(), machine_id=_first_line(_MACHINE_ID), boot_id=_first_line(_BOOT_ID))


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None
