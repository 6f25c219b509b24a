"""A transformers model in memory: tokenising, generating, counting, timing."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch_flops import generation_flops
from llenergymeasure.core.backends.pytorch_generation import (
    described,
    draft_settings,
    effective,
    generation_config,
    restore_draft,
    section_of,
    with_length,
)
from llenergymeasure.core.backends.pytorch_origin import Origin
from llenergymeasure.core.backends.pytorch_stopping import row_ends
from llenergymeasure.core.backends.pytorch_timing import CompileWatch, StepClock
from llenergymeasure.core.backends.pytorch_vocabulary import drawable
from llenergymeasure.core.flops import skeleton
from llenergymeasure.core.memory import reset_resident_peak, resident_peak_mb
from llenergymeasure.core.prompts import in_groups, in_running_order
from llenergymeasure.core.random_prompts import random_token_ids
from llenergymeasure.domain.inference import (
    InferenceOutput,
    ModelDescription,
    ModelIdentity,
    Prompt,
    RequestOutput,
    tokens_digest,
)
from llenergymeasure.domain.metrics import FlopsResult
from llenergymeasure.exceptions import ExperimentError

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig


class PyTorchModel:
    """Implements ``LoadedModel`` over a ``PreTrainedModel`` and its tokenizer."""

    def __init__(
        self, model: Any, tokenizer: Any, config: ExperimentConfig, draft: Any = None, *, origin: Origin
    ) -> None:
        import torch

        self._torch = torch
        self._model = model
        self._tokenizer = tokenizer
        self._config = config
        self._draft = draft
        self._batch_size = section_of(config).batch_size
        self._compiles = CompileWatch()
        self._on_cuda = model.device.type == "cuda"
        self._origin = origin
        self._draft_settings = draft_settings(model if draft is None else draft)
        self._generation = generation_config(model, tokenizer, config)
        self._effective = effective(model, self._generation)
        self._template_use = "no prompts yet"
        self._most_tokens = 0
        self._end_ids = _end_token_ids(self._generation)
        self._counts_peak = self._on_cuda or reset_resident_peak()
        # Only those: asking another one would take memory of it for a CUDA context.
        self._cuda_indices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
        for index in self._cuda_indices:
            torch.cuda.reset_peak_memory_stats(index)

    def prepare(self, prompts: Sequence[Prompt]) -> list[tuple[Prompt, ...]]:
        """Tokenise or draw, cut to ``max_input_tokens`` (a chat keeps its end), and group into batches."""
        templated = sum(self._is_templated(p) for p in prompts)
        shares = {0: "applied to no prompt", len(prompts): "applied to every prompt"}
        self._template_use = shares.get(templated, f"applied to {templated} of {len(prompts)} prompts")
        ready = in_running_order([self._tokenise(p) for p in prompts], self._config.dataset.order)
        return in_groups(ready, self._batch_size)

    def generate(self, prompts: Sequence[Prompt]) -> InferenceOutput:
        """Generate for one batch, left-padded.

        Raises:
            ExperimentError: the engine failed, or ran out of memory.
        """
        start = time.perf_counter()
        steps = StepClock(on_cuda=self._on_cuda)
        rows = [p.token_ids or () for p in prompts]
        limits = [p.output_tokens or self._config.max_output_tokens for p in prompts]
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
        # A beam search settles on its tokens only when it ends.
        end_s = time.perf_counter() - start if self._config.decoder.num_beams > 1 else None
        times = steps.token_times(start, ids.shape[1]) if end_s is None else []
        requests = tuple(
            self._request(prompt, [answer[:limit] for answer in answers], times, end_s)
            for prompt, limit, answers in zip(prompts, limits, produced, strict=True)
        )
        self._most_tokens = max(self._most_tokens, *(r.input_tokens + max(r.answer_lengths) for r in requests))
        return InferenceOutput(requests=requests)

    def seed(self, random_seed: int) -> None:
        """Start sampling and drafting as at first, however much was generated before."""
        import transformers

        transformers.set_seed(random_seed)
        restore_draft(self._model if self._draft is None else self._draft, self._draft_settings)
        self._compiles.restart()

    def warnings(self) -> list[str]:
        """What its weights are, which settings were left out, whether it was made for so many tokens, and compiling.

        Graphs are those that were compiled since ``seed``.
        """
        found = self._origin.warnings()
        n_positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(n_positions, int) and self._most_tokens > n_positions:
            found.append(
                f"beyond_context: a request had {self._most_tokens} tokens with its answer, and the model was made for "
                f"{n_positions}; lower max_input_tokens or max_output_tokens"
            )
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
            "batch_size": self._batch_size,
            "device": str(self._model.device),
            "architecture": type(self._model).__name__,
            "chat_template": self._template_use,
            "n_threads": self._torch.get_num_threads(),
            **self._origin.described(),
            **self._quantisation(),
            **described(self._effective),
        }
        return ModelDescription(
            engine="pytorch",
            engine_version=f"torch {self._torch.__version__}, transformers {transformers.__version__}",
            devices=self._device_uuids(),
            n_parameters=self._n_parameters(),
            parameters=parameters,
        )

    def identity(self) -> ModelIdentity:
        """Commit and digests of model, adapter and draft."""
        return self._origin.identity(self._model.config)

    def _n_parameters(self) -> int | None:
        if self._quantisation():
            # Packed tensors hold several weights in one number.
            dense = skeleton(self._model.config, trust_remote_code=section_of(self._config).trust_remote_code)
            return None if dense is None else _numel(dense)
        return _numel(self._model)

    def _quantisation(self) -> dict[str, str | None]:
        settings = getattr(self._model.config, "quantization_config", None)
        method = settings.get("quant_method") if isinstance(settings, dict) else getattr(settings, "quant_method", None)
        return {} if method is None else {"quantization": str(getattr(method, "value", method))}

    def _tokenise(self, prompt: Prompt) -> Prompt:
        if prompt.n_random_tokens is not None:
            return replace(prompt, token_ids=self._drawn(prompt.index, prompt.n_random_tokens))
        if self._is_templated(prompt):
            ids = self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in prompt.messages],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            )["input_ids"]
        else:
            ids = self._tokenizer(prompt.text)["input_ids"]
        if not ids:
            # Some tokenizers turn a prompt into nothing; a model has to be given something to continue.
            bos = self._generation.bos_token_id
            ids = [self._generation.pad_token_id if bos is None else bos]
        most = self._config.max_input_tokens
        kept = tuple(ids[-most:] if prompt.chat else ids[:most])
        return replace(prompt, token_ids=kept, truncated=len(ids) > most)

    def _drawn(self, index: int, n_tokens: int) -> tuple[int, ...]:
        size, special = drawable(self._model.config, self._tokenizer, self._generation)
        return random_token_ids(n_tokens, size, special, self._config.random_seed, index)

    def _is_templated(self, prompt: Prompt) -> bool:
        return prompt.chat and bool(getattr(self._tokenizer, "chat_template", None))

    def _left_padded(self, rows: Sequence[Sequence[int]]) -> tuple["torch.Tensor", "torch.Tensor"]:
        width = max(len(row) for row in rows)
        pad = self._generation.pad_token_id
        ids = self._torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
        mask = self._torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids.to(self._model.device), mask.to(self._model.device)

    def _request(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], times: Sequence[float], end_s: float | None
    ) -> RequestOutput:
        own = tuple(own_tokens(answer, self._end_ids) for answer in answers)
        stamps = tuple(times[: max(map(len, own))])
        return RequestOutput(
            index=prompt.index,
            input_tokens=len(prompt.token_ids or ()),
            output_tokens=sum(map(len, own)),
            ttft_s=stamps[0] if stamps else None,
            e2e_s=stamps[-1] if stamps else end_s,
            finish_reason="stop" if all(ids and ids[-1] in self._end_ids for ids in own) else "length",
            output_digest=tokens_digest(*own),
            input_digest=tokens_digest(prompt.token_ids or ()),
            token_times_s=stamps,
            output_ids=own,
        )

    def _device_uuids(self) -> tuple[str, ...]:
        if not self._on_cuda:
            return ()
        properties = self._torch.cuda.get_device_properties
        # torch gives the bare UUID, the driver's has a prefix.
        return tuple(f"GPU-{properties(index).uuid}" for index in self._cuda_indices)


def _about_graphs(n_graphs: int) -> str:
    return (
        f"compiled_in_window: torch compiled {n_graphs} graphs while measuring, because batches had shapes that "
        "warm-up had not; raise warmup.n_warmup, or set pytorch.compile_dynamic: true"
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
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "out of memory" in text.lower():
        return f"out of memory at batch size {batch_size}: {text}; lower batch_size or the token limits"
    return f"inference failed: {text}"
