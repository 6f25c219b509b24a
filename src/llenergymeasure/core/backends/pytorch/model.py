"""A transformers model in memory: generating, counting, timing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import LoadedModelBase
from llenergymeasure.core.backends.known_errors import is_out_of_memory, out_of_memory
from llenergymeasure.core.backends.pytorch.flops import generation_flops
from llenergymeasure.core.backends.pytorch.generation import (
    described,
    draft_settings,
    effective,
    generation_config,
    restore_draft,
    row_ends,
    section_of,
    with_length,
)
from llenergymeasure.core.backends.pytorch.log_probs import log_probs
from llenergymeasure.core.backends.pytorch.provenance import LoadedFrom
from llenergymeasure.core.backends.pytorch.seeding import seeded
from llenergymeasure.core.backends.pytorch.timing import CompileWatch, StepClock
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from llenergymeasure.domain.inference import (
    InferenceOutput,
    ModelDescription,
    ModelIdentity,
    Request,
    RequestOutput,
    tokens_digest,
)
from llenergymeasure.domain.load import Load, in_groups
from llenergymeasure.domain.metrics import FlopsResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError, first_line

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class _Times:
    """When a batch was begun, when each of its tokens was there, and when it had ended; monotonic seconds."""

    sent_s: float
    tokens_s: Sequence[float]
    end_s: float


class PyTorchModel(LoadedModelBase):
    """Implements ``LoadedModel`` over a ``PreTrainedModel``; its tokenizer says what to pad with and where to end."""

    def __init__(
        self, model: Any, tokenizer: Any, config: ExperimentConfig, draft: Any = None, *, origin: LoadedFrom
    ) -> None:
        import torch

        self._torch = torch
        self._model = model
        self._config = config
        self._draft = draft
        self._batch_size = section_of(config).batch_size
        self._compiles = CompileWatch()
        self._on_cuda = model.device.type == "cuda"
        self._origin = origin
        self._draft_settings = draft_settings(model if draft is None else draft)
        self._generation = generation_config(model, tokenizer, config)
        self._effective = effective(model, self._generation)
        self._end_ids = _end_token_ids(self._generation)
        self._counts_peak = self._on_cuda or reset_resident_peak()
        # Only those: asking another one would take memory of it for a CUDA context.
        self._cuda_indices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
        for index in self._cuda_indices:
            torch.cuda.reset_peak_memory_stats(index)

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Generate batch by batch, left-padded.

        Raises:
            ExperimentError: the engine failed, or ran out of memory.
        """
        for batch in load.units_of(requests):
            if load.cancelled():
                return
            for output in self._generate(batch):
                on_done(output)

    def _generate(self, requests: Sequence[Request]) -> list[RequestOutput]:
        sent_s = time.monotonic()
        steps = StepClock(on_cuda=self._on_cuda)
        rows = [request.token_ids for request in requests]
        limits = [request.max_output_tokens for request in requests]
        ids, mask = self._left_padded(rows)
        n_answers = self._effective.num_return_sequences
        ends = row_ends(limits, n_answers, ids.shape[1], ids.device)
        try:
            with self._torch.inference_mode():
                sequences = self._model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=with_length(self._generation, max(limits)),
                    stopping_criteria=[steps, *ends],
                    assistant_model=self._draft,
                )
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ExperimentError(_explain(error, len(rows))) from error
        produced = in_groups(sequences[:, ids.shape[1] :].tolist(), n_answers)
        times = _Times(sent_s=sent_s, tokens_s=steps.token_times(ids.shape[1]), end_s=time.monotonic())
        if self._config.decoder.num_beams > 1:
            # A beam search settles on its tokens only when it ends.
            times = replace(times, tokens_s=[])
        return [
            self._output(request, [answer[: request.max_output_tokens] for answer in answers], times)
            for request, answers in zip(requests, produced, strict=True)
        ]

    def seed(self, random_seed: int) -> None:
        """Start sampling and drafting as at first, however much was generated before."""
        seeded(random_seed)
        restore_draft(self._model if self._draft is None else self._draft, self._draft_settings)
        self._compiles.restart()

    def warnings(self) -> list[MeasurementWarning]:
        """What its weights are, which settings were left out, and compiling.

        Graphs are those that were compiled since ``seed``.
        """
        found = self._origin.warnings()
        n_graphs = self._compiles.count()
        if n_graphs:
            found.append(_about_graphs(n_graphs))
        return found

    def synchronize(self) -> None:
        """Wait for the CUDA devices in use; a CPU is never behind."""
        for index in self._cuda_indices:
            self._torch.cuda.synchronize(index)

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token over all requests of ``output``, and what was run for them; drafts and guidance are not."""
        return generation_flops(self._model, output, self._effective, section_of(self._config))

    def peak_memory_mb(self) -> float | None:
        """Most memory allocated by torch on the CUDA devices in use; on a CPU the process's largest resident set."""
        if not self._counts_peak:
            return None
        if not self._on_cuda:
            return resident_peak_mb()
        cuda = self._torch.cuda
        return sum(float(cuda.max_memory_allocated(i)) for i in self._cuda_indices) / 1e6

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By one pass of the model itself: neither drafts nor settings of decoding play a part."""
        return log_probs(self._model, token_ids)

    def release(self) -> None:
        """Let go of the weights; the model is of no use after this."""
        self._model = self._draft = None

    def describe(self) -> ModelDescription:
        """Versions, devices and the settings that transformers arrived at."""
        import transformers

        config = self._model.config
        parameters = {
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attn_implementation": getattr(config, "_attn_implementation", None),
            "device": str(self._model.device),
            "architecture": type(self._model).__name__,
            "n_threads": self._torch.get_num_threads(),
            **described(self._effective),
        }
        return ModelDescription(
            engine="pytorch",
            engine_version=f"torch {self._torch.__version__}, transformers {transformers.__version__}",
            devices=self._device_uuids(),
            n_parameters=self._n_parameters(),
            parameters=parameters,
            batch_size=self._batch_size,
            weights=self._origin.weights,
            dense_from=self._origin.dense_from,
            quantization=self._quantisation(),
            adapter=self._origin.adapter,
        )

    def identity(self) -> ModelIdentity:
        """Commit and digests of model, adapter and draft."""
        return self._origin.identity(self._model.config)

    def _n_parameters(self) -> int | None:
        if self._quantisation() is not None:
            # Packed tensors hold several weights in one number.
            dense = skeleton(self._model.config, trust_remote_code=section_of(self._config).trust_remote_code)
            return None if dense is None else _numel(dense)
        return _numel(self._model)

    def _quantisation(self) -> str | None:
        settings = getattr(self._model.config, "quantization_config", None)
        method = settings.get("quant_method") if isinstance(settings, dict) else getattr(settings, "quant_method", None)
        return None if method is None else str(getattr(method, "value", method))

    def _left_padded(self, rows: Sequence[Sequence[int]]) -> tuple["torch.Tensor", "torch.Tensor"]:
        width = max(len(row) for row in rows)
        pad = self._generation.pad_token_id
        ids = self._torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        mask = self._torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids.to(self._model.device), mask.to(self._model.device)

    def _output(self, request: Request, answers: Sequence[Sequence[int]], times: "_Times") -> RequestOutput:
        own = tuple(own_tokens(answer, self._end_ids) for answer in answers)
        stamps = tuple(times.tokens_s[: max(map(len, own))])
        return RequestOutput(
            index=request.index,
            input_tokens=len(request.token_ids),
            output_tokens=sum(map(len, own)),
            sent_s=times.sent_s,
            first_token_s=stamps[0] if stamps else None,
            token_times_s=stamps,
            end_s=stamps[-1] if stamps else times.end_s,
            finish_reason="stop" if all(ids and ids[-1] in self._end_ids for ids in own) else "length",
            output_digest=tokens_digest(*own),
            input_digest=tokens_digest(request.token_ids),
            output_ids=own,
        )

    def _device_uuids(self) -> tuple[str, ...]:
        if not self._on_cuda:
            return ()
        properties = self._torch.cuda.get_device_properties
        # torch gives the bare UUID, the driver's has a prefix.
        return tuple(f"GPU-{properties(index).uuid}" for index in self._cuda_indices)


def _about_graphs(n_graphs: int) -> MeasurementWarning:
    return MeasurementWarning(
        "compiled_in_window",
        f"torch compiled {n_graphs} graphs while measuring, because batches had shapes that warm-up had not",
        "raise warmup.n_warmup, or set pytorch.compile_dynamic: true",
    )


def _numel(model: Any) -> int:
    return sum(int(p.numel()) for p in model.parameters())


def own_tokens(tokens: Sequence[int], end_ids: frozenset[int]) -> tuple[int, ...]:
    """The tokens of one row up to and including its first end token; what follows is padding."""
    for position, token in enumerate(tokens):
        if token in end_ids:
            return tuple(tokens[: position + 1])
    return tuple(tokens)


def _end_token_ids(generation: "GenerationConfig") -> frozenset[int]:
    ids = generation.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset(ids) if isinstance(ids, list | tuple) else frozenset([ids])


def _explain(error: Exception, batch_size: int) -> str:
    return out_of_memory(error, batch_size) if is_out_of_memory(error) else f"inference failed: {first_line(error)}"
