"""Processor time that watching GPUs takes: the package's sampler, Zeus and CodeCarbon, each in its own process.

The GPUs are simulated ones. Through pynvml their library takes 4 to 9 us for a call; a real driver takes longer, for
every tool alike.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nvmlsim

N_GPUS = 8
INTERVAL_S = 0.1
MOST_PCT = 1.0
_ROOT = Path(__file__).parent.parent
OURS = "ours"
# Name of the tool to the package that it needs.
TOOLS = {
    OURS: "llenergymeasure",
    "Zeus PowerMonitor": "zeus",
    "CodeCarbon, every 0.1 s": "codecarbon",
    "CodeCarbon, every 15 s": "codecarbon",
    "nothing": "sys",
}


def measure(seconds: float) -> dict[str, Any]:
    """Percent of one core that each tool takes while its user sleeps, and whether ours keeps what is promised.

    Args:
        seconds: how long each is watched after it has started.

    Raises:
        nvmlsim.BuildError: the simulated driver cannot be compiled.
        RuntimeError: a tool failed.
    """
    library = nvmlsim.build(Path(tempfile.gettempdir()) / f"nvmlsim-{os.getuid()}")
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "scenario.txt"
        # Readings differ from poll to poll, as those of a real card do: Zeus sends only what has changed.
        waves = [nvmlsim.Trace.square(100, 500, period_s=0.43 + 0.01 * n) for n in range(N_GPUS)]
        nvmlsim.Scenario(gpus=tuple(nvmlsim.Gpu(power_w=wave) for wave in waves)).write(scenario)
        environment = {**os.environ, **nvmlsim.environment(library, scenario)}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        found = {
            tool: _run(tool, seconds, environment)
            for tool, package in TOOLS.items()
            if package == "sys" or find_spec(package) is not None
        }
    return {
        "what": f"processor time in percent of one core while {N_GPUS} simulated GPUs are read every "
        f"{INTERVAL_S * 1000:.0f} ms, start and end left out, child processes included",
        "promise": f"ours at most {MOST_PCT} %",
        "kept": found[OURS]["cpu_pct"] <= MOST_PCT,
        "seconds": seconds,
        "tools": found,
    }


def _run(tool: str, seconds: float, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.overhead_worker", tool, str(seconds)],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{tool} failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{tool}: {found['cpu_pct']:.2f} % of a core", file=sys.stderr, flush=True)
    return found
