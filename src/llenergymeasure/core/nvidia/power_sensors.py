"""What the power sensors of NVIDIA GPUs look at.

Source of the figures: Yang, Adamek, Armour, "Part-time Power Measurements: nvidia-smi's Lack of
Attention", SC24, arXiv 2312.02741, result tables.
"""

import re

from llenergymeasure.core.gpu.power_sensor import AVERAGED_S, REFRESH_S, PowerSensor

# NVML_DEVICE_ARCH_*, nvml.h.
PASCAL, VOLTA, AMPERE, HOPPER = 4, 5, 7, 9

_V100_AND_PASCAL = PowerSensor(0.020, 0.010)
_GA100_AND_HOPPER = PowerSensor(0.100, 0.025)
_RTX_30_AND_40 = PowerSensor(0.100, 0.100)  # the instantaneous field

_BY_ARCHITECTURE = {PASCAL: _V100_AND_PASCAL, VOLTA: _V100_AND_PASCAL, HOPPER: _GA100_AND_HOPPER}
# Of Ampere only the product name tells GA100, which is built differently, from the rest.
_GA100 = re.compile(r"\b(A100|A30|A800)\b")
_BY_NAME = (
    (_GA100, _GA100_AND_HOPPER),
    (re.compile(r"\bG?H(100|200|800|20)\b"), _GA100_AND_HOPPER),
    (re.compile(r"\b(V100S?|P100|P40|P4)\b"), _V100_AND_PASCAL),
    (re.compile(r"\bRTX [34]0[5-9]0\b"), _RTX_30_AND_40),
)


def power_sensor_of(name: str, architecture: int | None = None) -> PowerSensor | None:
    """The sensor behind NVML's power of a card; None for one that nobody has published figures of.

    Args:
        name: product name, as NVML gives it.
        architecture: NVML's constant; None where the driver does not say.
    """
    if architecture in _BY_ARCHITECTURE:
        return _BY_ARCHITECTURE[architecture]
    return next((sensor for pattern, sensor in _BY_NAME if pattern.search(name)), None)


def average_sensor_of(name: str, architecture: int | None) -> PowerSensor | None:
    """What ``NVML_FI_DEV_POWER_AVERAGE`` is: an average of one second on Ampere and later, else not known.

    On GA100 it was measured to be the same as the instantaneous field, which sees less.

    Args:
        name: product name, as NVML gives it.
        architecture: NVML's constant; None where the driver does not say.
    """
    averages = architecture is not None and architecture >= AMPERE and not _GA100.search(name)
    return PowerSensor(REFRESH_S, AVERAGED_S) if averages else None


def usage_lag_s(name: str, architecture: int | None) -> float:
    """How old what ``nvmlDeviceGetPowerUsage`` shows may be: the span it averages over, or one refresh.

    NVIDIA's documentation of the function: an average over one second on Ampere and later, except GA100, where
    it is instantaneous as before. A card of unknown architecture is taken for one that averages.

    Args:
        name: product name, as NVML gives it.
        architecture: NVML's constant; None where the driver does not say.
    """
    averages = architecture is None or (architecture >= AMPERE and not _GA100.search(name))
    return AVERAGED_S if averages else REFRESH_S
