"""Processor time of the hook that stamps each generation step, as a share of a step."""

import argparse
import statistics
import time
from itertools import pairwise
from typing import Any

import torch
from transformers import StoppingCriteriaList

from bench.overhead_throughput import batches_of, experiment, measuring
from llenergymeasure.core.backends.pytorch.timing import StepClock
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.load import Load

MOST_SHARE_PCT = 0.5
_N_CALLS = 2000


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Processor time of a call, the median step of a real batch, and whether the share keeps what is promised."""
    config = experiment(args)
    with measuring(config) as (model, _):
        batch = batches_of(config)[0]
        requests: list[RequestOutput] = []
        for _ in range(2):  # the first one is cold
            requests.clear()
            model.run(batch, Load.in_batches(len(batch)), requests.append)
        ids = torch.zeros((len(batch), 64), dtype=torch.long, device=model._model.device)
    step_s = statistics.median(b - a for r in requests for a, b in pairwise(r.token_times_s))
    call_s = _seconds_per_call(StepClock(on_cuda=ids.is_cuda), ids)
    share_pct = 100 * call_s / step_s
    return {
        "what": "processor time of the hook in generation, with the list that calls it / time of a step",
        "promise": f"under {MOST_SHARE_PCT} %",
        "kept": share_pct < MOST_SHARE_PCT,
        "model": args.model,
        "batch_size": args.batch_size,
        "hook_us": round(call_s * 1e6, 3),
        "step_ms": round(step_s * 1e3, 3),
        "share_pct": round(share_pct, 4),
    }


def _seconds_per_call(clock: StepClock, ids: torch.Tensor) -> float:
    """Processor time of this thread for one call in the list through which transformers calls it, in seconds.

    That list's own work is in it, which without the hook would be there for the criteria of transformers.
    """
    called: Any = StoppingCriteriaList([clock])
    called(ids, None)  # makes the answer that all calls give
    start = time.thread_time()
    for _ in range(_N_CALLS):
        called(ids, None)
    return (time.thread_time() - start) / _N_CALLS
