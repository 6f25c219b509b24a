"""What reading thousands of saved results costs: time beside that of their JSON alone, and memory.

Both have to grow with the number of results and no faster.

    python bench/scale.py [--sizes 1000 10000] [--rounds 3]

Results are made from this package's fakes, as large as those of a machine with one GPU and 150 installed distributions,
in the folders of a study with their sums. The ratio is of one process that reads the JSON of each file alone beside the
table's own reading, in turns, since a machine's speed is not the same from minute to minute. Each way of reading also
has a process of its own, whose peak of memory is then that way's. Prints JSON.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.peaks import measured_here
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.environment import EnvironmentSnapshot, GpuInfo
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import RESULT_FILE, as_written
from llenergymeasure.results.reading import results_in, rows_in
from llenergymeasure.results.rows.extraction import ResultRow
from llenergymeasure.results.rows.table import ResultTable
from llenergymeasure.results.sums import DONE_FILE
from llenergymeasure.testing import fake_process_result

# What the table may take, in times of what json.loads takes.
MOST_RATIO = 3.0
_N_PACKAGES = 150
_BATCH_SIZES = (1, 2, 4, 8, 16, 32)


def make_results(folder: Path, n: int) -> None:
    """Write [n] results as the slots of a study: six batch sizes, every energy and duration another one."""
    config = ExperimentConfig.model_validate({"model": "a/model", "pytorch": {"batch_size": 1}})
    written = json.loads(as_written(_result(config)))
    for slot in range(n):
        written |= {"name": f"run {slot}", "experiment_id": f"{slot:032x}", "total_energy_j": 100.0 + slot / 7}
        written["effective_config"]["pytorch"]["batch_size"] = _BATCH_SIZES[slot % len(_BATCH_SIZES)]
        written["measurement_config_hash"] = f"{slot:016x}"
        attempt = folder / "runs" / f"{slot:04d}-{slot:016x}" / "attempt-1"
        attempt.mkdir(parents=True)
        content = json.dumps(written, indent=2) + "\n"
        (attempt / RESULT_FILE).write_text(content, encoding="utf-8")
        sums = {RESULT_FILE: hashlib.sha256(content.encode()).hexdigest()}
        (attempt / DONE_FILE).write_text(json.dumps(sums), encoding="utf-8")


def _result(config: ExperimentConfig) -> ExperimentResult:
    """A result as large as real ones."""
    raw = fake_process_result(ExperimentPlan.of(config))
    gpu = GpuInfo(index=0, uuid="GPU-0", name="NVIDIA H200", memory_total_mb=143771.0)
    packages = {f"a-distribution-{i}": f"1.{i}.0" for i in range(_N_PACKAGES)}
    environment = EnvironmentSnapshot(
        python_version="3.11.0", platform="Linux", cpu_model="a CPU", n_cpus=16, memory_total_mb=128000.0,
        cuda_version="12.8", driver_version="570.1", gpus=(gpu,), packages=packages, tool_version="2.0.0",
    )  # fmt: skip
    row = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=100.0, source="counter", uncertainty_j=0.5, sensor="nvml")
    energy = EnergyMeasurement(100.0, 2.0, 20, devices=(row,), uncertainty_j=0.5)
    fields = {"environment_snapshot": environment, "energy": energy, "energy_backend": "nvml"}
    return ExperimentResult.from_processes([raw.model_copy(update={**fields, "measurement_warnings": ()})])


def _json_alone(folder: Path) -> int:
    """What nobody can do without: the JSON of each file, held no longer than until the next."""
    n = 0
    for path in folder.glob(f"runs/*/*/{RESULT_FILE}"):
        json.loads(path.read_bytes())
        n += 1
    return n


def _table(folder: Path) -> int:
    table = ResultTable(rows_in(folder))
    assert "pytorch.batch_size" in table.differing_settings() or len(table) < len(_BATCH_SIZES)
    return len(table)


def _one_by_one(folder: Path) -> int:
    return sum(1 for _ in rows_in(folder))


def _whole(folder: Path) -> int:
    return sum(1 for _ in results_in(folder))


_WAYS: dict[str, Callable[[Path], int]] = {
    "json": _json_alone,
    "rows": _one_by_one,
    "table": _table,
    "whole": _whole,
}


def _side_by_side(folder: Path) -> dict[str, float]:
    """Seconds for the table and for the JSON of the same files, in turns from file to file."""
    json_s = 0.0

    def rows() -> Iterator[ResultRow]:
        nonlocal json_s
        for row in rows_in(folder):
            before_s = time.process_time()
            json.loads(Path(row.folder or "", RESULT_FILE).read_bytes())
            json_s += time.process_time() - before_s
            yield row

    start_s = time.process_time()
    table = ResultTable(rows())
    names = table.all_columns()
    table.sort(["total_energy_j"])
    assert sum(1 for _ in table.rows(names)) == len(table)
    return {"json_s": json_s, "table_s": time.process_time() - start_s - json_s}


def _measured(way: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _of_size(n: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_results(folder, n)
        n_bytes = sum(path.stat().st_size for path in folder.glob(f"runs/*/*/{RESULT_FILE}"))
        _json_alone(folder)  # so that all of them find the files in memory
        found: dict[str, list[dict[str, float]]] = {way: [] for way in _WAYS}
        together = []
        for _ in range(rounds):
            together.append(_side_by_side(folder))
            for way in _WAYS:
                found[way].append(_measured(way, folder))
    assert all(run["n"] == n for runs in found.values() for run in runs)
    per_result_us = {way: 1e6 * min(run["cpu_s"] for run in runs) / n for way, runs in found.items()}
    ratios = [both["table_s"] / both["json_s"] for both in together]
    return {
        "n": n,
        "kb_per_result": n_bytes / n / 1000,
        "us_per_result": {way: round(us, 1) for way, us in per_result_us.items()},
        "table_to_json": round(statistics.median(ratios), 3),
        "table_to_json_rounds": [round(ratio, 3) for ratio in ratios],
        "peak_mb": {way: max(run["peak_mb"] for run in runs) for way, runs in found.items()},
    }


def measured(sizes: list[int], rounds: int) -> dict[str, Any]:
    """The figures of each size, and what becomes of them from the smallest to the largest."""
    rows = [_of_size(n, rounds) for n in sorted(sizes)]
    small, large = rows[0], rows[-1]
    more = large["n"] - small["n"]
    growth_kb = {
        way: round(1000 * (large["peak_mb"][way] - small["peak_mb"][way]) / more, 2) if more else None for way in _WAYS
    }
    linearity = {way: round(large["us_per_result"][way] / small["us_per_result"][way], 3) for way in _WAYS}
    return {
        "sizes": rows,
        "peak_growth_kb_per_result": growth_kb,
        "time_per_result_large_to_small": linearity,
        "most_table_to_json": MOST_RATIO,
        "holds": large["table_to_json"] <= MOST_RATIO,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=_WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is not None:
        print(json.dumps(measured_here(lambda: _WAYS[given.way](given.folder))))
        return
    print(json.dumps(measured(given.sizes, given.rounds), indent=2))


if __name__ == "__main__":
    main()
