"""What ``llem verify`` of a thousand results costs: time beside that of reading their files alone, and memory.

    python bench/verifying.py [--sizes 100 1000] [--rounds 3] [--bundle DIR] [--save]

The results are copies of a real one: of ``--bundle``, the folder of a result, or of a short run of SmolLM2 that is made
for it. The ratio is of one process that hashes every file of a result, parses its JSON and reads its tables, and then
verifies it, in turns from result to result. Each size also has a process of its own, whose peak of memory is then its.
Exit code 1: verifying takes more than the promised times of reading, its time or its memory grows faster than the
number of results, or a result does not verify.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
# In times of what reading the files takes; of the time per result of the smaller size; in bytes for each more.
MOST_RATIO = 3.0
MOST_GROWTH = 1.2
MOST_KB_PER_RESULT = 4.0


def _made(folder: Path) -> Path:
    """A result of a short run of the packaged model."""
    command = [
        sys.executable, "-m", "llenergymeasure", "run", "--model", "smollm2-135m", "-n", "4",
        "--precision", "fp32",
        "--set", "max_output_tokens=16", "-o", str(folder),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (result,) = folder.glob("**/result.json")
    return result.parent


def _read(folder: Path) -> None:
    """What nobody can do without: each file hashed and taken apart."""
    import pyarrow.parquet as pq

    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            hashlib.sha256(content).hexdigest()
            if path.suffix == ".json":
                json.loads(content)
            elif path.suffix == ".parquet":
                pq.read_table(path)


def _verified(folder: Path) -> int:
    from llenergymeasure.results.verification.verify import reports_of

    n = 0
    for report in reports_of(folder):
        assert report.agrees, [str(finding) for finding in report.findings]
        n += 1
    return n


def _side_by_side(folder: Path) -> float:
    """Processor time for verifying over that for reading the same files, in turns from result to result."""
    read_s = verified_s = 0.0
    for each in sorted(folder.iterdir()):
        start_s = time.process_time()
        _read(each)
        between_s = time.process_time()
        assert _verified(each) == 1
        read_s += between_s - start_s
        verified_s += time.process_time() - between_s
    return verified_s / read_s


def _of_size(bundle: Path, n: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for number in range(n):
            shutil.copytree(bundle, folder / f"result-{number:05d}")
        _side_by_side(folder)  # so that both find the files in memory and the libraries loaded
        ratios = [_side_by_side(folder) for _ in range(rounds)]
        runs = [_in_a_process_of_its_own(folder) for _ in range(rounds)]
    assert all(run["n"] == n for run in runs)
    return {
        "n": n,
        "verify_to_read": round(statistics.median(ratios), 3),
        "verify_to_read_rounds": [round(ratio, 3) for ratio in ratios],
        "ms_per_result": round(1000 * min(run["cpu_s"] for run in runs) / n, 3),
        "peak_mb": max(run["peak_mb"] for run in runs),
    }


def _in_a_process_of_its_own(folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--verify-here", str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measured(bundle: Path, sizes: list[int], rounds: int) -> dict[str, Any]:
    """The figures of each size, and what becomes of them from the smallest to the largest."""
    from bench.results_file import machine

    rows = [_of_size(bundle, n, rounds) for n in sorted(sizes)]
    small, large = rows[0], rows[-1]
    more = large["n"] - small["n"]
    growth = round(large["ms_per_result"] / small["ms_per_result"], 3)
    growth_kb = round(1000 * (large["peak_mb"] - small["peak_mb"]) / more, 2) if more else 0.0
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    return {
        "bench": "verifying",
        "what": "processor time of verifying results over that of hashing, parsing and reading their files",
        "promise": f"at most {MOST_RATIO:g} times, {MOST_GROWTH:g} times the time per result, and "
        f"{MOST_KB_PER_RESULT:g} kB of memory for each further result",
        "kept": max(row["verify_to_read"] for row in rows) <= MOST_RATIO
        and growth <= MOST_GROWTH
        and growth_kb <= MOST_KB_PER_RESULT,
        "sizes": rows,
        "time_per_result_large_to_small": growth,
        "peak_growth_kb_per_result": growth_kb,
        "kb_per_result": round(sum(path.stat().st_size for path in files) / 1000, 1),
        "files_per_result": len(files),
        "machine": machine(),
    }


def main() -> int:
    """Measure, print, and say whether it holds."""
    from bench.peaks import measured_here
    from bench.results_file import save

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000], help="How many results.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", type=Path, help="Folder of a result; by default one is made.")
    parser.add_argument("--save", action="store_true", help="Write the result to bench/results.")
    parser.add_argument("--verify-here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.verify_here is not None:
        print(json.dumps(measured_here(lambda: _verified(given.verify_here))))
        return 0
    with tempfile.TemporaryDirectory() as made:
        found = measured(given.bundle or _made(Path(made) / "out"), given.sizes, given.rounds)
    print(json.dumps(found, indent=2))
    if given.save:
        print(f"written: {save('verifying', found)}")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    sys.exit(main())
