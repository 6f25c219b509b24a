"""Sensors by name: those of this package, and those that other distributions bring by an entry point.

Nothing is imported, and no installed distribution is looked at, before a name is asked for that needs it.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.base import nearest
from llenergymeasure.config.entry_points import EntryPoint, brought, entry_points, passed_over

# Entry points of this group name a sensor: a class like those in ``_OWN``.
ENTRY_POINTS = "llenergymeasure.sensors"
# Stands for the first of this package's that answers.
AUTO = "auto"
# In YAML, that there is to be none.
NONE = "null"

# The sensors of this package, best first: this is the order of ``auto``. A new one is a file and a line here.
_OWN: dict[str, str] = {
    "zeus": "llenergymeasure.core.energy_backends.zeus:ZeusBackend",
    "nvml": "llenergymeasure.core.energy_backends.nvml:NVMLBackend",
    "rapl": "llenergymeasure.core.energy_backends.rapl:RAPLBackend",
    "hwmon": "llenergymeasure.core.energy_backends.hwmon:HwmonBackend",
    "codecarbon": "llenergymeasure.core.energy_backends.codecarbon:CodeCarbonBackend",
}
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class FoundSensor:
    """A sensor that was asked for by name: its class, or in one line why it cannot be had.

    ``origin`` is the distribution that brings it; empty for those of this package.
    """

    name: str
    origin: str = ""
    sensor: Any = None
    problem: str | None = None

    @property
    def in_words(self) -> str:
        """Its name, and where it comes from."""
        return f"the sensor {self.name!r}{f' of {self.origin}' if self.origin else ''}"


def own_names() -> tuple[str, ...]:
    """The sensors of this package, best first."""
    return tuple(_OWN)


def names() -> tuple[str, ...]:
    """Every sensor that there is, or would be if it were not broken; those of this package first."""
    return (*_OWN, *(name for name in _of_others() if name not in _OWN))


def find(name: str) -> FoundSensor | None:
    """The sensor of a name, loaded if need be; None if there is none."""
    return _loaded(name) if name in _OWN or name in _of_others() else None


def checked_name(name: str) -> str:
    """A name that ``energy.backend`` may have, given back; what it leads to is not imported.

    Raises:
        ValueError: no sensor has this name.
    """
    if name != AUTO and name not in _OWN and name not in _of_others():
        raise ValueError(f"no sensor is called {name!r}; {nearest(name, [AUTO, *names(), NONE])}")
    return name


def taken_names() -> dict[str, str]:
    """Names of this package's sensors that others bring too, and who."""
    return passed_over(ENTRY_POINTS, _OWN)


def look_again() -> None:
    """Forget what is installed: the next question looks anew."""
    entry_points.cache_clear()
    _loaded.cache_clear()


def _of_others() -> Mapping[str, tuple[EntryPoint, ...]]:
    return entry_points(ENTRY_POINTS)


@functools.cache
def _loaded(name: str) -> FoundSensor:
    points = (EntryPoint(_OWN[name]),) if name in _OWN else _of_others()[name]
    unusable = FoundSensor(name=name, origin=" and ".join(point.origin for point in points))
    may_be = name not in (AUTO, NONE) and _NAME.fullmatch(name)
    loaded = brought(
        points, None if may_be else "it means something else, or has more than small letters, digits, - and _"
    )
    if loaded.problem is not None:
        return _broken(unusable, loaded.problem)
    return FoundSensor(name=name, origin=unusable.origin, sensor=loaded.thing)


def _broken(sensor: FoundSensor, why: str) -> FoundSensor:
    return FoundSensor(name=sensor.name, origin=sensor.origin, problem=f"{sensor.in_words} {why}")
