"""What it costs to take a part of a study and to end it, beside a bare exclusive create on the same file system.

    python bench/claims.py [--slots 10000] [--workers 8] [--folder DIR] [--save]

First in one process, in turns: a batch of claims, each a taking and an ending, and a batch of files of the same size,
created exclusively and nothing else; so whatever else the machine does touches both. Then by several processes at once,
who all go through the same slots, as workers do, and beside it as many processes who create as many bare files. Exit
code 1: a claim takes more than five times a bare create, or a slot was taken twice, or by nobody.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
# In times of a bare create.
_MOST = 5.0
_BATCH = 250


def main() -> int:
    """Run it and print it."""
    from bench.pairs import Promise, judged, ratios_of
    from bench.results_file import machine, save

    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        folder = Path(made)
        alone = ratios_of(_Claiming(folder / "ours").rate, _Creating(folder / "theirs").rate, args.pairs)
        together = _together(folder, args.slots, args.workers)
    promise = Promise(least_pairs=min(args.pairs, 30), least_median=1 / _MOST, least_limit=1 / _MOST)
    in_turns = judged(alone, promise)
    result = {
        "bench": "claims",
        "what": "claims per second (a taking and an ending each) over bare exclusive creates of a file of that size",
        "promise": f"a claim at most {_MOST:g} times a bare create, no slot twice, none left out",
        "kept": in_turns["kept"] and together["twice"] == together["by_nobody"] == 0,
        "times_a_bare_create": round(1 / in_turns["median_ratio"], 2),
        "in_turns": in_turns,
        "together": together,
        "load_before": os.getloadavg()[0],
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('claims', result)}")
    return 0 if result["kept"] else 1


class _Creating:
    """Files of the size of a claim, each created exclusively."""

    def __init__(self, folder: Path) -> None:
        from llenergymeasure.orchestration.studies.claiming.workers import Worker

        folder.mkdir()
        self._folder, self._n = folder, 0
        self._content = json.dumps(asdict(Worker.this_process())).encode()

    def create(self, n: int) -> None:
        """So many."""
        for number in range(self._n, self._n + n):
            path = f"{self._folder}/{number:04d}.1"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            os.write(descriptor, self._content)
            os.close(descriptor)
        self._n += n

    def rate(self) -> float:
        """Per second."""
        return _rate(lambda: self.create(_BATCH), _BATCH)


class _Claiming:
    """Slots that nobody else wants, each taken and ended."""

    def __init__(self, folder: Path) -> None:
        from llenergymeasure.orchestration.studies.claiming.claims import Claims

        self._claims, self._n = Claims(folder), 0
        folder.mkdir()

    def claim(self) -> None:
        """A batch."""
        for number in range(self._n, self._n + _BATCH):
            with self._claims.taken(f"{number:04d}") as claim:
                assert claim is not None
                assert claim.end("finished", "attempt-1")
        self._n += _BATCH

    def rate(self) -> float:
        """Per second."""
        return _rate(self.claim, _BATCH)


def _rate(work: Callable[[], object], n: int) -> float:
    began_s = time.perf_counter()
    work()
    return n / (time.perf_counter() - began_s)


def _together(folder: Path, n_slots: int, n_workers: int) -> dict[str, Any]:
    """All at once: who took what, and how long that took beside bare creates."""
    begin_s = time.time() + 5
    with ProcessPoolExecutor(n_workers, get_context("spawn")) as pool:
        each = [pool.submit(_work, folder / "claims", n_slots, begin_s) for _ in range(n_workers)]
        found = [future.result() for future in each]
        began_s = time.time() + 1
        bare = [pool.submit(_create, folder / f"bare-{i}", n_slots // n_workers, began_s) for i in range(n_workers)]
        bare_s = max(future.result() for future in bare)
    taken = Counter(slot for slots, _ in found for slot in slots)
    claims_s = max(seconds for _, seconds in found)
    return {
        "slots": n_slots,
        "workers": n_workers,
        "twice": sum(n > 1 for n in taken.values()),
        "by_nobody": n_slots - len(taken),
        "of_each_worker": sorted(len(slots) for slots, _ in found),
        "claims_per_s": round(n_slots / claims_s, 1),
        "bare_creates_per_s": round(n_slots // n_workers * n_workers / bare_s, 1),
        # Here each worker also looks at what all the others have, seven times for each claim of eight workers.
        "times_a_bare_create_with_looks": round(claims_s / bare_s, 2),
    }


def _work(folder: Path, n_slots: int, begin_s: float) -> tuple[list[int], float]:
    """The slots that one worker took, and for how long it went on."""
    from llenergymeasure.orchestration.studies.claiming.claims import Claims

    def left(ended: Collection[str]) -> Mapping[str, bool] | None:
        # Of a fake slot nothing else tells that it is through.
        return None if ended else {}

    taken = []
    with Claims(folder) as claims:
        time.sleep(max(0.0, begin_s - time.time()))
        began_s = time.perf_counter()
        for slot in range(n_slots):
            with claims.taken(f"{slot:04d}", left) as claim:
                if claim is not None:
                    taken.append(slot)
                    assert claim.end("finished", "attempt-1")
        return taken, time.perf_counter() - began_s


def _create(folder: Path, n: int, begin_s: float) -> float:
    creating = _Creating(folder)
    time.sleep(max(0.0, begin_s - time.time()))
    began_s = time.perf_counter()
    creating.create(n)
    return time.perf_counter() - began_s


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=30, help="how often both ways are run in turns")
    parser.add_argument("--folder", type=Path, help="on which file system; default: that of temporary files")
    parser.add_argument("--save", action="store_true", help="write the result to bench/results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    sys.exit(main())
