"""How long the package works out the energy of a long window, and what it keeps of it, by how long the window is.

``python bench/processing.py``. The readings are made up, one GPU every 10 ms; nothing waits. Exit code 1: four times
the hours take more than twice four times as long.
"""

import argparse
import json
import math
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llenergymeasure.core.gpu.energy import GpuRecord

_ROOT = Path(__file__).parent.parent
_TICK_S, _TICK_J = 0.1, 30.0
_EDGE_S = 1.0
_MOST_RATIO = 2.0


def main() -> int:
    """Run it and print it."""
    from bench.results_file import machine, save

    args = _arguments()
    rows = [_row(hours, args.interval_ms / 1000) for hours in args.hours]
    for row in rows:
        row["times_the_first"] = round(row["seconds"] / rows[0]["seconds"], 2)
        row["hours_times_the_first"] = row["hours"] / rows[0]["hours"]
    kept = all(row["times_the_first"] <= _MOST_RATIO * row["hours_times_the_first"] for row in rows)
    result = {
        "bench": "processing",
        "what": f"processor seconds from the readings of one GPU, every {args.interval_ms:g} ms, to its energy",
        "promise": f"time grows as the window does, to a factor of {_MOST_RATIO:g}",
        "kept": kept,
        "rows": rows,
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('processing', result)}")
    return 0 if kept else 1


def _row(hours: float, interval_s: float) -> dict[str, Any]:
    from llenergymeasure.core.gpu.energy import gpu_energy

    tracemalloc.start()
    record = _record(hours * 3600, interval_s)
    kept_mb = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    began_s = time.process_time()
    found = gpu_energy(record, _EDGE_S, hours * 3600 - _EDGE_S)
    seconds = time.process_time() - began_s
    print(f"{hours:g} h: {seconds:.1f} s", file=sys.stderr, flush=True)
    return {
        "hours": hours,
        "seconds": round(seconds, 2),
        "kept_mb_per_hour": round(kept_mb / hours),
        "source": found.row.source,
    }


def _record(length_s: float, interval_s: float) -> "GpuRecord":
    """300 W, with a little noise, as it is kept: a read of the counter and a sample each time."""
    from llenergymeasure.core.gpu.counter import CounterRead
    from llenergymeasure.core.gpu.energy import CardFacts, GpuRecord
    from llenergymeasure.core.gpu.power_sensor import PowerSensor
    from llenergymeasure.domain.telemetry import PowerThermalSample

    times = [n * interval_s for n in range(int(length_s / interval_s) + 1)]
    return GpuRecord(
        uuid="GPU-a",
        card=CardFacts(power_field="power", power_lag_s=0.1, power_limit_w=700.0, sensor=PowerSensor(0.1, 0.025)),
        samples=[PowerThermalSample(t + 5e-5, 300 + (n % 7) / 10, gpu_index=0) for n, t in enumerate(times)],
        counter_reads=[CounterRead(t, t + 2e-5, math.floor(t / _TICK_S) * _TICK_J) for t in times],
        interval_s=interval_s,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="default: %(default)s")
    parser.add_argument("--interval-ms", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--save", action="store_true", help="write bench/results/processing-<date>.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    raise SystemExit(main())
