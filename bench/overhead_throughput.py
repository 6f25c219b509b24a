"""Throughput of the same batches measured by the package and run by hand.

Both sides use one loaded model in one process and take turns, so that whatever else the machine does
touches both. A hand-written ``generate`` loop is the bare side; the measured side is ``run_session``
with the instruments of this machine. Results are ratios, not times.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import scipy.stats
import torch

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch_model import PyTorchModel
from llenergymeasure.core.gpu_info import visible_gpus
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.core.prompts import select_prompts
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.domain.plan import ExperimentPlan

LEAST_PAIRS = 30
LEAST_MEDIAN = 0.99
LEAST_LIMIT = 0.98


class LoadedEngine(PyTorchBackend):
    """An engine whose model is in memory already."""

    def __init__(self, model: PyTorchModel) -> None:
        self._loaded = model

    @contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[PyTorchModel]:  # noqa: ARG002 - the seam's signature
        """The model, which outlives the session."""
        yield self._loaded


def bare_seconds(model: PyTorchModel, batches: Sequence[Sequence[Prompt]]) -> float:
    """Seconds of a plain loop over ``transformers``' generate."""
    inner, generation = model._model, model._generation
    start = time.perf_counter()
    for batch in batches:
        ids, mask = model._left_padded([p.token_ids or () for p in batch])
        with torch.inference_mode():
            inner.generate(input_ids=ids, attention_mask=mask, generation_config=generation)
    model.synchronize()
    return time.perf_counter() - start


def run(config: ExperimentConfig, n_pairs: int) -> list[float]:
    """[n_pairs] ratios of tokens per second, measured over bare; the side that goes first takes turns.

    Decoding is greedy, so both sides produce the same tokens and the ratio is that of their times.
    """
    plan = ExperimentPlan.of(config)
    plan = replace(plan, devices=PyTorchBackend().select_devices(config, visible_gpus().uuids))
    ratios = []
    with PyTorchBackend().load(plan) as model:
        batches = model.prepare(select_prompts(config).prompts)
        # The floor would let a GPU cool down before one side and not before the other.
        instruments = replace(build_instruments(plan), sleep=lambda _: None)
        engine = LoadedEngine(model)
        bare_seconds(model, batches)
        for number in range(n_pairs):
            seconds = {}
            for side in ("measured", "bare") if number % 2 else ("bare", "measured"):
                if side == "bare":
                    seconds[side] = bare_seconds(model, batches)
                else:
                    seconds[side] = run_session(plan, engine, instruments).duration_sec
            ratios.append(seconds["bare"] / seconds["measured"])
            print(f"pair {number + 1:3} of {n_pairs}: ratio {ratios[-1]:.4f}", flush=True)
    return ratios


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Interval that holds the median of the population with at least 95 %, whatever its distribution.

    Of [n] values in order, fewer than k lie below the median with probability P(Binomial(n, 1/2) < k). The k-th from
    either end is taken, for the largest k with at most 2.5 % at each: the 10th of 30. None for fewer than six values.
    """
    k = int(scipy.stats.binom.ppf(0.025, len(values), 0.5))
    if scipy.stats.binom.cdf(k, len(values), 0.5) <= 0.025:
        k += 1
    ordered = sorted(values)
    return (ordered[k - 1], ordered[-k]) if k > 0 else None


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The ratios, their median with its interval, and whether they keep what is promised."""
    config = ExperimentConfig.model_validate(
        {
            "model": args.model,
            "n": args.n,
            "max_input_tokens": 64,
            "max_output_tokens": args.max_output_tokens,
            "warmup": {"enabled": False, "thermal_floor_seconds": 30},
            "baseline": {"enabled": False},
            "pytorch": {"batch_size": args.batch_size},
        }
    )
    ratios = run(config, args.pairs)
    median, interval = statistics.median(ratios), median_interval(ratios)
    kept = len(ratios) >= LEAST_PAIRS and median >= LEAST_MEDIAN and interval is not None and interval[0] >= LEAST_LIMIT
    return {
        "what": "output tokens per second, measured by the package / hand-written generate loop",
        "promise": f"{LEAST_PAIRS} pairs or more, median at least {LEAST_MEDIAN}, and {LEAST_LIMIT} the lower end of "
        "its 95 % interval",
        "kept": kept,
        "model": args.model,
        "batch_size": args.batch_size,
        "n_pairs": len(ratios),
        "median_ratio": round(median, 4),
        "median_ratio_95_interval": None if interval is None else [round(limit, 4) for limit in interval],
        "ratios": [round(ratio, 4) for ratio in ratios],
    }
