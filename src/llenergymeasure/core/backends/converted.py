"""What engines share that run a transformers checkpoint in a format of their own, batch by batch.

Such an engine writes how it converts, how it opens what it has converted, and how it generates a batch.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure.config.engines.from_checkpoint import FromCheckpoint
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import CheckpointEngine, CheckpointModel, Origin
from llenergymeasure.core.backends.known_errors import is_out_of_memory, out_of_memory
from llenergymeasure.core.backends.outputs import answered, failed
from llenergymeasure.core.checkpoint.identity import Files
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError, first_line


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The tokens of one request, up to and with its end token, and when each was there in monotonic seconds."""

    token_ids: Sequence[int]
    times_s: Sequence[float]


class ConvertedModel(CheckpointModel):
    """A model in an engine's own format; ``generate`` and ``describe`` are still to be written."""

    def __init__(self, origin: Origin, *, on_cpu: bool) -> None:
        super().__init__(origin)
        self._counts_peak = on_cpu and reset_resident_peak()

    @abstractmethod
    def generate(self, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> Sequence[Answer]:
        """Answer [n] prompts of token ids together, each with at most its own number of tokens."""

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
            if is_out_of_memory(error):
                raise ExperimentError(out_of_memory(error, len(batch))) from error
            reason = first_line(error)
        end_s, given = time.monotonic(), iter(answers)
        return [
            self._output(request, next(given), sent_s)
            if why is None and reason is None
            else failed(request, why or reason or "", sent_s=sent_s, end_s=end_s)
            for request, why in zip(batch, refused, strict=True)
        ]

    def refusal(self, request: Request, n_widest: int) -> str | None:  # noqa: ARG002 - for engines that pad
        """Why a request cannot be run, whatever runs beside it; None where it can.

        Args:
            request: one of a batch.
            n_widest: tokens of the longest prompt in it.
        """
        return self.unanswerable(request)

    def _output(self, request: Request, answer: Answer, sent_s: float) -> RequestOutput:
        ids = answer.token_ids
        ended = bool(ids) and ids[-1] in self._origin.settings.end_token_ids
        return answered(request, [ids], [answer.times_s], "stop" if ended else "length", sent_s=sent_s)

    def peak_memory_mb(self) -> float | None:
        """The process's largest resident set on a CPU; None on a GPU, whose allocator says nothing."""
        return resident_peak_mb() if self._counts_peak else None

    def dense_from(self) -> str | None:
        """The GGUF file that a packaged model's weights were made from; None where those of a folder were taken."""
        named = self._origin.config.section_of(self._origin.config.backend)
        return super().dense_from() if getattr(named, "model_path", None) is None else None


class ConvertedEngine(CheckpointEngine):
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

    def load_of(self, config: ExperimentConfig) -> Load:
        """Batches of ``batch_size``."""
        return Load.in_batches(self.settings(config).batch_size)

    def reads_weights(self, config: ExperimentConfig) -> bool:
        """Whether the model's own weights are read, and not those of a folder in the engine's format."""
        return self.settings(config).model_path is None

    def opens_checkpoint(self, config: ExperimentConfig) -> bool:
        """Not where a folder in the engine's own format was named."""
        return self.reads_weights(config)

    def instead_of_weights(self, config: ExperimentConfig) -> str:  # noqa: ARG002 - the same for all
        """A folder that is converted already."""
        return f"; add them, or set {self.name}.model_path"

    def not_offered(self, config: ExperimentConfig) -> Iterator[str]:
        """Adapters, parameters of others, and folders that are given as what they are not."""
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
        else:
            yield from super().not_offered(config)
        named = self.settings(config).model_path
        missing = [] if named is None else [name for name in self.needed_files if not (named / name).is_file()]
        if missing:
            yield f"{self.name}.model_path: there is no {' and no '.join(missing)} in {named}"

    def origin_of(self, config: ExperimentConfig) -> Origin:
        """The checkpoint, and its conversion, which is made where there is none yet."""
        settings = self.settings(config)
        if self.reads_weights(config):
            origin = super().origin_of(config)
            converted = self.convert(config, origin.folder, origin.files or {}, origin.description)
            return replace(origin, opened=converted)
        source = describe_source(config.model)
        description, own = self.read(config, source)
        folder = settings.model_path
        return Origin(
            config=config,
            source=source,
            folder=folder,
            files={path.name: path for path in sorted(folder.glob(self.weights_pattern))},
            description=description,
            settings=own,
            opened=folder,
        )
