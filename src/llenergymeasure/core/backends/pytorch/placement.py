"""Which of the visible GPUs a ``device_map`` takes."""

import re
from collections.abc import Mapping, Sequence

from llenergymeasure.config.engines import PyTorchConfig

_ALL = ("auto", "balanced", "balanced_low_0", "sequential")


def devices_of(device_map: str | Mapping[str, int | str], visible: Sequence[str]) -> tuple[str, ...]:
    """The devices that layers may lie on.

    Args:
        device_map: as accelerate reads it: a strategy, a device, or a device for each part of the model.
        visible: the GPUs that this process sees, in torch's order.
    """
    if isinstance(device_map, str):
        if device_map in _ALL:
            return tuple(visible)
        named: list[int | str] = [device_map]
    else:
        named = list(device_map.values())
    indices = {index for device in named if (index := _index(device)) is not None}
    return tuple(gpu for index, gpu in enumerate(visible) if index in indices)


def highest_gpu(device_map: str | Mapping[str, int | str]) -> int | None:
    """The highest number of a GPU that is named; None where none is, as by a strategy."""
    named = [device_map] if isinstance(device_map, str) else list(device_map.values())
    return max((index for device in named if (index := _index(device)) is not None), default=None)


def may_leave_the_gpus(section: PyTorchConfig) -> bool:
    """Whether some of a model or its cache may lie on the CPU or on disk."""
    device_map = section.device_map
    if section.cache_implementation in ("offloaded", "offloaded_static"):
        return True
    if isinstance(device_map, str):
        return device_map in _ALL
    return device_map is not None and any(_index(device) is None for device in device_map.values())


def _index(device: int | str) -> int | None:
    """The number of a GPU, named by itself or as torch does; None for a CPU or disk."""
    if isinstance(device, int):
        return device
    found = re.fullmatch(r"(?:cuda(?::(\d+))?|(\d+))", device)
    return None if found is None else int(found.group(1) or found.group(2) or 0)
