"""Throughput of the same batches measured by the package and run by hand.

Both sides use one loaded model in one process and take turns, so that whatever else the machine does
touches both. A hand-written ``generate`` loop is the bare side; the measured side is ``run_session``
with the instruments of this machine. Results are ratios, not times.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.pairs import judged, ratios_of
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.model import PyTorchModel
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.core.progress.shown import ShownProgress
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.core.prompts.tokenise import tokenised
from llenergymeasure.core.session import run_session
from llenergymeasure.domain.inference import Request
from llenergymeasure.domain.plan import ExperimentPlan, Shown
from llenergymeasure.domain.process import RawProcessResult


class LoadedEngine:
    """An engine, but for its model, which is in memory already and outlives the session."""

    def __init__(self, engine: Any, model: Any) -> None:
        self._engine, self._model = engine, model

    def __getattr__(self, name: str) -> Any:
        """As the engine answers."""
        return getattr(self._engine, name)

    def __dir__(self) -> list[str]:
        """With the engine's names: what an engine lacks is filled in, such as batches of its own."""
        return [*dir(type(self)), *dir(self._engine)]

    @contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[Any]:  # noqa: ARG002 - the seam's signature
        """The model."""
        yield self._model


def batches_of(config: ExperimentConfig) -> list[tuple[Request, ...]]:
    """The requests of an experiment in the batches in which they are run."""
    engine = PyTorchBackend()
    prepared = tokenised(config, select_prompts(config).prompts, engine.checkpoint(config))
    return engine.load_of(config).units_of(prepared.requests)


def bare_seconds(model: PyTorchModel, batches: Sequence[Sequence[Request]]) -> float:
    """Seconds of a plain loop over ``transformers``' generate."""
    inner, generation = model._model, model._generation
    start = time.perf_counter()
    for batch in batches:
        ids, mask = model._left_padded([r.token_ids for r in batch])
        with torch.inference_mode():
            inner.generate(input_ids=ids, attention_mask=mask, generation_config=generation)
    model.synchronize()
    return time.perf_counter() - start


def run(config: ExperimentConfig, n_pairs: int) -> list[float]:
    """[n_pairs] ratios of tokens per second, measured over bare.

    Decoding is greedy, so both sides produce the same tokens and the ratio is that of their times.
    """
    with measuring(config) as (model, measured):
        batches = batches_of(config)
        bare_seconds(model, batches)
        n_tokens = sum(len(batch) for batch in batches)
        return ratios_of(
            lambda: n_tokens / measured().duration_sec, lambda: n_tokens / bare_seconds(model, batches), n_pairs
        )


@contextmanager
def measuring(config: ExperimentConfig) -> Iterator[tuple[Any, Callable[[], RawProcessResult]]]:
    """A loaded model of the experiment's engine, and a function that measures the experiment with it."""
    plan, engine = ExperimentPlan.of(config), get_backend(config.backend)
    plan = replace(plan, devices=engine.select_devices(config, visible_gpus().uuids))
    # Progress is shown as on a terminal, so that its cost is in the figures.
    with (
        engine.load(plan) as model,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        ShownProgress(Shown(kind="bar"), stream=nowhere) as progress,
    ):
        # The floor would let a GPU cool down before one side and not before the other.
        instruments = replace(build_instruments(plan, progress=progress), sleep=lambda _: None)
        loaded: Any = LoadedEngine(engine, model)
        yield model, lambda: run_session(plan, loaded, instruments)


def experiment(args: argparse.Namespace) -> ExperimentConfig:
    """What both sides run."""
    return ExperimentConfig.model_validate(
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


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The ratios, their median with its interval, and whether they keep what is promised."""
    return {
        "what": "output tokens per second, measured by the package / hand-written generate loop",
        "model": args.model,
        "batch_size": args.batch_size,
        **judged(run(experiment(args), args.pairs)),
    }
