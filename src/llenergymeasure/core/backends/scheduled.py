"""What engines and models share that have a scheduler, a cache of prompts and drafts of their own."""

import hashlib
import importlib
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import CheckpointEngine, CheckpointModel, Origin
from llenergymeasure.core.backends.in_flight import Counts
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, contained, first_line

_FORMATS: dict[str, NumberFormat] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}


class HasPenalties(Protocol):
    """A section of an engine with penalties; None where they were not written."""

    presence_penalty: float | None
    frequency_penalty: float | None


def seed_of(random_seed: int, index: int) -> int:
    """A request's own seed, 56 bits and far from those of others: engines count up from it for further answers."""
    return int.from_bytes(hashlib.sha256(f"{random_seed}/{index}".encode()).digest()[:7])


def sampling_told(
    config: ExperimentConfig, section: HasPenalties, settings: OwnSettings, drawing: Mapping[str, Any]
) -> dict[str, Any]:
    """What engines are told of sampling by the same names: penalties that were written, end tokens, how to draw.

    Args:
        config: the experiment.
        section: the engine's own.
        settings: how the model decodes, and which tokens end an answer.
        drawing: what is told by a name or a value of the engine's own where tokens are drawn.
    """
    decoder = config.decoder
    written = {
        "repetition_penalty": decoder.repetition_penalty,
        "presence_penalty": section.presence_penalty,
        "frequency_penalty": section.frequency_penalty,
    }
    drawn = {"temperature": settings.temperature, "top_p": settings.top_p, "min_p": decoder.min_p or 0.0, **drawing}
    return {
        **{name: value for name, value in written.items() if value is not None},
        "stop_token_ids": sorted(settings.end_token_ids),
        **(drawn if decoder.do_sample else {"temperature": 0.0}),
    }


class ScheduledModel(CheckpointModel):
    """A model of a checkpoint behind its engine's scheduler; ``run`` and ``describe`` are still to be written."""

    # Of the section: what turns the cache of prompts off, and what has weights drawn.
    no_prompt_cache: ClassVar[str]
    dummy_weights: ClassVar[str]

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self._random_seed = origin.config.random_seed
        self._counts = Counts()

    @abstractmethod
    def forget_prompts(self) -> None:
        """Empty the cache of prompts, where there is one."""

    @abstractmethod
    def quantization(self) -> str | None:
        """How the weights are quantised, in the engine's word; None where they are not."""

    @abstractmethod
    def drafts(self) -> bool:
        """Whether tokens are drafted, by a model or otherwise."""

    @property
    def is_random(self) -> bool:
        """Whether the weights were drawn and not read."""
        return self._origin.files is None

    def seed(self, random_seed: int) -> None:
        """Each request draws from a seed of its own, which follows from this; kept prompts are forgotten."""
        self._random_seed = random_seed
        self._counts = Counts()
        # Warm-up has read the same prompts.
        self.forget_prompts()

    def number_format(self) -> NumberFormat | None:
        """That of the weights; None for quantised ones."""
        return None if self.quantization() else _FORMATS.get(self._origin.config.precision)

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token of the requests that ended, and what they took with a cache, by the checkpoint's shape."""
        result, left_out = super().flops(output), self._left_out()
        if result is None or left_out is None:
            return result
        return replace(result, method=f"{result.method}; {left_out}", confidence="low", prefill=None, decode=None)

    def warnings(self) -> list[MeasurementWarning]:
        """Settings that were not followed, what was taken from the cache, and weights that are none."""
        found = super().warnings()
        if self._counts.n_cached:
            found.append(
                MeasurementWarning(
                    "prompt_cache_used",
                    f"{self._counts.n_cached} tokens of prompts were taken from the cache and not computed",
                    f"set {self.no_prompt_cache} to have every prompt read",
                )
            )
        return [*found, self._weights_were_drawn()] if self.is_random else found

    def described(self) -> dict[str, Any]:
        """What ``describe`` says of decoding."""
        settings, decoder = self._origin.settings, self._origin.config.decoder
        sampling = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
        return {
            "do_sample": decoder.do_sample,
            **(sampling if decoder.do_sample else dict.fromkeys(sampling)),
            "max_new_tokens": self._origin.config.max_output_tokens,
        }

    def weights(self) -> str | None:
        """How the weights were drawn; None where they were read."""
        return f"random, seed {self._origin.config.random_seed}" if self.is_random else None

    def _left_out(self) -> str | None:
        if self.drafts():
            return "drafted tokens not counted"
        return "tokens from the prompt cache counted as if they were computed" if self._counts.n_cached else None

    def _weights_were_drawn(self) -> MeasurementWarning:
        return MeasurementWarning(
            "random_weights",
            f"the weights were drawn and not read ({self.dummy_weights}), so tokens are noise: answers end by chance "
            "(set decoder.ignore_eos, or use dataset.random), experts are chosen at random, and a GPU's power depends "
            "on the values it multiplies",
            "say so wherever the figures are cited",
        )


class ScheduledEngine(CheckpointEngine):
    """An engine with such models; what it refuses, its devices and ``open`` are still to be written."""

    takes_quantised = True
    loads = frozenset({"all_at_once", "concurrency", "due_times"})
    # The module, and how variables begin that change how it computes, no key among them.
    module: ClassVar[str]
    told_variables: ClassVar[tuple[str, ...]]

    def __init__(self, library: Callable[[], Any] | None = None) -> None:
        """``library`` gives the engine's module; None imports it."""
        self._library = library or self._imported

    @abstractmethod
    def version(self) -> str | None:
        """That of the distribution; None where it is not installed."""

    def reads_weights(self, config: ExperimentConfig) -> bool:
        """Dummy weights are drawn."""
        return bool(self.settings(config).load_format != "dummy")

    def environment(self) -> dict[str, str]:
        """The version, and variables that change how the engine computes."""
        told = {name: value for name, value in os.environ.items() if name.startswith(self.told_variables)}
        return {self.module: self.version() or "unknown", **told}

    def _imported(self) -> Any:
        # It reads them when it is imported, and so do the processes that it starts.
        for name, value in self.variables.items():
            os.environ.setdefault(name, value)
        try:
            with contained():
                return importlib.import_module(self.module)
        except Exception as error:
            raise BackendError(f"{self.module} cannot be imported: {first_line(error)}; install it anew") from error
