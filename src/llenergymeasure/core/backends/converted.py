"""What engines share that run a transformers checkpoint in a format of their own, batch by batch.

Such an engine writes how it converts, how it opens what it has converted, and how it generates a batch.
"""

import contextlib
import gc
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure.config.engines.from_checkpoint import FromCheckpoint
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.hub import asked_if_it_answers, fetched_folder
from llenergymeasure.core.checkpoint.identity import Files, Parts, files_of, identity_of
from llenergymeasure.core.checkpoint.own_settings import OwnSettings, read_own_settings
from llenergymeasure.core.checkpoint.readable import described, not_to_be_measured
from llenergymeasure.core.checkpoint.source import (
    PACKAGED_MODELS,
    Checkpoint,
    ModelSource,
    conversion_problem,
    dense_from,
    describe_source,
    is_gguf,
    model_problem,
    resolve_model,
)
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.core.checkpoint.weight_problems import stored_file_problems
from llenergymeasure.core.flops import described_flops
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from llenergymeasure.domain.inference import (
    FinishReason,
    InferenceOutput,
    ModelIdentity,
    Request,
    RequestOutput,
    tokens_digest,
)
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, ExperimentError, LLEMError, first_line

_log = logging.getLogger(__name__)

# CUDA's words, those of ONNX Runtime's allocators, and those of C++.
_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "bad_alloc", "bad allocation")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model is made of: the checkpoint ``folder`` and its ``files`` of weights, as an experiment names them.

    ``opened`` is the folder in the engine's own format, ``settings`` how the model decodes in this experiment.
    """

    config: ExperimentConfig
    source: ModelSource
    folder: Path
    files: Files
    description: Any
    settings: OwnSettings
    opened: Path

    @property
    def n_tokens_known(self) -> int:
        """Token ids that the model has."""
        return int(self.description.get_text_config().vocab_size)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The tokens of one request, up to and with its end token, and when each was there in monotonic seconds."""

    token_ids: Sequence[int]
    times_s: Sequence[float]


class ConvertedModel(LoadedModelBase):
    """A model in an engine's own format; ``generate`` and ``describe`` are still to be written."""

    def __init__(self, origin: Origin, *, on_cpu: bool) -> None:
        self._origin = origin
        self._counts_peak = on_cpu and reset_resident_peak()

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> Sequence[Answer]:
        """Answer [n] prompts of token ids together, each with at most its own number of tokens."""

    @abstractmethod
    def number_format(self) -> NumberFormat | None:
        """What matrices are multiplied in; None where that is none that is counted."""

    @abstractmethod
    def release(self) -> None:
        """Let go of the weights; the model is of no use after this."""

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Generate batch by batch.

        Raises:
            ExperimentError: memory ran out.
        """
        for batch in load.units_of(requests):
            if load.cancelled():
                return
            for output in self._answered(batch):
                on_done(output)

    def _answered(self, batch: Sequence[Request]) -> list[RequestOutput]:
        """What a batch gave; where the library refuses it, each of its requests has failed."""
        sent_s = time.monotonic()
        alone = [self.refusal(request, len(request.token_ids)) for request in batch]
        # Those that fit by themselves; one that does not is not run, and makes none wider.
        n_widest = max((len(r.token_ids) for r, why in zip(batch, alone, strict=True) if why is None), default=0)
        refused = [why or self.refusal(request, n_widest) for request, why in zip(batch, alone, strict=True)]
        fine = [request for request, why in zip(batch, refused, strict=True) if why is None]
        reason, answers = None, list[Answer]()
        try:
            if fine:
                prompts, limits = [r.token_ids for r in fine], [r.max_output_tokens for r in fine]
                answers = list(self.generate(prompts, limits))
        except (MemoryError, RuntimeError, ValueError, TypeError) as error:
            if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                raise ExperimentError(
                    f"out of memory at batch size {len(batch)}: {first_line(error)}; lower batch_size or the token "
                    "limits"
                ) from error
            reason = first_line(error)
        end_s, given = time.monotonic(), iter(answers)
        return [
            self._output(request, next(given), sent_s)
            if why is None and reason is None
            else _failed(request, why or reason or "", (sent_s, end_s))
            for request, why in zip(batch, refused, strict=True)
        ]

    def refusal(self, request: Request, n_widest: int) -> str | None:  # noqa: ARG002 - for engines that pad
        """Why a request cannot be run, whatever runs beside it; None where it can.

        Args:
            request: one of a batch.
            n_widest: tokens of the longest prompt in it.
        """
        largest, n_known = max(request.token_ids, default=-1), self._origin.n_tokens_known
        if largest < 0:
            return "the prompt has no tokens"
        return None if largest < n_known else f"token {largest} of the prompt is none of the model's {n_known}"

    def _output(self, request: Request, answer: Answer, sent_s: float) -> RequestOutput:
        ids, times_s = tuple(answer.token_ids), tuple(answer.times_s)
        finish: FinishReason = "stop" if ids and ids[-1] in self._origin.settings.end_token_ids else "length"
        return RequestOutput(
            index=request.index,
            input_tokens=len(request.token_ids),
            output_tokens=len(ids),
            sent_s=sent_s,
            first_token_s=times_s[0] if times_s else None,
            token_times_s=times_s,
            end_s=times_s[-1] if times_s else time.monotonic(),
            finish_reason=finish,
            output_digest=tokens_digest(ids),
            input_digest=tokens_digest(request.token_ids),
            output_ids=(ids,),
        )

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token of the requests that ended, and what they took with a cache, by the checkpoint's shape."""
        sequences = [(r.input_tokens, r.output_tokens) for r in output.requests if r.succeeded]
        return described_flops(
            self._origin.description, sequences, self.number_format(), scores_prompts=self.scores_prompts()
        )

    def scores_prompts(self) -> bool:
        """Whether the output head runs on every token of a prompt, and not on its last alone."""
        return False

    def peak_memory_mb(self) -> float | None:
        """The process's largest resident set on a CPU; None on a GPU, whose allocator says nothing."""
        return resident_peak_mb() if self._counts_peak else None

    def identity(self) -> ModelIdentity:
        """Commit and digest of the checkpoint; of a folder that was named in the engine's own format, its digest."""
        origin = self._origin
        return identity_of(Parts(folder=lambda: origin.folder, weights=lambda _: origin.files))

    def warnings(self) -> list[MeasurementWarning]:
        """Settings of the model's own that were not followed."""
        return self._origin.settings.warnings()

    def n_parameters(self) -> int | None:
        """Those of the checkpoint's architecture."""
        architecture = skeleton(self._origin.description)
        return None if architecture is None else sum(int(p.numel()) for p in architecture.parameters())

    def dense_from(self) -> str | None:
        """The GGUF file that a packaged model's weights were made from."""
        named = self._origin.config.section_of(self._origin.config.backend)
        converted = getattr(named, "model_path", None) is None
        return dense_from(self._origin.config.model, self._origin.source) if converted else None


def _failed(request: Request, why: str, times_s: tuple[float, float]) -> RequestOutput:
    return RequestOutput(
        index=request.index,
        input_tokens=len(request.token_ids),
        output_tokens=0,
        finish_reason="error",
        output_digest=tokens_digest(()),
        sent_s=times_s[0],
        end_s=times_s[1],
        error=why,
    )


class ConvertedEngine(EngineBase):
    """An engine that converts a checkpoint once; ``convert``, ``open`` and which files it has are still to be written.

    Memory is not estimated before: these libraries do not say what they hold beside the weights.
    """

    section: ClassVar[type[FromCheckpoint]] = FromCheckpoint
    loads = frozenset({"batches"})
    # What a folder in the engine's own format has, and which of its files hold weights.
    needed_files: ClassVar[tuple[str, ...]] = ()
    weights_pattern: ClassVar[str] = ""

    @abstractmethod
    def convert(self, config: ExperimentConfig, folder: Path, files: Files, description: Any) -> Path:
        """The checkpoint in the engine's own format."""

    @abstractmethod
    def made_by(self, config: ExperimentConfig) -> dict[str, str]:
        """What a conversion is known by beside the checkpoint: engine, settings, versions of all that takes part."""

    @abstractmethod
    def open(self, origin: Origin) -> ConvertedModel:
        """The converted model, in memory."""

    @abstractmethod
    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What the library cannot do here."""

    def settings(self, config: ExperimentConfig) -> Any:
        """The engine's section, with its defaults when it was left out."""
        return config.section_of(self.name) or self.section()

    def load_of(self, config: ExperimentConfig) -> Load:
        """Batches of ``batch_size``."""
        return Load.in_batches(self.settings(config).batch_size)

    def checkpoint(self, config: ExperimentConfig) -> Checkpoint:
        """The files that the section's revision names."""
        return Checkpoint(source=describe_source(config.model), revision=self.settings(config).revision)

    def problems(self, config: ExperimentConfig) -> list[str]:
        """A model that cannot be had or converted, and what the library has not."""
        found = [*self._not_offered(config)]
        if found:
            return found
        with asked_if_it_answers(None if config.model in PACKAGED_MODELS else config.model):
            description, found = described(
                config.model, model_problem(config.model), lambda: read_description(self.checkpoint(config))
            )
            if description is not None:
                found += not_to_be_measured(config.model, description, trusted=False)
                found += self._checkpoint_problems(config, description)
        no_room = conversion_problem(config.model) if self._converts(config) else None
        return [*found, *([] if no_room is None else [no_room]), *self.own_problems(config)]

    def _converts(self, config: ExperimentConfig) -> bool:
        """Whether the model's own weights are read, and not those of a folder in the engine's format."""
        return self.settings(config).model_path is None

    def _checkpoint_problems(self, config: ExperimentConfig, description: Any) -> Iterator[str]:
        stored = getattr(description, "quantization_config", None)
        if stored is not None:
            method = stored.get("quant_method") if isinstance(stored, dict) else None
            yield (
                f"model {config.model!r} is quantised already ({method or 'its config.json has quantization_config'}), "
                f"and the {self.name} engine would take it for a dense one; give the dense model"
            )
            return
        advice = f"; add them, or set {self.name}.model_path" if self._converts(config) else None
        yield from stored_file_problems(config, description, self.settings(config).revision, advice)

    def _not_offered(self, config: ExperimentConfig) -> Iterator[str]:
        if config.lora is not None:
            yield f"lora: the {self.name} engine has no adapters; merge it into the model, and give that"
        for name in config.passthrough_kwargs:
            yield f"passthrough_kwargs.{name}: the {self.name} engine has no such parameter; remove it"
        own = [name for name in self.needed_files if (Path(config.model) / name).is_file()]
        if self.needed_files and len(own) == len(self.needed_files):
            yield (
                f"model {config.model!r} is in {self.name}'s own format; give it as {self.name}.model_path, and as "
                "model the checkpoint that it was made from"
            )
        elif config.model not in PACKAGED_MODELS and is_gguf(config.model):
            yield f"model {config.model!r} is a GGUF file; the {self.name} engine converts directories and hub models"
        elif self._converts(config):
            yield from self._adapter_beside(config, Path(config.model))
        named = self.settings(config).model_path
        missing = [] if named is None else [name for name in self.needed_files if not (named / name).is_file()]
        if missing:
            yield f"{self.name}.model_path: there is no {' and no '.join(missing)} in {named}"

    def _adapter_beside(self, config: ExperimentConfig, folder: Path) -> Iterator[str]:
        if (folder / "adapter_config.json").is_file():
            yield (
                f"model {config.model!r} has an adapter (adapter_config.json), and the {self.name} engine has none; "
                "merge it into the weights, or remove that file"
            )

    @contextlib.contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[ConvertedModel]:
        """Convert what is not converted yet, and load it; on leaving, its memory is given back.

        Raises:
            BackendError: the model cannot be had, converted or loaded.
        """
        config = plan.config
        try:
            with asked_if_it_answers(None if config.model in PACKAGED_MODELS else config.model):
                model = self.open(self._origin(config))
        except LLEMError:
            raise
        except Exception as error:
            raise BackendError(f"model {config.model!r} could not be loaded: {first_line(error)}") from error
        try:
            yield model
        finally:
            model.release()
            del model
            gc.collect()

    def _origin(self, config: ExperimentConfig) -> Origin:
        settings, converts = self.settings(config), self._converts(config)
        source = resolve_model(config.model) if converts else describe_source(config.model)
        checkpoint = Checkpoint(source=source, revision=settings.revision)
        description = read_description(checkpoint)
        own = read_own_settings(checkpoint, description, do_sample=config.decoder.do_sample).under(config.decoder)
        if converts:
            folder = fetched_folder(source.location, settings.revision)
            for problem in self._adapter_beside(config, folder):
                raise BackendError(problem)
            files = files_of(config.model, source, folder)
            opened = self.convert(config, folder, files, description)
        else:
            folder = opened = settings.model_path
            files = {path.name: path for path in sorted(folder.glob(self.weights_pattern))}
        return Origin(
            config=config,
            source=source,
            folder=folder,
            files=files,
            description=description,
            settings=own,
            opened=opened,
        )
