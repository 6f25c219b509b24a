"""What many workers and a study of many runs do to the directory that they share.

    python bench/cluster_scale.py [--slots 100000] [--workers 100] [--run-s 60] [--folder DIR] [--save]

What a worker asks of the directory is counted where that is asked (``SharedFiles``), in the situations that make up a
study: a run of its own; going past what all the others have; looking again while nothing is left but what others have;
beginning on a study of which all is through. Each has its processor time beside it, on this machine's file system.
From these counts follows what so many workers ask of the server in a second, while each run takes so long, and where
the limit is, at so many operations a second. Nothing here waits for a network; operations of engines and results are
counted as files only.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llenergymeasure.domain.study.plan import StudyPlan

_ROOT = Path(__file__).parent.parent
_CONFIGURATIONS = 100
# How many of the rest others have while nothing else is left, and runs that are made to be counted.
_LAST, _OWN = 100, 50
# What a modest NFS server answers in a second, by which the limit is told; and the names in one answer to a listing.
_SERVER_PER_S, _NAMES_PER_ANSWER = 2000, 200
# Between two looks of a worker with nothing to do, after the first few.
_POLL_S = 30.0


def main() -> int:
    """Run it and print it."""
    from bench.results_file import machine, save
    from llenergymeasure._machine_folder import FOLDER_VARIABLE

    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        # Whoever measures on this machine meanwhile neither waits for this nor is waited for.
        os.environ[FOLDER_VARIABLE] = f"{folder}/locks"
        found = _situations(Path(folder), args.slots)
        result = {
            "bench": "cluster_scale",
            "what": "operations on the study directory and processor seconds of one worker, and what follows for many",
            "slots": args.slots,
            "workers": args.workers,
            "run_s": args.run_s,
            "on_paper": _on_paper(found, args.slots, args.workers, args.run_s),
            "load_before": os.getloadavg()[0],
            "rows": list(found.values()),
            "machine": machine(),
        }
        # To remove hundreds of thousands of files may take longer than all the rest.
        print(json.dumps(result, indent=2), flush=True)
        if args.save:
            print(f"written: {save('cluster-scale', result)}", flush=True)
    return 0


class _EnoughError(Exception):
    """A worker has seen what it was to see."""


def _counting() -> tuple[Any, Counter[str]]:
    """Files that count what is asked of them."""
    from llenergymeasure._shared_files import FilesOfTheSystem

    asked: Counter[str] = Counter()

    class Counting(FilesOfTheSystem):
        """The same, counted; a listing has as many answers as its names take."""

        def names(self, folder: Path) -> list[str]:
            found = super().names(folder)
            asked["listing answers"] += 1 + len(found) // _NAMES_PER_ANSWER
            return found

        def exists(self, path: str | Path) -> bool:
            asked["exists"] += 1
            return super().exists(path)

        def read(self, path: str | Path, most_bytes: int) -> Any:
            asked["read"] += 1
            return super().read(path, most_bytes)

        def create(self, path: str | Path, content: bytes) -> None:
            asked["create"] += 1
            super().create(path, content)

        def touch(self, path: str | Path) -> None:
            asked["touch"] += 1
            super().touch(path)

        def now_s(self, folder: Path) -> float:
            # It is created, asked and removed.
            asked["clock"] += 2
            return super().now_s(folder)

    return Counting(), asked


def _situations(folder: Path, n_slots: int) -> dict[str, dict[str, Any]]:
    plan = _plan(n_slots)
    found: dict[str, dict[str, Any]] = {}

    def seen(name: str, path: Path, n: int, work: Callable[[Any, Counter[str]], object]) -> None:
        from bench.large_study import timed
        from llenergymeasure.results.study.directory import StudyDirectory

        files, asked = _counting()
        cpu_s, _ = timed(lambda: work(StudyDirectory(path, files), asked))
        total = asked.total()
        found[name] = {"name": name, "slots": n, "operations": total, "per_slot": round(total / n, 3),
                       "cpu_s": round(cpu_s, 2), "cpu_us_per_slot": round(1e6 * cpu_s / n, 1), **asked}  # fmt: skip
        print(found[name], file=sys.stderr, flush=True)

    study = folder / "study"
    _write(study, plan)
    through = _all_but(n_slots, _OWN)
    seen("own runs", study, _OWN, lambda directory, _: _work(directory, plan, set(through)))
    found["own runs"]["files_per_slot"] = sum(len(names) for *_, names in os.walk(study)) / _OWN
    found["own runs"]["folders_per_slot"] = 2
    _take_all(study / "claims", n_slots - _OWN)
    seen("past what others have", study, n_slots - _OWN, lambda directory, _: _work(directory, plan, set()))
    rows = _Rows(study / "rows", n_slots)
    seen("looking again", study, n_slots, lambda directory, asked: rows.look(directory, plan, asked, 1))
    seen("waiting for the last", study, n_slots, lambda directory, asked: rows.look(directory, plan, asked, 2))
    for name in ("looking again", "waiting for the last"):
        # What came before was done in the same time, and is not counted.
        del found[name]["cpu_s"], found[name]["cpu_us_per_slot"]
    seen("standing", study, n_slots, _standing)
    _finish_all(study, plan, n_slots - _OWN)
    seen("beginning on what is nearly through", study, n_slots, lambda directory, _: _begin(directory, plan))
    return found


def _plan(n_slots: int) -> "StudyPlan":
    from llenergymeasure.config.execution import StudyExecutionConfig
    from llenergymeasure.config.models import ExperimentConfig, StudyConfig
    from llenergymeasure.core.settling import Settled
    from llenergymeasure.orchestration.studies.planning import plan_of

    experiments = [ExperimentConfig(model="a/model", name=f"c{i}", n=i + 1) for i in range(_CONFIGURATIONS)]
    execution = StudyExecutionConfig(cycles=n_slots // _CONFIGURATIONS, order="sequential")
    given = StudyConfig(experiments=experiments, execution=execution)
    return plan_of(given, [Settled(each, {}) for each in experiments], datetime.now(UTC))


def _write(path: Path, plan: "StudyPlan") -> None:
    from llenergymeasure.config.models import ExperimentConfig, StudyConfig
    from llenergymeasure.results.study.directory import StudyDirectory

    path.mkdir()
    StudyDirectory(path).write(plan, StudyConfig(experiments=[ExperimentConfig(model="a/model")]))


def _all_but(n_slots: int, n: int) -> range:
    return range(n_slots - n)


def _no_more(_: float) -> None:
    raise _EnoughError


def _work(directory: Any, plan: "StudyPlan", through: set[int], sleep: Callable[[float], None] = _no_more) -> None:
    """A worker until nothing is left that it may run."""
    from llenergymeasure.orchestration.options import RunOptions
    from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
    from llenergymeasure.orchestration.studies.worker import StudyWorker
    from llenergymeasure.testing import FakeLauncher

    examined = {i: ExaminedExperiment() for i in range(_CONFIGURATIONS)}
    options = RunOptions(launcher=FakeLauncher(), sleep=sleep)
    try:
        StudyWorker(directory, plan, examined, options, shared=True, through=through).run()
    except _EnoughError:
        return


class _Rows:
    """The rows that others leave, of all slots but the last, while a worker waits."""

    def __init__(self, folder: Path, n_slots: int) -> None:
        self._folder, self._slots = folder, _all_but(n_slots, _LAST)

    def look(self, directory: Any, plan: "StudyPlan", asked: Counter[str], n: int) -> None:
        """The [n]th pass after they have left them; what was asked before is not counted."""
        for file in self._folder.iterdir():
            file.unlink()
        n_passes = 0

        def sleep(_: float) -> None:
            nonlocal n_passes
            n_passes += 1
            if n_passes > n:
                raise _EnoughError
            for slot in self._slots if n_passes == 1 else ():
                (self._folder / f"{slot:04d}.json").touch()
            asked.clear()

        _work(directory, plan, set(), sleep)


def _standing(directory: Any, _: Counter[str]) -> None:
    from llenergymeasure.orchestration.studies.standing import standing_of_study

    standing_of_study(directory.path, directory.files)


def _begin(directory: Any, plan: "StudyPlan") -> None:
    """What a worker looks at before anything else: what of it is left, where all but the last has finished."""
    from llenergymeasure.results.study.rows import slots_with_rows

    rows, begun = slots_with_rows(directory), directory.begun()
    for slot in plan.slots:
        if slot.slot not in rows and plan.folder_of(slot) in begun:
            directory.found(plan, slot)


def _take_all(claims: Path, n: int) -> None:
    """Somebody else has every slot, and is alive for longer than this takes."""
    from llenergymeasure.orchestration.studies.claiming.files import claim_file, taking
    from llenergymeasure.orchestration.studies.claiming.workers import Worker

    content = taking(Worker(name="far-1", host="far", boot_id="b", pid=1, started_s=0.0))
    for slot in range(n):
        path = Path(claim_file(claims, f"{slot:04d}", 1))
        path.write_bytes(content)
        os.utime(path, (time.time() + 86400, time.time() + 86400))


def _finish_all(path: Path, plan: "StudyPlan", n: int) -> None:
    for slot in plan.slots[:n]:
        attempt = path / "runs" / plan.folder_of(slot) / "attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "DONE").touch()


def _on_paper(found: dict[str, dict[str, Any]], n_slots: int, n_workers: int, run_s: float) -> dict[str, Any]:
    """What follows for many workers, each of whom always runs something."""
    own, past = found["own runs"], found["past what others have"]
    again, last, begin = (
        found[name] for name in ("looking again", "waiting for the last", "beginning on what is nearly through")
    )
    lasts_s = n_slots * run_s / n_workers
    # Twelve signs of life a minute, and two looks at the clock.
    alive_per_s = n_workers * (12 / 60 + 2 * 2 / 60)
    runs_per_s = n_workers / run_s * own["per_slot"]
    # Each goes past each slot once, while another has it or after that.
    past_per_s = n_workers * n_slots * past["per_slot"] / lasts_s
    return {
        "study_lasts_h": round(lasts_s / 3600, 1),
        "files": round(n_slots * own["files_per_slot"]),
        "folders": n_slots * own["folders_per_slot"],
        "files_in_claims": 2 * n_slots,
        "signs_of_life_per_s": round(alive_per_s, 1),
        "runs_and_claims_per_s": round(runs_per_s, 1),
        "going_past_others_per_s": round(past_per_s, 1),
        "operations_per_s": round(alive_per_s + runs_per_s + past_per_s, 1),
        "at_the_end_once": n_workers * again["operations"],
        "waiting_for_the_last_per_s": round(n_workers * last["operations"] / _POLL_S, 1),
        "to_begin_per_worker": begin["operations"],
        "to_begin_all_s": round(n_workers * begin["operations"] / _SERVER_PER_S, 1),
        "server_per_s": _SERVER_PER_S,
        "most_workers": _most_workers(own["per_slot"], past["per_slot"], run_s),
    }


def _most_workers(own: float, past: float, run_s: float) -> int:
    """How many a server carries: w (12/60 + 4/60 + own / run_s) + w² past / run_s operations a second."""
    linear, square = 16 / 60 + own / run_s, past / run_s
    return int((-linear + (linear**2 + 4 * square * _SERVER_PER_S) ** 0.5) / (2 * square))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--run-s", type=float, default=60.0, help="how long a run takes")
    parser.add_argument("--folder", type=Path, help="on which file system; default: that of temporary files")
    parser.add_argument("--save", action="store_true", help="write the result to bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    import logging

    sys.path.insert(0, str(_ROOT))
    logging.disable(logging.CRITICAL)
    sys.exit(main())
