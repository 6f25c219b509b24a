"""How long it takes to go on with a study of 18,474 runs of which all but three have finished.

``python bench/study_resuming.py``. The runs are left as the code of studies leaves them, but for their results: in
their place are as many zeros, so that whoever reads one fails. Three runs are made, by an instant fake. Beside it
stands how long it takes to parse the plan and to look into the folders once. Exit code 1: a result was opened, or four
times the runs take more than twice four times as long.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_N_LEFT = 3


def main() -> int:
    """Run it and print it."""
    from bench.large_study import MOST_GROWTH
    from bench.results_file import machine, save

    args = _arguments()
    opened = _Opened()
    rows = [_row(n, opened) for n in (args.prompts // 4, args.prompts)]
    few, many = rows
    growth = (many["resumed_s"] / few["resumed_s"]) / (many["runs"] / few["runs"])
    kept = growth <= MOST_GROWTH and not any(row["results_opened"] for row in rows)
    result = {
        "bench": "study_resuming",
        "what": f"processor seconds to plan and write a study, and to go on when all but {_N_LEFT} runs have finished",
        "promise": f"no result is opened, and linear to a factor of {MOST_GROWTH:g}",
        "kept": kept,
        "growth": round(growth, 2),
        "load_before": os.getloadavg()[0],
        "rows": rows,
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('study-resuming', result)}")
    return 0 if kept else 1


class _Opened:
    """Which files and folders are opened while it is on; a hook stays to the end of the process."""

    def __init__(self) -> None:
        self.on = False
        self.n = 0
        self.results: set[str] = set()
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event in ("open", "os.scandir", "os.listdir"):
            self.n += 1
            if str(arguments[0]).endswith("/result.json"):
                self.results.add(str(arguments[0]))


def _row(n_prompts: int, opened: _Opened) -> dict[str, Any]:
    import psutil

    from bench.large_study import timed
    from llenergymeasure._machine_folder import FOLDER_VARIABLE
    from llenergymeasure.orchestration.options import RunOptions
    from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
    from llenergymeasure.orchestration.studies.execute import go_on
    from llenergymeasure.results.study.directory import StudyDirectory
    from llenergymeasure.testing import FakeLauncher

    with tempfile.TemporaryDirectory() as folder:
        # Whoever measures on this machine meanwhile neither waits for this nor is waited for.
        os.environ[FOLDER_VARIABLE] = f"{folder}/locks"
        directory = StudyDirectory(Path(folder) / "study")
        n_runs, planned_s, written_s = _planned(directory, n_prompts)
        parsed_s, _ = timed(lambda: json.loads((directory.path / "plan.json").read_bytes()))
        looked_s, _ = timed(lambda: _looked_into(directory.path / "runs"))
        read_s, _ = timed(directory.plan)
        launcher = FakeLauncher()
        options = RunOptions(
            launcher=launcher, preflight=lambda configs, *_: [ExaminedExperiment() for _ in configs],
            sleep=lambda _: None,
        )  # fmt: skip
        opened.on, opened.n, opened.results = True, 0, set()
        resumed_s, outcome = timed(lambda: go_on(directory.path, options))
        opened.on = False
        assert (outcome.n_results, len(launcher.plans), outcome.is_well) == (n_runs, _N_LEFT, True)
    made = {f"{plan.output_dir}/result.json" for plan in launcher.plans}
    row = {
        "runs": n_runs,
        "planned_s": planned_s,
        "written_s": written_s,
        "plan_parsed_s": parsed_s,
        "folders_looked_into_s": looked_s,
        "plan_read_s": read_s,
        "resumed_s": resumed_s,
        "resumed_ms_per_run": 1000 * resumed_s / n_runs,
        "times_parsing_and_looking": resumed_s / (parsed_s + looked_s),
        "resident_mb": psutil.Process().memory_info().rss / 1e6,
        # Those of the runs that were made are read for their rows.
        "results_opened": len(opened.results - made),
        "opened_per_run": opened.n / n_runs,
    }
    found = {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
    print(found, file=sys.stderr, flush=True)
    return found


def _planned(directory: Any, n_prompts: int) -> tuple[int, float, float]:
    """Plan and write a study, and finish most of it: how many runs it has, and the seconds of the first two."""
    from bench.large_study import study_file, timed
    from llenergymeasure.config.loader import load_study_config
    from llenergymeasure.core.settling import Settled
    from llenergymeasure.orchestration.studies.planning import plan_of
    from llenergymeasure.orchestration.studies.where import working_directory_of

    directory.path.mkdir()
    file = directory.path.parent / "study.yaml"
    file.write_text(study_file(n_prompts, "execution: {cycles: 1}\n"), encoding="utf-8")
    given = load_study_config(file)
    chosen = [Settled(each, {}) for each in given.experiments]
    now = datetime.now(UTC)
    planned_s, plan = timed(lambda: plan_of(given, chosen, now, working_directory_of(given.experiments)))
    written_s, _ = timed(lambda: directory.write(plan, given))
    _finish_all_but_the_last(directory, plan)
    return len(plan.slots), planned_s, written_s


def _finish_all_but_the_last(directory: Any, plan: Any) -> None:
    """Attempts with a row each, made from that of one real run."""
    from llenergymeasure.domain.plan import ExperimentPlan
    from llenergymeasure.domain.result import ExperimentResult
    from llenergymeasure.results.persistence import save_result
    from llenergymeasure.results.study.rows import leave_row
    from llenergymeasure.results.sums import mark_done
    from llenergymeasure.testing import fake_process_result

    first = plan.slots[0]
    attempt = directory.new_attempt(plan, first)
    config = plan.configurations[first.configuration].config(plan.execution.of_one)
    save_result(ExperimentResult.from_processes([fake_process_result(ExperimentPlan.of(config))]), attempt)
    (attempt / "log.txt").write_text("it ran\n", encoding="utf-8")
    mark_done(attempt)
    row = asdict(leave_row(directory, plan, first))
    done, zeros = (attempt / "DONE").read_bytes(), bytes((attempt / "result.json").stat().st_size)
    (attempt / "result.json").write_bytes(zeros)
    for slot in plan.slots[1:-_N_LEFT]:
        attempt = directory.folder(plan, slot) / "attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "result.json").write_bytes(zeros)
        (attempt / "log.txt").write_text("it ran\n", encoding="utf-8")
        (attempt / "DONE").write_bytes(done)
        own = {**row, **asdict(slot), "config_hash": plan.hash_of(slot)}
        (directory.path / "rows" / f"{slot.slot:04d}.json").write_text(json.dumps(own), encoding="utf-8")


def _looked_into(runs: Path) -> int:
    """How many files all attempts have."""
    n = 0
    with os.scandir(runs) as slots:
        for slot in slots:
            with os.scandir(slot.path) as attempts:
                for attempt in attempts:
                    with os.scandir(attempt.path) as files:
                        n += sum(1 for _ in files)
    return n


def _arguments() -> argparse.Namespace:
    from bench.large_study import N_PROMPTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=N_PROMPTS, help="A sixth of the runs.")
    parser.add_argument("--save", action="store_true", help="Write the result to bench/results.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    logging.disable(logging.CRITICAL)
    sys.exit(main())
