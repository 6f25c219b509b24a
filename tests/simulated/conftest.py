"""The simulated driver, compiled once, and a process that measures on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import pytest

import nvmlsim
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.domain.warnings import MeasurementWarning
from nvmlsim import Fault, Gpu, Scenario


@dataclass(frozen=True)
class Outcome:
    """A raw result as it is written, with the joules and the UUID of each GPU."""

    raw: dict[str, Any]
    true_j: tuple[float, ...]
    uuids: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return float(self.raw["window_end_s"] - self.raw["window_start_s"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The devices whose energy was asked for; none without a source."""
        return [] if self.raw["energy"] is None else list(self.raw["energy"]["devices"])

    @property
    def flags(self) -> set[str]:
        """What the warnings begin with."""
        return {warning["flag"] for warning in self.raw["measurement_warnings"]}

    @property
    def said(self) -> str:
        """All warnings."""
        return "\n".join(str(MeasurementWarning(**warning)) for warning in self.raw["measurement_warnings"])


class Server:
    """A process that sees simulated GPUs and answers in lines of JSON; :meth:`ask` may be called again and again."""

    def __init__(self, library: Path, folder: Path, script: str) -> None:
        self.folder = folder
        self.path = folder / "scenario.txt"
        root = Path(__file__).parents[2]
        # This tree's own code, whatever is installed.
        path = os.pathsep.join([*map(str, (root, root / "src")), os.environ.get("PYTHONPATH", "")])
        # It lives longer than what one test sets.
        shared = {FOLDER_VARIABLE: str(folder / "shared")}
        environment = {**os.environ, **nvmlsim.environment(library, self.path), **shared, "PYTHONPATH": path}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name(script))],
            env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        )  # fmt: skip

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Measuring(Server):
    """A process that measures on simulated GPUs; :meth:`run` may be called again and again."""

    def __init__(self, library: Path, folder: Path) -> None:
        super().__init__(library, folder, "session_server.py")

    def run(self, *gpus: Gpu, faults: tuple[Fault, ...] = (), **request: Any) -> Outcome:
        """What an experiment on these GPUs found, and the truth."""
        scenario = Scenario(gpus=gpus, faults=faults)
        scenario.write(self.path)
        return self.run_on(scenario, **request)

    def run_on(self, scenario: Scenario, **request: Any) -> Outcome:
        """What an experiment found in a scenario whose file is there, and the truth."""
        defaults = {"backend": "nvml", "batch_s": 0.4, "n_batches": 2, "n_gpus": 1, "in_window": "", "visible": None}
        answer = self.ask({**defaults, "output_dir": None, "scenario": str(self.path), **request})
        assert "error" not in answer, answer["error"]
        start_s, end_s = (answer[edge] - scenario.epoch_s for edge in ("window_start_s", "window_end_s"))
        traces = nvmlsim.read_power_w(self.path)
        true_j = tuple(traces[i].integral(start_s, end_s) for i in range(len(scenario.gpus)))
        return Outcome(answer, true_j, tuple(scenario.uuid(i) for i in range(len(scenario.gpus))))


Asked = TypeVar("Asked", bound=Server)
Answer = TypeVar("Answer")


class Crew(Generic[Asked]):
    """Several processes of a kind that work at the same time: measurements wait more than they work."""

    def __init__(self, make: Callable[[Path], Asked], folder: Path, n: int = 6) -> None:
        self._idle: SimpleQueue[Asked] = SimpleQueue()
        self._all = []
        for number in range(n):
            (folder / str(number)).mkdir()
            self._all.append(make(folder / str(number)))
            self._idle.put(self._all[-1])
        self._pool = ThreadPoolExecutor(n)

    def submit(self, case: Callable[[Asked], Answer]) -> "Future[Answer]":
        """Run a case on the next idle process."""
        return self._pool.submit(self._run, case)

    def _run(self, case: Callable[[Asked], Answer]) -> Answer:
        process = self._idle.get()
        try:
            return case(process)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all processes."""
        self._pool.shutdown(cancel_futures=True)
        for process in self._all:
            process.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of libnvidia-ml.so.1."""
    return nvmlsim.build(tmp_path_factory.mktemp("nvmlsim"))


@pytest.fixture(scope="module")
def crew(library: Path, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Crew[Measuring]]":
    """Processes for cases that may run side by side."""
    processes = Crew(lambda folder: Measuring(library, folder), tmp_path_factory.mktemp("crew"))
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def measuring(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measuring]:
    """A process that sees the simulated driver and measures, for all tests of a module."""
    process = Measuring(library, tmp_path_factory.mktemp("simulated"))
    yield process
    process.close()
