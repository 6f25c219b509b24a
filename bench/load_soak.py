"""Half an hour under load at 20 requests per second: whether anything is lost, and what memory each request takes.

``python bench/load_soak.py`` runs ``llem run`` against a server that computes nothing
(``llenergymeasure.testing.fake_server``, in this process) and looks at the resident memory of the process that measures
every half minute. A request that has ended is a row of the result, which is held until it is written; beyond those
rows nothing may grow. After the run every request that the server was asked for is to be in requests.parquet, once.

Exit code 1: a request was lost or counted twice, or memory grew by more than 6 kilobytes for each.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
N_TOKENS = 16
MOST_BYTES_PER_REQUEST = 6144
_LOOK_S = 30.0


class _Memory:
    """Resident memory of the largest process below this one, looked at now and then: seconds, requests, megabytes."""

    def __init__(self, n_asked: "Any") -> None:
        self.rows: list[dict[str, float]] = []
        self._n_asked, self._over, self._began_s = n_asked, threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            found = []
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if any("processes.worker" in word for word in process.cmdline()):
                            found.append(process.memory_info().rss)
            if found:
                row = {"s": round(time.monotonic() - self._began_s, 1), "n": self._n_asked(), "mb": max(found) / 1e6}
                self.rows.append(row)
                print(f"{row['s']:7.0f} s {row['n']:7} requests {row['mb']:8.1f} MB", flush=True)


def grown_bytes(rows: list[dict[str, float]]) -> float | None:
    """Bytes for each request between the second quarter of the looks and the last one; None for too few.

    What is there once, such as libraries, is there after a quarter.
    """
    if len(rows) < 8:
        return None
    early, late = rows[len(rows) // 4], rows[-1]
    return 1e6 * (late["mb"] - early["mb"]) / max(late["n"] - early["n"], 1)


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Run it, and hold what the result has against what the server was asked."""
    import pyarrow.parquet as pq

    from llenergymeasure.testing.fake_server import FakeServer, FakeSettings

    with FakeServer(FakeSettings(n_slots=64)) as server, tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable, "-m", "llenergymeasure", "run", "--model", str(args.tokenizer), "--backend", "server",
            "-o", folder, "--json", "--set", f"server.url={server.url}", "--set", "server.served_model=fake",
            "--set", f"load.rate={args.rate}", "--set", f"load.duration_s={args.seconds}",
            "--set", f"max_output_tokens={N_TOKENS}", "--set", "decoder.ignore_eos=true",
            "--set", "energy.backend=null",
        ]  # fmt: skip
        with _Memory(lambda: len(server.asked)) as memory:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"llem run ended with {done.returncode}: {done.stderr[-1000:]}")
        result = json.loads(done.stdout)
        table = pq.read_table(next(Path(folder).rglob("requests.parquet")))
        indices = table["index"].to_pylist()
        n_tokens = sum(table["output_tokens"].to_pylist())
        n_asked = len(server.asked)
    load = result["load"]
    return {
        "rate": args.rate,
        "seconds": args.seconds,
        "n_rows": len(indices),
        "n_distinct": len(set(indices)),
        "n_failed": sum(error is not None for error in table["error"].to_pylist()),
        # Of warm-up, and whether it answers, the server was asked too.
        "n_asked_beside": n_asked - len(indices),
        "n_output_tokens_missing": N_TOKENS * len(indices) - n_tokens,
        "n_before_the_window": result["n_requests_excluded"],
        "n_arrived": load["n_arrived"],
        "late_ms_p99": 1000 * (load["sending"]["late_s"].get("p99") or 0.0),
        "generator_cpu_s": load["generator_cpu_s"],
        "bytes_per_request": grown_bytes(memory.rows),
        "memory": memory.rows,
    }


def main() -> int:
    """Run, print, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    found = soak(args)
    grown = found["bytes_per_request"]
    kept = (
        found["n_rows"] == found["n_distinct"] == found["n_arrived"] - found["n_before_the_window"]
        and found["n_failed"] == found["n_output_tokens_missing"] == 0
        and grown is not None
        and grown <= MOST_BYTES_PER_REQUEST
    )
    result = {"bench": "load_soak", "promise": f"nothing lost, at most {MOST_BYTES_PER_REQUEST} bytes a request",
              "kept": kept, **found, "machine": machine()}  # fmt: skip
    print(json.dumps({name: value for name, value in result.items() if name not in ("machine", "memory")}, indent=2))
    if args.save:
        print(f"written: {save('load-soak', result)}")
    return 0 if kept else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second, on average")
    parser.add_argument("--seconds", type=float, default=1800.0, help="how long requests arrive")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a model's tokenizer")
    parser.add_argument("--save", action="store_true", help="write bench/results/load-soak-<date>.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    raise SystemExit(main())
