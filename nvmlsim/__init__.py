"""A simulated NVIDIA driver: GPUs whose true power is known, behind the real nvidia-ml-py. See README.md."""

from nvmlsim._library import BuildError, build, environment
from nvmlsim._physics import counter_mj, sensor_power_w, true_energy_j, true_power_w
from nvmlsim._scenario import (
    A100,
    H100,
    PERFECT,
    RTX40,
    V100,
    Counter,
    Fault,
    Gpu,
    Process,
    Scenario,
    Sensor,
    Sensors,
    append_step,
    read_power_w,
)
from nvmlsim._trace import Trace

__all__ = [
    "A100",
    "H100",
    "PERFECT",
    "RTX40",
    "V100",
    "BuildError",
    "Counter",
    "Fault",
    "Gpu",
    "Process",
    "Scenario",
    "Sensor",
    "Sensors",
    "Trace",
    "append_step",
    "build",
    "counter_mj",
    "environment",
    "read_power_w",
    "sensor_power_w",
    "true_energy_j",
    "true_power_w",
]
