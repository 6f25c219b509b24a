"""The part of ``bench/accuracy.py`` in real time: the package, Zeus and CodeCarbon on the simulated driver.

The phases of a case are GPUs of one machine, so that one window measures them all. Zeus has no thread of its own where
cards have counters, and is run inside the package's window; CodeCarbon has one, and gets a process to itself.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nvmlsim
from bench.accuracy_cases import CARDS, LOADS, Case
from bench.accuracy_grid import OURS, Outcome
from bench.accuracy_ours import Measured, with_aliasing

ZEUS, CODECARBON = "Zeus", "CodeCarbon"
REALTIME_TOOLS = (OURS, ZEUS, CODECARBON)
_MODULES = {ZEUS: "zeus", CODECARBON: "codecarbon"}
_ROOT = Path(__file__).parent.parent
# They sleep most of the time; more at once make each other late on two cores.
_AT_A_TIME = 3
_TIMEOUT_S = 900


@dataclass(frozen=True)
class _Job:
    card: str
    tools: tuple[str, ...]


def installed(tools: Sequence[str]) -> tuple[str, ...]:
    """Those of the tools that can be run here."""
    return tuple(tool for tool in tools if tool not in _MODULES or find_spec(_MODULES[tool]) is not None)


def run_realtime(cases: Sequence[Case], tools: Sequence[str], *, progress: Callable[[int, int], None]) -> list[Outcome]:
    """Every tool on every case.

    Args:
        cases: what to run; each load, window and card with the same phases, from 0 on.
        tools: some of REALTIME_TOOLS.
        progress: is told how many processes are done, of how many.

    Raises:
        nvmlsim.BuildError: the simulated driver cannot be compiled.
        RuntimeError: a process failed.
    """
    library = nvmlsim.build(Path(tempfile.gettempdir()) / f"nvmlsim-{os.getuid()}")
    shared = tuple(tool for tool in (OURS, ZEUS) if tool in tools)
    apart = tuple(tool for tool in (CODECARBON,) if tool in tools)
    cards = list(dict.fromkeys(case.card for case in cases))
    jobs = [_Job(card, together) for together in (apart, shared) for card in cards if together]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_AT_A_TIME) as threads:
        runs = [threads.submit(_run, job, cases, library, Path(folder) / f"{n}.txt") for n, job in enumerate(jobs)]
        for n_done, run in enumerate(runs, start=1):
            outcomes += run.result()
            progress(n_done, len(runs))
    return outcomes


def _run(job: _Job, cases: Sequence[Case], library: Path, scenario: Path) -> list[Outcome]:
    own = [case for case in cases if case.card == job.card]
    windows = list(dict.fromkeys((case.load, case.window_s) for case in own))
    n_phases = 1 + max(case.phase for case in own)
    environment = {**os.environ, **nvmlsim.environment(library, scenario)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-m", "bench.accuracy_worker", job.card, ",".join(job.tools), str(n_phases)],
        input=json.dumps(windows),
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{', '.join(job.tools)} on {job.card} failed:\n{done.stderr[-4000:]}")
    return [outcome for window in json.loads(done.stdout.splitlines()[-1]) for outcome in _outcomes(job, window)]


def _outcomes(job: _Job, window: dict[str, Any]) -> Iterator[Outcome]:
    gpu = CARDS[job.card].model
    for tool in job.tools:
        for number, (found, true_j) in enumerate(zip(window["found"][tool], window["true_j"][tool], strict=True)):
            measured = Measured(
                energy_j=found["energy_j"],
                uncertainty_j=found.get("uncertainty_j"),
                warnings=tuple(found.get("warnings", ())),
            )
            if tool == OURS:
                measured = with_aliasing(measured, gpu, LOADS[window["load"]].told_period_s, window["window_s"])
            yield Outcome(
                case=Case(window["load"], window["window_s"], job.card, number),
                tool=tool,
                timing="real time",
                true_j=true_j,
                measured=measured,
            )
