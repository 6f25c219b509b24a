"""The part of ``bench/accuracy.py`` on a clock that is told to move: the whole grid, in seconds of real time."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import nvmlsim
from bench.accuracy_cases import CARDS, LOADS, Case, gpu_at
from bench.accuracy_ours import LEAD_S, Measured, measure_ours, with_aliasing
from bench.simulated_nvml import SimulatedClock, SimulatedNvml

OURS = "ours"
NAIVE_COUNTER = "naive counter"
NAIVE_POLLING = "naive polling"
GRID_TOOLS = (OURS, NAIVE_COUNTER, NAIVE_POLLING)
_POLL_S = 0.1
# The window's start, a whole number of every period so that the phases are against it.
_START_S = 10.0

Timing = Literal["injected", "real time"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a tool said of a case, and what was true, in joules."""

    case: Case
    tool: str
    timing: Timing
    true_j: float
    measured: Measured

    @property
    def error_pct(self) -> float | None:
        """Measured over true, less one, in percent; None where the tool gave no figure."""
        return None if self.measured.energy_j is None else 100 * (self.measured.energy_j / self.true_j - 1)

    @property
    def in_bound(self) -> bool | None:
        """Whether the truth lies inside the tool's own bound; None without one."""
        if self.measured.energy_j is None or self.measured.uncertainty_j is None:
            return None
        return abs(self.measured.energy_j - self.true_j) <= self.measured.uncertainty_j


def run_grid(
    cases: Sequence[Case], tools: Sequence[str], *, n_processes: int = 2, progress: Callable[[int], None]
) -> list[Outcome]:
    """Every tool on every case.

    Args:
        cases: what to run.
        tools: some of GRID_TOOLS.
        n_processes: how many cases run at a time.
        progress: is told after each case how many are done.
    """
    outcomes: list[Outcome] = []
    jobs = [(case, tuple(tools)) for case in cases]
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        for n_done, of_case in enumerate(pool.imap(_run_case, jobs, chunksize=8), start=1):
            outcomes += of_case
            progress(n_done)
    return outcomes


def _run_case(job: tuple[Case, Iterable[str]]) -> list[Outcome]:
    case, tools = job
    gpu = gpu_at(case, _START_S)
    true_j = nvmlsim.true_energy_j(gpu, _START_S, _START_S + case.window_s)
    measured = {tool: _measured(tool, gpu, case) for tool in tools if gpu.counter is not None or tool != NAIVE_COUNTER}
    return [
        Outcome(case=case, tool=t, timing="injected", true_j=true_j, measured=found) for t, found in measured.items()
    ]


def _measured(tool: str, gpu: nvmlsim.Gpu, case: Case) -> Measured:
    scenario = nvmlsim.Scenario(gpus=(gpu,), epoch_s=0)
    clock = SimulatedClock(_START_S - LEAD_S)
    library = SimulatedNvml(scenario, clock)
    if tool == OURS:
        found = measure_ours(library, clock, _START_S, _START_S + case.window_s, CARDS[case.card].polled_s)
        return with_aliasing(found, gpu, LOADS[case.load].told_period_s, case.window_s)
    measure = {NAIVE_COUNTER: _naive_counter, NAIVE_POLLING: _naive_polling}[tool]
    return Measured(energy_j=measure(library, clock, case.window_s))


def _naive_counter(library: SimulatedNvml, clock: SimulatedClock, window_s: float) -> float:
    """Two reads of the energy counter, one right before the work and one right after it."""
    handle = library.nvmlDeviceGetHandleByIndex(0)
    clock.sleep_until(_START_S - library.call_s)
    before_mj = library.nvmlDeviceGetTotalEnergyConsumption(handle)
    clock.sleep_until(_START_S + window_s)
    return (library.nvmlDeviceGetTotalEnergyConsumption(handle) - before_mj) / 1000


def _naive_polling(library: SimulatedNvml, clock: SimulatedClock, window_s: float) -> float:
    """Poll nvmlDeviceGetPowerUsage every 100 ms; a reading counts for the time since the one before it.

    The last one is taken when the work ends. Scripts that wait for their next poll instead, or take 100 ms for every
    reading, are off by up to a poll more.
    """
    handle = library.nvmlDeviceGetHandleByIndex(0)
    clock.sleep_until(_START_S)
    end_s, last_s, energy_j = _START_S + window_s, clock(), 0.0
    while clock() < end_s:
        clock.sleep(min(_POLL_S, end_s - clock()))
        power_w = library.nvmlDeviceGetPowerUsage(handle) / 1000
        now_s = clock()
        energy_j += power_w * (now_s - last_s)
        last_s = now_s
    return energy_j
