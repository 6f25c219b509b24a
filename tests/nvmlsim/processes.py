"""Processes that see the simulated driver, and the scenarios they see."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nvmlsim
from nvmlsim import Gpu, Scenario, Trace
from tests.fakes.effort import PATIENCE_S

INSTANT, AVERAGE, ENERGY = 186, 185, 83
UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 1, 2, 3, 4, 6
DRIVER_NOT_LOADED, TIMEOUT, GPU_IS_LOST, UNKNOWN = 9, 10, 15, 999


class Client:
    """A process that has loaded the library through nvidia-ml-py."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def call(self, name: str, *arguments: Any) -> tuple[int, Any]:
        """(nvmlReturn, value)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        code, value = json.loads(self._process.stdout.readline())
        return code, value

    def value(self, name: str, *arguments: Any) -> Any:
        """The value of a call that must succeed."""
        code, value = self.call(name, *arguments)
        assert code == 0, f"{name} answered {code}"
        return value

    def code(self, name: str, *arguments: Any) -> int:
        """What a call answers, whatever its value."""
        return self.call(name, *arguments)[0]

    def codes(self, name: str, n: int, gpu: int = 0) -> list[int]:
        """What n calls of a function of a GPU answer; the name is given without nvmlDeviceGet."""
        return [self.code(f"nvmlDeviceGet{name}", gpu) for _ in range(n)]

    def fields(self, gpu: int, *ids: Any) -> list[tuple[int, int, int]]:
        """(nvmlReturn, valueType, value) of each field."""
        answers = self.value("nvmlDeviceGetFieldValues", gpu, list(ids))
        return [(a["nvmlReturn"], a["valueType"], a["value"]["ullVal"]) for a in answers]

    def stderr(self) -> str:
        """Ends the process and gives what it wrote."""
        return self._process.communicate(timeout=PATIENCE_S)[1]


class Driver:
    """One scenario file, and processes that see it."""

    _SERVER = Path(__file__).with_name("nvml_server.py")

    def __init__(self, library: Path, path: Path, stack: ExitStack) -> None:
        self.library, self.path, self._stack = library, path, stack

    def client(self, *, init: bool = True) -> Client:
        """A new process; with ``init`` it has a handle of every GPU."""
        pipe = subprocess.PIPE
        command = [sys.executable, str(self._SERVER)]
        process = subprocess.Popen(command, env=self._environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        client = Client(process)
        if init:
            client.value("nvmlInit")
            for index in range(client.value("nvmlDeviceGetCount")):
                client.value("nvmlDeviceGetHandleByIndex", index)
        return client

    def start(self, scenario: Scenario) -> Client:
        """A new process that sees this scenario."""
        scenario.write(self.path)
        return self.client()

    def run(self, program: str) -> Any:
        """What a Python program prints as JSON on its last line."""
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **nvmlsim.environment(self.library, self.path)}


def constant(power_w: float, **more: Any) -> Gpu:
    """A card that always draws the same."""
    return Gpu(power_w=Trace.constant(power_w), **more)


def started_ago(seconds: float, *gpus: Gpu, **more: Any) -> Scenario:
    """A scenario that is at this time now."""
    return Scenario(gpus=gpus, epoch_s=time.monotonic() - seconds, **more)
