"""What our generator of requests takes and how exact it is, beside ``vllm bench serve`` at the same server.

``python bench/load_generator.py --vllm-python ~/envs/vllm/bin/python --tokenizer FOLDER``. Both send requests at a
constant rate to a server that computes nothing (``llenergymeasure.testing.fake_server``, in this process), in turns,
and are judged by two figures: processor seconds per 1,000 chunks, of the part of each that sends and receives, and the
99th percentile of how late requests came in, as the server saw them. Ratios are of theirs over ours: more than 1 is
less of ours.
Exit code 1: one of the two promises is not kept.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
N_TOKENS = 16


def lateness_s(came_s: Sequence[float], gap_s: float) -> list[float]:
    """How much later than the earliest of them each of [n] requests came, that were to come ``gap_s`` apart."""
    off_s = [time_s - place * gap_s for place, time_s in enumerate(came_s)]
    return [each - min(off_s) for each in off_s]


def last_told(words: Sequence[str], most_s: float = 600.0) -> dict[str, Any]:
    """The last line that a command prints, read as JSON.

    Args:
        words: the command.
        most_s: it is ended after so many seconds.

    Raises:
        RuntimeError: it failed; with the end of what it said about it.
        subprocess.TimeoutExpired: it did not end.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=HERE.parent, timeout=most_s)
    if done.returncode:
        end = "\n".join(done.stderr.splitlines()[-5:])
        raise RuntimeError(f"{words[0]} {words[1]} ended with {done.returncode}:\n{end}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


class _Server:
    """The server, and what one side did to it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def asked_by(self, command: Sequence[str]) -> dict[str, float]:
        """Figures of one run of a generator.

        Raises:
            RuntimeError: it failed.
            ValueError: not every request came.
        """
        from llenergymeasure.testing.fake_server import FakeServer, FakeSettings

        args = self._args
        # Both get the same bytes: ids and counts of chunks, which only ours asks for, are not told.
        settings = FakeSettings(n_slots=1024, tells_ids=False, tells_counts=False)
        with FakeServer(settings) as server:
            words = [*command, "--url", server.url, "--rate", str(args.rate), "--n", str(args.n)]
            told = last_told(words)
            # Whoever looks whether the server answers has asked before.
            came_s = [seen.at_s for seen in server.asked][-args.n :]
        if len(came_s) < args.n or told["n_chunks"] != args.n * N_TOKENS:
            raise ValueError(f"{len(came_s)} requests came and {told['n_chunks']} chunks of {args.n * N_TOKENS}")
        late_s = sorted(lateness_s(came_s, 1 / args.rate))
        return {
            "cpu_s_per_1000_chunks": 1000 * told["cpu_s"] / told["n_chunks"],
            "p99_late_ms": 1000 * late_s[int(0.99 * (len(late_s) - 1))],
        }


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Both in turns; the side that goes first alternates."""
    from bench.pairs import Promise, judged

    server = _Server(args)
    sides = {"ours": [sys.executable, str(HERE / "load_generator_ours.py")]}
    if args.vllm_python is not None:
        sides["vllm"] = [str(args.vllm_python), str(HERE / "load_generator_vllm.py"), "--tokenizer", args.tokenizer]
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(args.pairs):
        for side in sides if number % 2 else reversed(list(sides)):
            found[side].append(server.asked_by(sides[side]))
            figures = {name: round(value, 3) for name, value in found[side][-1].items()}
            print(f"pair {number + 1:3} of {args.pairs}, {side}: {figures}", flush=True)
    names = ("cpu_s_per_1000_chunks", "p99_late_ms")
    medians = {
        side: {name: statistics.median(run[name] for run in runs) for name in names} for side, runs in found.items()
    }
    result: dict[str, Any] = {"rate": args.rate, "n": args.n, "chunks_each": N_TOKENS, "medians": medians}
    if "vllm" in found:
        promise = Promise(least_pairs=10, least_median=1.0, least_limit=None)
        result["theirs_over_ours"] = {
            name: judged([b[name] / a[name] for a, b in zip(found["ours"], found["vllm"], strict=True)], promise)
            for name in names
        }
    return result


def main() -> int:
    """Run, print, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    found = compare(args)
    result: dict[str, Any] = {"bench": "load_generator", **found, "machine": machine()}
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('load-generator', result)}")
    return 0 if all(each["kept"] for each in found.get("theirs_over_ours", {}).values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="how often both are run")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--n", type=int, default=2000, help="requests of a run")
    parser.add_argument("--vllm-python", type=Path, help="a Python that has vllm; without it ours is run alone")
    parser.add_argument("--tokenizer", default="", help="folder of a tokenizer, which vllm wants")
    parser.add_argument("--save", action="store_true", help="write bench/results/load-generator-<date>.json")
    args = parser.parse_args()
    if args.vllm_python is not None and not args.tokenizer:
        parser.error("--tokenizer: vllm wants the folder of one, such as that of any model")
    return args


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    raise SystemExit(main())
