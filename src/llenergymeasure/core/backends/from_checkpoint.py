"""What engines share that take a transformers checkpoint from a folder or the hub, and are given token ids.

Such an engine writes how it loads and generates; what the checkpoint is, what is wrong with it, its weights' digest,
its FLOPs by its shape and how it wants to be decoded are found here, without any engine.
"""

import contextlib
import gc
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.checkpoint.adapter import Adapter, read_adapter
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
from llenergymeasure.core.checkpoint.weight_problems import ADAPTER_CONFIG, stored_file_problems
from llenergymeasure.core.flops import described_flops
from llenergymeasure.domain.inference import InferenceOutput, ModelIdentity, Request
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError, LLEMError, first_line


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model is made of: the checkpoint ``folder`` and its ``files`` of weights, as an experiment names them.

    ``files`` is None where the weights are drawn and not read. ``opened`` is the folder that the engine is told to
    open, and ``settings`` how the model decodes in this experiment. ``adapter`` is what runs beside the weights.
    """

    config: ExperimentConfig
    source: ModelSource
    folder: Path
    files: Files | None
    description: Any
    settings: OwnSettings
    opened: Path
    adapter: Adapter | None = None

    @property
    def n_tokens_known(self) -> int:
        """Token ids that the model has."""
        return int(self.description.get_text_config().vocab_size)


def quantised_already(engine: str, model: str, description: Any) -> Iterator[str]:
    """That a checkpoint is quantised, which an engine would not see."""
    stored = getattr(description, "quantization_config", None)
    if stored is not None:
        method = stored.get("quant_method") if isinstance(stored, dict) else None
        yield (
            f"model {model!r} is quantised already ({method or 'its config.json has quantization_config'}), "
            f"and the {engine} engine would take it for a dense one; give the dense model"
        )


def adapter_beside(engine: str, model: str, folder: Path) -> Iterator[str]:
    """That a folder has an adapter, which transformers would apply without being asked."""
    if (folder / ADAPTER_CONFIG).is_file():
        yield (
            f"model {model!r} has an adapter (adapter_config.json), and the {engine} engine has none; "
            "merge it into the weights, or remove that file"
        )


class CheckpointModel(LoadedModelBase):
    """A model of a checkpoint; ``run`` and ``describe`` are still to be written."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    @abstractmethod
    def number_format(self) -> NumberFormat | None:
        """What matrices are multiplied in; None where that is none that is counted."""

    @abstractmethod
    def release(self) -> None:
        """Let go of the weights; the model is of no use after this."""

    def unanswerable(self, request: Request) -> str | None:
        """Why a request is none that the model could be given, whatever the engine; None where it is one."""
        largest, n_known = max(request.token_ids, default=-1), self._origin.n_tokens_known
        if largest < 0:
            return "the prompt has no tokens"
        return None if largest < n_known else f"token {largest} of the prompt is none of the model's {n_known}"

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token of the requests that ended, and what they took with a cache, by the checkpoint's shape."""
        sequences = [(r.input_tokens, n) for r in output.requests if r.succeeded for n in r.answer_lengths]
        architecture, adapter = skeleton(self._origin.description), self._origin.adapter
        if architecture is None:
            return None
        beside = (0, 0) if adapter is None else adapter.weights_beside(architecture)
        result = described_flops(
            architecture, sequences, self.number_format(), scores_prompts=self.scores_prompts(), beside=beside or (0, 0)
        )
        if beside is not None:
            return result
        method = f"{result.method}; the adapter's own work not counted"
        return replace(result, method=method, confidence="low", prefill=None, decode=None)

    def scores_prompts(self) -> bool:
        """Whether the output head runs on every token of a prompt, and not on its last alone."""
        return False

    def identity(self) -> ModelIdentity:
        """Commit and digest of the checkpoint; of a folder that was named in the engine's own format, its digest."""
        origin, files, adapter = self._origin, self._origin.files, self._origin.adapter
        return identity_of(
            Parts(
                folder=lambda: origin.folder,
                weights=None if files is None else lambda _: files or {},
                adapter=None if adapter is None else lambda: adapter.folder,
            )
        )

    def warnings(self) -> list[MeasurementWarning]:
        """Settings of the model's own that were not followed."""
        return self._origin.settings.warnings()

    def n_parameters(self) -> int | None:
        """Those of the checkpoint's architecture, and of an adapter beside it."""
        architecture, adapter = skeleton(self._origin.description), self._origin.adapter
        added = 0 if adapter is None else adapter.n_parameters
        if architecture is None or added is None:
            return None
        return sum(int(p.numel()) for p in architecture.parameters()) + added

    def dense_from(self) -> str | None:
        """The GGUF file that a packaged model's weights were made from."""
        return dense_from(self._origin.config.model, self._origin.source)


class CheckpointEngine(EngineBase):
    """An engine that loads a checkpoint; ``open`` and ``own_problems`` are still to be written."""

    # Whether checkpoints that are quantised already are recognised; else they are refused.
    takes_quantised: ClassVar[bool] = False

    @abstractmethod
    def open(self, origin: Origin) -> CheckpointModel:
        """The model, in memory."""

    @abstractmethod
    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:
        """What the library cannot do here."""

    def not_offered(self, config: ExperimentConfig) -> Iterator[str]:
        """What the engine never has, told without looking at the model."""
        if config.model not in PACKAGED_MODELS and is_gguf(config.model):
            yield f"model {config.model!r} is a GGUF file; the {self.name} engine takes directories and hub models"
        elif self.reads_weights(config):
            yield from adapter_beside(self.name, config.model, Path(config.model))

    def settings(self, config: ExperimentConfig) -> Any:
        """The engine's section, with its defaults when it was left out."""
        return config.section_of(self.name) or self.section()

    def trusted(self, config: ExperimentConfig) -> bool:
        """Whether Python code that comes with the model may be run."""
        return bool(getattr(self.settings(config), "trust_remote_code", False))

    def reads_weights(self, config: ExperimentConfig) -> bool:  # noqa: ARG002 - a default
        """Whether the checkpoint's own weights are read, and neither drawn nor taken from elsewhere."""
        return True

    def opens_checkpoint(self, config: ExperimentConfig) -> bool:  # noqa: ARG002 - a default
        """Whether the folder of the checkpoint is opened, so that a packaged model's has to be made; weights or not."""
        return True

    def instead_of_weights(self, config: ExperimentConfig) -> str:  # noqa: ARG002 - a default
        """What to do where the checkpoint has no weights."""
        return "; add them"

    def checkpoint(self, config: ExperimentConfig) -> Checkpoint:
        """The files that the section's revision names."""
        return self._checkpoint_at(config, describe_source(config.model))

    def _checkpoint_at(self, config: ExperimentConfig, source: ModelSource) -> Checkpoint:
        settings = self.settings(config)
        return Checkpoint(
            source=source,
            revision=getattr(settings, "revision", None),
            trust_remote_code=self.trusted(config),
        )

    def problems(self, config: ExperimentConfig) -> list[str]:
        """A model that cannot be had or run, and what the library has not."""
        found = [*self.not_offered(config)]
        if found:
            return found
        with asked_if_it_answers(*_names_of(config)):
            description, found = described(
                config.model, model_problem(config.model), lambda: read_description(self.checkpoint(config))
            )
            if description is not None:
                found += not_to_be_measured(config.model, description, trusted=self.trusted(config))
                found += self._checkpoint_problems(config, description)
                found += self.described_problems(config, description)
        no_room = conversion_problem(config.model) if self.opens_checkpoint(config) else None
        return [*found, *([] if no_room is None else [no_room]), *self.own_problems(config)]

    def described_problems(self, config: ExperimentConfig, description: Any) -> Iterator[str]:  # noqa: ARG002 - a default
        """What the library cannot do with a model of this description, one line each."""
        yield from ()

    def _checkpoint_problems(self, config: ExperimentConfig, description: Any) -> Iterator[str]:
        quantised = [] if self.takes_quantised else [*quantised_already(self.name, config.model, description)]
        yield from quantised
        if not quantised:
            advice = self.instead_of_weights(config) if self.reads_weights(config) else None
            yield from stored_file_problems(config, description, self.checkpoint(config).revision, advice)

    @contextlib.contextmanager
    def load(self, plan: ExperimentPlan) -> Iterator[CheckpointModel]:
        """Load the model, fetched or converted if need be; on leaving, its memory is given back.

        Raises:
            BackendError: the model cannot be had or loaded.
        """
        config = plan.config
        try:
            with asked_if_it_answers(*_names_of(config)):
                model = self.open(self.origin_of(config))
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

    def read(self, config: ExperimentConfig, source: ModelSource) -> tuple[Any, OwnSettings]:
        """What the model is, as transformers describes it, and how it decodes in an experiment."""
        checkpoint = self._checkpoint_at(config, source)
        description = read_description(checkpoint)
        own = read_own_settings(checkpoint, description, do_sample=config.decoder.do_sample)
        return description, own.under(config.decoder)

    def origin_of(self, config: ExperimentConfig) -> Origin:
        """The checkpoint of an experiment, fetched where it is a hub model's.

        Raises:
            BackendError: it cannot be had, or is none for this engine.
        """
        reads, source = self.reads_weights(config), resolve_model(config.model)
        description, own = self.read(config, source)
        folder = fetched_folder(source.location, self.checkpoint(config).revision, weights=reads)
        for problem in adapter_beside(self.name, config.model, folder) if reads else ():
            raise BackendError(problem)
        return Origin(
            config=config,
            source=source,
            folder=folder,
            files=files_of(config.model, source, folder) if reads else None,
            description=description,
            settings=own,
            opened=folder,
            adapter=None if config.lora is None else read_adapter(fetched_folder(config.lora.path)),
        )


def _names_of(config: ExperimentConfig) -> tuple[str | None, ...]:
    """The model and its adapter, as the hub would know them."""
    model = None if config.model in PACKAGED_MODELS else config.model
    return model, None if config.lora is None else config.lora.path
