"""A process with the simulated driver that puts sensors through the suite, in lines of JSON on stdin and stdout.

A request has the ``sensor``'s name, the name of the ``check`` and the ``scenario``'s file. The answer has ``outcome``,
``passed``, ``not applicable`` or ``failed``, and ``why``.
"""

import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import nvmlsim
from llenergymeasure.core.energy_backends import SensorContext, make_sensor
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.testing.sensor_conformance import SENSOR_CHECKS, NotApplicable, SensorCase


def outcome(request: dict[str, Any]) -> dict[str, str]:
    """What a check said of a sensor on the one GPU of a scenario."""
    path = Path(request["scenario"])
    text = path.read_text()
    epoch_s = next(float(line.split()[1]) for line in text.splitlines() if line.startswith("epoch_s"))
    (check,) = [check for check in SENSOR_CHECKS if check.__name__ == request["check"]]
    devices = visible_gpus().uuids

    def true_j(start_s: float, end_s: float) -> float:
        return nvmlsim.read_power_w(path)[0].integral(start_s - epoch_s, end_s - epoch_s)

    def lose() -> None:
        with path.open("a") as file:
            file.write(f"gpu 0 lost {time.monotonic() - epoch_s!r}\n")

    case = SensorCase(
        make=lambda: make_sensor(request["sensor"], SensorContext(devices=devices)),
        absent=lambda: make_sensor(request["sensor"], SensorContext(devices=("GPU-nowhere",))),
        lose=lose,
        true_j=true_j,
        devices=devices,
    )
    try:
        check(case)
    except NotApplicable as reason:
        return {"outcome": "not applicable", "why": str(reason)}
    except Exception:  # noqa: BLE001 - whatever it was, the test shows it
        return {"outcome": "failed", "why": traceback.format_exc()}
    return {"outcome": "passed", "why": ""}


for line in sys.stdin:
    sys.stdout.write(json.dumps(outcome(json.loads(line))) + "\n")
    sys.stdout.flush()
