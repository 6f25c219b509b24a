"""Energy counter against integrated power on the GPUs of this machine, idle and under load, and how often each changes.

Under the last load it also reads the counter every 1, 10, 100 and 1000 ms in turn and puts the energy by each rate side
by side (``bench/read_rates.py``), with a window as the package takes it, reads every half millisecond at the edges
included: some cards' counters were reported to lose energy when they are read too often.

``python bench/counter_check.py``. Idle needs the NVIDIA driver only; prefill and decode need torch with CUDA and
transformers, and run a model of random weights. On real hardware *not yet run*; tests run the idle part on simulated
GPUs. The two readings may share one sensor, so their agreement is no proof; their disagreement is one of a fault.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

LOADS = ("idle", "prefill", "decode")
# Llama-like, 1.1e9 parameters: large enough to load one GPU.
_LAYERS, _HIDDEN, _HEADS, _VOCABULARY = 22, 2048, 16, 32_000
_PREFILL = {"batch": 16, "prompt": 1024, "new": 1}
_DECODE = {"batch": 32, "prompt": 16, "new": 256}


def main() -> int:
    """Measure every load over every window, print and perhaps write the rows."""
    from bench.results_file import machine, save
    from llenergymeasure.core.gpu.machine import visible_gpus

    args = _arguments()
    uuids = visible_gpus().uuids[: args.gpus]
    if not uuids:
        print("no NVIDIA GPU answered")
        return 2
    result: dict[str, Any] = {
        "bench": "counter_check",
        "readings": {uuid: readings(uuid, args.watch_seconds) for uuid in uuids},
        "rows": [],
    }
    for load in args.loads:
        with running(load):
            for seconds in args.seconds:
                result["rows"] += [{"load": load, "asked_s": seconds, **row} for row in windows(uuids, seconds)]
            if load == args.loads[-1]:
                result["read_rates"] = {"load": load, **rates(uuids, result["readings"], args.rate_seconds)}
    result["machine"] = machine()
    print(json.dumps(result, indent=1))
    if args.save:
        print(f"written: {save('counter-check', result)}")
    return 0


def readings(uuid: str, seconds: float) -> dict[str, Any]:
    """How often counter and power change: median seconds between two changes, and how many were seen.

    Args:
        uuid: the GPU.
        seconds: how long both are read, as often as they can be.
    """
    from llenergymeasure.core.nvidia.nvml import NvidiaDriver

    changes: dict[str, list[float]] = {"counter": [], "power": []}
    calls_s: list[float] = []
    with NvidiaDriver().opened() as nvml:
        device = nvml.device_by_uuid(uuid)
        read = {"counter": device.energy_counter_j, "power": device.power_w}
        last = {name: call() for name, call in read.items()}
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for name, call in read.items():
                before_s = time.monotonic()
                value = call()
                calls_s.append(time.monotonic() - before_s)
                if value is not None and value != last[name]:
                    changes[name].append(before_s)
                    last[name] = value
            time.sleep(0.0005)
        field = device.power_field
    found: dict[str, Any] = {"name_of_power": field, "median_call_us": statistics.median(calls_s) * 1e6}
    for name, times in changes.items():
        gaps = [b - a for a, b in pairwise(times)]
        found[f"{name}_changes_every_s"] = statistics.median(gaps) if gaps else None
        found[f"n_{name}_changes"] = len(times)
    return found


def rates(uuids: tuple[str, ...], seen: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Each GPU's counter at each rate of reading, and as the package reads it; ``seen`` is how often it changes."""
    from bench.read_rates import by_read_rate
    from llenergymeasure.core.nvidia.nvml import NvidiaDriver

    with NvidiaDriver().opened() as nvml:
        found = {
            uuid: by_read_rate(
                nvml.device_by_uuid(uuid).energy_counter_j, seen[uuid]["counter_changes_every_s"], seconds=seconds
            )
            for uuid in uuids
        }
    for row in windows(uuids, seconds):
        slowest_w = found[row["device"]]["rates"][-1]["mean_power_w"]
        own_w = row["mean_power_w"]
        apart_pct = 100 * (own_w / slowest_w - 1) if own_w is not None and slowest_w else None
        found[row["device"]]["as_the_package_reads"] = {**row, "apart_pct": apart_pct}
    return found


def windows(uuids: tuple[str, ...], seconds: float) -> Iterator[dict[str, Any]]:
    """One window: counter and integral of each GPU in joules, their bounds, and the power they come to."""
    from llenergymeasure.core.energy_backends import NVMLBackend

    backend = NVMLBackend(devices=uuids)
    tracker = backend.start_tracking()
    time.sleep(seconds)
    measured = backend.stop_tracking(tracker)
    for row in measured.devices:
        yield {
            "device": row.device,
            "duration_s": measured.duration_sec,
            "source": row.source,
            "energy_j": row.energy_j,
            "uncertainty_j": row.uncertainty_j,
            "integral_j": row.witness_j,
            "apart_pct": (
                100 * (row.witness_j / row.energy_j - 1) if row.energy_j and row.witness_j is not None else None
            ),
            "mean_power_w": None if row.energy_j is None else row.energy_j / measured.duration_sec,
            "tick_s": row.update_period_s,
            "warnings": list(measured.warnings),
        }


@contextmanager
def running(load: str) -> Iterator[None]:
    """The load in a thread of its own, warm before the body and ended after it."""
    if load == "idle":
        yield
        return
    step = _generation(**(_PREFILL if load == "prefill" else _DECODE))
    step()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            step()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(2)
    try:
        yield
        if not thread.is_alive():
            raise RuntimeError(f"the load {load!r} ended before its windows did")
    finally:
        stop.set()
        thread.join()


def _generation(batch: int, prompt: int, new: int) -> Callable[[], None]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=_HIDDEN,
        intermediate_size=_HIDDEN * 11 // 4,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        max_position_embeddings=prompt + new,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).bfloat16().eval()
    ids = torch.randint(3, _VOCABULARY, (batch, prompt), device="cuda")

    def step() -> None:
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=new,
                max_new_tokens=new,
                do_sample=False,
                pad_token_id=0,
            )
        torch.cuda.synchronize()

    return step


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0, 60.0], help="lengths of the windows")
    parser.add_argument(
        "--watch-seconds", type=float, default=5.0, help="how long the readings are watched for changes"
    )
    parser.add_argument(
        "--rate-seconds", type=float, default=20.0, help="length of a window at one rate of reading; there are eight"
    )
    parser.add_argument("--gpus", type=int, default=1, help="how many of the visible ones")
    parser.add_argument("--save", action="store_true", help="write bench/results/counter-check-<date>.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    raise SystemExit(main())
