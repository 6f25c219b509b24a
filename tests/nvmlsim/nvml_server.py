"""A process with the simulated driver: calls nvidia-ml-py as it is told, in lines of JSON on stdin and stdout.

A request is [function, arguments...], a GPU being given by its index; the answer is [nvmlReturn, value]. Tests use it
because a process that has loaded the library keeps it for good.
"""

import ctypes
import json
import sys
from typing import Any

import pynvml

TRUTH = {
    "nvmlsim_true_energy_j": (ctypes.c_double, [ctypes.c_uint, ctypes.c_double, ctypes.c_double]),
    "nvmlsim_true_power_w": (ctypes.c_double, [ctypes.c_uint, ctypes.c_double]),
    "nvmlsim_sensor_mw": (ctypes.c_double, [ctypes.c_uint, ctypes.c_uint, ctypes.c_double]),
    "nvmlsim_counter_mj": (ctypes.c_longlong, [ctypes.c_uint, ctypes.c_double]),
}
handles: dict[int, Any] = {}


def plain(value: Any) -> Any:
    """A value that JSON can carry."""
    if isinstance(value, ctypes.Union):
        return {"uiVal": getattr(value, "uiVal"), "ullVal": getattr(value, "ullVal")}  # noqa: B009 - they have no types
    if isinstance(value, ctypes.Structure):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if isinstance(value, pynvml.nvmlFriendlyObject):
        return dict(vars(value))
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [plain(entry) for entry in value]
    return value


def answer(name: str, arguments: list[Any]) -> Any:
    """The value of one call."""
    if name in TRUTH:
        function = getattr(ctypes.CDLL("libnvidia-ml.so.1"), name)
        function.restype, function.argtypes = TRUTH[name]
        return function(*arguments)
    function = getattr(pynvml, name)
    if name.startswith("nvmlDeviceGetHandle"):
        handle = function(*arguments)
        index = pynvml.nvmlDeviceGetIndex(handle)
        handles[index] = handle
        return index
    if name.startswith("nvmlDevice") and name != "nvmlDeviceGetCount":
        arguments = [handles[arguments[0]], *arguments[1:]]
    return plain(function(*arguments))


for line in sys.stdin:
    request, *rest = json.loads(line)
    try:
        reply = [0, answer(request, rest)]
    except pynvml.NVMLError as error:
        reply = [error.value, None]
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
