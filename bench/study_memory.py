"""How much memory a worker has after 500, 1,000, 2,500 and 4,999 of 5,000 runs of a study, and at its end.

``python bench/study_memory.py``. The runs are instant fakes; all that a worker does around them is real: claims, files,
rows and the summary, for which a minute passes in every hundred runs. A study of few configurations and one whose every
run is another each have a process of their own. At its end a study is summed up once more from all its rows, which is a
line of its own. Exit code 1: from 1,000 runs on memory grows by more than four kilobytes a run, the end apart.
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
from typing import Any

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
        "what": f"resident memory of a worker after so many runs, and its growth per run since {_FIRST}",
        "promise": f"at most {_MOST_BYTES_PER_RUN} bytes per run, the end apart",
        "kept": kept,
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
    import psutil

    from llenergymeasure._machine_folder import FOLDER_VARIABLE
    from llenergymeasure.config.execution import StudyExecutionConfig
    from llenergymeasure.config.models import ExperimentConfig, StudyConfig
    from llenergymeasure.domain.plan import ExperimentPlan
    from llenergymeasure.domain.process import RawProcessResult
    from llenergymeasure.orchestration.options import RunOptions
    from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
    from llenergymeasure.orchestration.studies.execute import carry_out
    from llenergymeasure.testing import fake_process_result

    began_s, start_s = time.perf_counter(), time.time()
    rows: list[dict[str, Any]] = []
    process = psutil.Process()

    def look(n: int, *, at_the_end: bool = False) -> None:
        gc.collect()
        resident = process.memory_info().rss
        first = next((row for row in rows if row["runs"] == _FIRST), None)
        grown = None if first is None else (resident - first["resident_bytes"]) / (n - _FIRST)
        rows.append({
            "configurations": n_configurations,
            "runs": n,
            "at_the_end": at_the_end,
            "resident_bytes": resident,
            "bytes_per_run": None if grown is None else round(grown),
            "seconds": round(time.perf_counter() - began_s, 1),
        })  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)

    class Instant:
        """A launcher that makes raw results at once, and keeps nothing of them."""

        n = 0

        def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
            """The next run."""
            if self.n in _LOOKS:
                look(self.n)
            self.n += 1
            return [fake_process_result(plan)]

    launcher = Instant()

    experiments = [ExperimentConfig(model="a/model", n=n + 1) for n in range(n_configurations)]
    with tempfile.TemporaryDirectory() as folder:
        # Whoever measures on this machine meanwhile neither waits for this nor is waited for.
        os.environ[FOLDER_VARIABLE] = f"{folder}/locks"
        study = StudyConfig(
            name="memory", experiments=experiments, output_dir=Path(folder) / "out",
            execution=StudyExecutionConfig(cycles=max(1, n_runs // n_configurations)),
        )  # fmt: skip
        options = RunOptions(
            launcher=launcher,
            preflight=lambda configs, _, __: [ExaminedExperiment() for _ in configs],
            sleep=lambda _: None,
            file_time_s=lambda: start_s + 61.0 * (launcher.n // _RUNS_PER_MINUTE),
        )
        outcome = carry_out(study, options)
        assert outcome.is_well, outcome.problems
        assert outcome.n_results == n_runs
        look(n_runs, at_the_end=True)
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=_RUNS, help="How many runs each study has.")
    parser.add_argument("--configurations", type=int, nargs="+", default=_CONFIGURATIONS, help="Of each study.")
    parser.add_argument("--save", action="store_true", help="Write the result to bench/results.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    sys.exit(main())
