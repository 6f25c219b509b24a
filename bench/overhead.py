"""What measuring costs: throughput of the same batches measured by the package and run by hand.

Both sides use one loaded model in one process and take turns, so that whatever else the machine does
touches both. A hand-written ``generate`` loop is the bare side; the measured side is ``run_session``
with the instruments of this machine. Run with ``make bench``; results are ratios, not times.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import scipy.stats
import torch

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch_model import PyTorchModel
from llenergymeasure.core.environment import collect_environment_snapshot
from llenergymeasure.core.gpu_info import visible_gpus
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.core.prompts import select_prompts
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.domain.plan import ExperimentPlan


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
        instruments = build_instruments(plan)
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


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % t interval of the mean log ratio of [n] pairs."""
    logs = [math.log(r) for r in ratios]
    half = float(scipy.stats.t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.fmean(logs)
    return math.exp(mean - half), math.exp(mean + half)


def main() -> None:
    """Run the pairs and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-output-tokens", type=int, default=32)
    args = parser.parse_args()
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
    low, high = interval(ratios)
    environment = collect_environment_snapshot()
    print(
        json.dumps(
            {
                "bench": "overhead",
                "what": "output tokens per second, measured by the package / hand-written generate loop",
                "n_pairs": len(ratios),
                "median_ratio": round(statistics.median(ratios), 4),
                "mean_ratio_95_interval": [round(low, 4), round(high, 4)],
                "cpu": environment.cpu_model,
                "n_cpus": environment.n_cpus,
                "gpus": [gpu.name for gpu in environment.gpus],
                "packages": environment.packages,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
