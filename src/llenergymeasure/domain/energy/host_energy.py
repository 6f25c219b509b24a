"""What one machine took as far as it was sensed: a sum over scopes that hold nothing in common.

It stands beside the headline and never in its place: sensors of processors and memory leave out what the label names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.domain.energy.scopes import SCOPE_NAMES
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyScope, counted_devices, sum_or_none

# Rows are of the same window where they are of its time to this; as far as a total may be off its window untold.
_SAME_WINDOW = 0.01
_ALWAYS_OUT = "fans, disks, network, power supply"
# A reading that alone holds all that others of the machine read, best first, and what it leaves out.
_ALONE: dict[EnergyScope, str] = {
    "wall": "",
    "host": "what its own reading does not cover",
    "soc": _ALWAYS_OUT,
}
# What a sum calls a machine, so that nobody takes it for the one at the wall.
_HOST = "machine as it measures itself"


@dataclass(frozen=True, kw_only=True)
class HostEnergy:
    """Joules of a machine, their bound (None where a part has none), and in words what is in them and what is not."""

    energy_j: float
    uncertainty_j: float | None
    scope: str

    @classmethod
    def of(cls, devices: Sequence[DeviceEnergy], window_s: float, n_gpus: int) -> "HostEnergy | None":
        """The sum over the disjoint scopes of one machine.

        The machine at the wall, or as it measures itself, or a system on a chip alone; modules, which hold the GPUs,
        processors and memory in them; else GPUs, packages and memory. A package's figure has its memory in no platform
        that RAPL knows of, so memory is added where it was read, and named as left out where it was not.

        Args:
            devices: [n] rows of a result.
            window_s: length of the window in seconds.
            n_gpus: GPUs of the machine, whether or not they were in use.

        Returns:
            None where no processor was sensed, where a part is modelled, unknown, or of another time than the window,
            or where two readings may be of the same thing.
        """
        rows = _one_reading_each(devices)
        for scope, beyond in _ALONE.items():
            alone = [row for row in rows if row.covers == scope]
            if alone:
                return cls._sum(alone, window_s, beyond) if len(alone) == 1 else None
        modules = [row for row in rows if row.covers == "module"]
        gpus = [row for row in rows if row.covers == "gpu"]
        # Parts of a module stand beside it under their own names, so nobody knows which module a GPU is in.
        if modules and gpus:
            return None
        parts = modules or [row for row in rows if row.covers in ("gpu", "package", "dram")]
        # Two sensors give one thing two names.
        if any(
            len({row.sensor for row in parts if row.covers == scope}) > 1 for scope in ("module", "package", "dram")
        ):
            return None
        covered = {row.covers for row in parts}
        if not covered & {"module", "package"}:
            return None
        left_out = [] if "module" in covered or "dram" in covered else ["memory"]
        unread = n_gpus - len(modules or gpus)
        left_out += [f"{unread} {'GPU' if unread == 1 else 'GPUs'} not in use"] if unread > 0 else []
        return cls._sum(parts, window_s, ", ".join([*left_out, _ALWAYS_OUT]))

    @classmethod
    def _sum(cls, parts: Sequence[DeviceEnergy], window_s: float, left_out: str) -> "HostEnergy | None":
        energy_j = sum_or_none([row.energy_j for row in parts])
        if energy_j is None or not all(_is_sensed_over(row, window_s) for row in parts):
            return None
        counts = {scope: sum(row.covers == scope for row in parts) for scope in dict.fromkeys(d.covers for d in parts)}
        names = {scope: _HOST if scope == "host" else SCOPE_NAMES[scope].one for scope in counts}
        named = [f"{n} x {names[scope]}" if n > 1 else names[scope] for scope, n in counts.items()]
        return cls(
            energy_j=energy_j,
            uncertainty_j=sum_or_none([row.uncertainty_j for row in parts]),
            scope=f"{' + '.join(named)}{left_out and f', without {left_out}'}",
        )


def _one_reading_each(devices: Sequence[DeviceEnergy]) -> list[DeviceEnergy]:
    """Of several readings of a device the headline's; else the first."""
    counted = counted_devices(devices)
    readings: dict[tuple[str, EnergyScope], DeviceEnergy] = {}
    for row in [*counted, *(row for row in devices if row not in counted)]:
        readings.setdefault((row.device, row.covers), row)
    return list(readings.values())


def _is_sensed_over(row: DeviceEnergy, window_s: float) -> bool:
    seconds = row.duration_sec
    return row.source != "modelled" and seconds is not None and abs(seconds - window_s) <= _SAME_WINDOW * window_s
