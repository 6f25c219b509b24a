"""How much memory a worker has after 500, 1,000, 2,500 and 4,999 of 5,000 runs of a study, and at its end.

``python bench/study_memory.py``. The runs are instant fakes; all that a worker does around them is real: claims, files,
rows and the summary, for which a minute passes in every hundred runs. A study of few configurations and one whose every
run is another each have a process of their own. At its end a study is summed up once more from all its rows, which is a
line of its own. Beside each line stands the most that the process ever had, as while the summary was written.

Exit code 1: from 1,000 runs on memory grows by more than four kilobytes a run, the end apart.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llenergymeasure.config.models import StudyConfig
    from llenergymeasure.domain.plan import ExperimentPlan
    from llenergymeasure.domain.process import RawProcessResult

_ROOT = Path(__file__).parent.parent
_LOOKS = (500, 1000, 2500, 4999)
_RUNS = 5000
_FIRST = 1000
_CONFIGURATIONS = (10, _RUNS)
_MOST_BYTES_PER_RUN = 4096
# A minute passes once in so many runs.
_RUNS_PER_MINUTE = 100


def main() -> int:
    """Run it and print it."""
    from bench.results_file import machine, save

    args = _arguments()
    rows = [row for n in args.configurations for row in _in_a_process_of_its_own(n, args.runs)]
    grown = [row["bytes_per_run"] for row in rows if row["bytes_per_run"] is not None and not row["at_the_end"]]
    kept = bool(grown) and all(each <= _MOST_BYTES_PER_RUN for each in grown)
    result = {
        "bench": "study_memory",
        "what": f"resident memory of a worker after so many runs, its growth per run since {_FIRST}, and its peak",
        "promise": f"at most {_MOST_BYTES_PER_RUN} bytes per run, the end apart",
        "kept": kept,
        "load_average": os.getloadavg(),
        "rows": rows,
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('study-memory', result)}")
    return 0 if kept else 1


def _in_a_process_of_its_own(n_configurations: int, n_runs: int) -> list[dict[str, Any]]:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measured, n_configurations, n_runs).result()


def _measured(n_configurations: int, n_runs: int) -> list[dict[str, Any]]:
    from llenergymeasure._machine_folder import FOLDER_VARIABLE
    from llenergymeasure.orchestration.options import RunOptions
    from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
    from llenergymeasure.orchestration.studies.execute import carry_out

    start_s, looks = time.time(), _Looks(n_configurations)
    launcher = _Instant(looks)
    with tempfile.TemporaryDirectory() as folder:
        # Whoever measures on this machine meanwhile neither waits for this nor is waited for.
        os.environ[FOLDER_VARIABLE] = f"{folder}/locks"
        options = RunOptions(
            launcher=launcher,
            preflight=lambda configs, _, __: [ExaminedExperiment() for _ in configs],
            sleep=lambda _: None,
            file_time_s=lambda: start_s + 61.0 * (launcher.n // _RUNS_PER_MINUTE),
        )
        outcome = carry_out(_study(n_configurations, n_runs, Path(folder) / "out"), options)
        assert outcome.is_well, outcome.problems
        assert outcome.n_results == n_runs
        looks.add(n_runs, at_the_end=True)
    return looks.rows


def _study(n_configurations: int, n_runs: int, folder: Path) -> "StudyConfig":
    from llenergymeasure.config.execution import StudyExecutionConfig
    from llenergymeasure.config.models import ExperimentConfig, StudyConfig

    return StudyConfig(
        name="memory",
        experiments=[ExperimentConfig(model="a/model", n=n + 1) for n in range(n_configurations)],
        output_dir=folder,
        execution=StudyExecutionConfig(cycles=max(1, n_runs // n_configurations)),
    )


class _Looks:
    """How much memory this process has, from time to time; ``peak_bytes`` is the most that it ever had."""

    def __init__(self, n_configurations: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._n_configurations, self._began_s = n_configurations, time.perf_counter()

    def add(self, n: int, *, at_the_end: bool = False) -> None:
        """Look after so many runs."""
        gc.collect()
        resident, peak = _memory_bytes()
        first = next((row for row in self.rows if row["runs"] == _FIRST), None)
        grown = None if first is None else (resident - first["resident_bytes"]) / (n - _FIRST)
        self.rows.append({
            "configurations": self._n_configurations,
            "runs": n,
            "at_the_end": at_the_end,
            "resident_bytes": resident,
            "peak_bytes": peak,
            "bytes_per_run": None if grown is None else round(grown),
            "seconds": round(time.perf_counter() - self._began_s, 1),
        })  # fmt: skip
        print(self.rows[-1], file=sys.stderr, flush=True)


def _memory_bytes() -> tuple[int, int]:
    """What is resident of this process, and the most that ever was, by the kernel (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    told = dict(line.split(":", 1) for line in lines)
    resident, peak = (1024 * int(told[name].removesuffix("kB")) for name in ("VmRSS", "VmHWM"))
    return resident, peak


class _Instant:
    """A launcher that makes raw results at once, and keeps nothing of them."""

    def __init__(self, looks: _Looks) -> None:
        self.n, self._looks = 0, looks

    def launch(self, plan: "ExperimentPlan") -> "list[RawProcessResult]":
        """The next run."""
        from llenergymeasure.testing import fake_process_result

        if self.n in _LOOKS:
            self._looks.add(self.n)
        self.n += 1
        return [fake_process_result(plan)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=_RUNS, help="How many runs each study has.")
    parser.add_argument("--configurations", type=int, nargs="+", default=_CONFIGURATIONS, help="Of each study.")
    parser.add_argument("--save", action="store_true", help="Write the result to bench/results.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    sys.exit(main())
