"""A GGUF file that llama.cpp has loaded: generating, counting, telling."""

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.base import LoadedModelBase
from llenergymeasure.core.backends.llamacpp.opened import Opened
from llenergymeasure.core.backends.llamacpp.parameters import decoding, n_slots, request_body, section_of
from llenergymeasure.core.backends.llamacpp.scheduling import Counts, Run, Server
from llenergymeasure.core.backends.llamacpp.spelling import Speller
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.digest import weights_digest
from llenergymeasure.core.checkpoint.files import commit_of
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.core.flops import rule_and_shape, with_phases
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, ModelIdentity, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.model_flops import cached_flops
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import BackendError

_FORMATS: dict[str | None, NumberFormat] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}
_RESOLVED = (
    "n_parallel", "n_batch", "n_ubatch", "n_gpu_layers", "cont_batching", "kv_unified", "cache_prompt", "no_kv_offload",
)  # fmt: skip
# What is told of drawing, with the sampler that reads it.
_DRAWING = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "typical_p": "typ_p"}
_ENUMERATED = ("cache_type_k", "cache_type_v", "flash_attn_type", "split_mode", "load_mode")
# How long a cancelled request may keep its slot: the server looks once a second whether somebody still listens.
_SETTLES_S = 10.0
_LOOKS_AGAIN_S = 0.02


class LlamaCppModel(LoadedModelBase):
    """Implements ``LoadedModel`` over a server of ``xllamacpp`` in this process."""

    def __init__(self, server: Any, params: Any, config: ExperimentConfig, file: Opened) -> None:
        self._server, self._params, self._config = server, params, config
        self._file, self._header = file, file.header
        self._random_seed = config.random_seed
        self._counts = Counts()
        self._speller = Speller(file.header.vocabulary)
        self._way = Server(path=params.hostnames[0], body_of=self._body)
        self._properties = self._way.get("/props")
        # Answered by the loop of its scheduler: one that has not begun yet could not be ended, and would be waited for.
        self._way.get("/slots")
        self.devices: tuple[str, ...] = ()
        self._counts_peak = reset_resident_peak()

    def run(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve requests as the load says, at most one for each slot at a time.

        Of requests that were cancelled llama.cpp learns a little later: until it has, it computes, and that is nobody's
        but theirs. So one that was cancelled, whose window is closed, returns when no slot is at work any more.
        """
        Run(self._way, self._speller, self._counts, self.capacity()).serve(requests, load, on_done)
        ends_s = time.monotonic() + _SETTLES_S
        while load.cancelled() and time.monotonic() < ends_s and self._is_at_work():
            time.sleep(_LOOKS_AGAIN_S)

    def capacity(self) -> int:
        """Its slots."""
        return n_slots(section_of(self._config))

    def seed(self, random_seed: int) -> None:
        """Each request draws from a seed of its own, which follows from this and its index."""
        self._random_seed = random_seed
        self._counts = Counts()

    def _is_at_work(self) -> bool:
        try:
            return any(slot["is_processing"] for slot in self._way.get("/slots"))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def warnings(self) -> list[MeasurementWarning]:
        """What was taken from the cache, and answers whose tokens are not all known."""
        found, counts = [], self._counts
        if counts.n_cached:
            found.append(
                MeasurementWarning(
                    "prompt_cache_used",
                    f"{counts.n_cached} tokens of prompts were taken from the cache and not computed",
                    "set llamacpp.cache_prompt: false to have every prompt read",
                )
            )
        if counts.n_untold_requests:
            found.append(
                MeasurementWarning(
                    "tokens_untold",
                    f"llama.cpp did not tell every token of {counts.n_untold_requests} of {counts.n_requests} answers, "
                    "which end, or have tokens that end, inside of a character; they are counted and timed",
                    "digests of these answers are not those of other engines",
                )
            )
        return found

    def flops(self, output: InferenceOutput) -> FlopsResult | None:
        """2 N per token of the model's dense shape, and what was run term by term; None for an unknown architecture."""
        architecture = skeleton(read_description(self._file.checkpoint))
        if architecture is None:
            return None
        result, shape = rule_and_shape(architecture, output.input_tokens + output.output_tokens)
        on_cpu = not self.devices
        result = replace(result, number_format=_FORMATS.get(self._header.precision) if on_cpu else None)
        left_out = self._left_out()
        if left_out is not None:
            return replace(result, method=f"{result.method}; {left_out}", confidence="low")
        if shape is None:
            return result
        sequences = [(r.input_tokens, length) for r in output.requests for length in r.answer_lengths]
        return with_phases(result, [cached_flops(shape, n_read, n_said) for n_read, n_said in sequences])

    def _left_out(self) -> str | None:
        if section_of(self._config).speculative_type is not None:
            return "drafted tokens not counted"
        return "tokens from the prompt cache counted as if they were computed" if self._counts.n_cached else None

    def peak_memory_mb(self) -> float | None:
        """The process's largest resident set on a CPU; llama.cpp does not tell what it holds of a GPU."""
        return resident_peak_mb() if self._counts_peak and not self.devices else None

    def describe(self) -> ModelDescription:
        """The file, and the parameters as llama.cpp has them after loading."""
        return ModelDescription(
            engine="llamacpp",
            engine_version=engine_version(),
            devices=self.devices,
            n_parameters=self._header.n_parameters,
            parameters=self._parameters(),
            dense_from=self._file.dense_from,
            quantization=self._header.in_words if self._header.precision is None else None,
        )

    def _parameters(self) -> dict[str, Any]:
        params, defaults = self._params, self._properties["default_generation_settings"]
        chosen = {**defaults["params"], **decoding(self._config)}
        # Mirostat has a temperature and nothing else of the chain.
        chain = ("temperature",) if chosen["mirostat"] else chosen["samplers"]
        greedy = not self._config.decoder.do_sample or ("temperature" in chain and chosen["temperature"] == 0)
        used = () if greedy else chain
        return {
            "architecture": self._header.architecture,
            "n_ctx_slot": defaults["n_ctx"],
            "n_threads": params.cpuparams.n_threads,
            "n_threads_batch": params.cpuparams_batch.n_threads,
            **{name: getattr(params, name) for name in _RESOLVED},
            **{name: _word(getattr(params, name)) for name in _ENUMERATED},
            "do_sample": not greedy,
            **{name: chosen.get(name) if member in used else None for name, member in _DRAWING.items()},
            **{name: chosen.get(name) for name in ("repeat_penalty", "repeat_last_n", "mirostat", "ignore_eos")},
            "samplers": ";".join(chosen.get("samplers") or ()),
            "speculative": section_of(self._config).speculative_type,
        }

    def identity(self) -> ModelIdentity:
        """Digests of the files that were named, and of the draft's; not of what was made of them here."""
        draft = section_of(self._config).draft_model
        try:
            return ModelIdentity(
                revision=commit_of(self._file.checkpoint.folder),
                weights_digest=weights_digest(self._file.files),
                draft_digest=None if draft is None else weights_digest({draft.name: draft}),
            )
        except (OSError, RuntimeError, BackendError) as error:
            advice = "without it nobody can tell which weights these were"
            return ModelIdentity(warnings=(MeasurementWarning("weights_digest_unavailable", str(error), advice),))

    def release(self) -> None:
        """Let go of the server, which ends its threads and frees the weights."""
        self._server = None

    def _body(self, request: Request) -> dict[str, Any]:
        return request_body(self._config, request, self._random_seed)


def engine_version() -> str | None:
    """Version of the package, whose last part is llama.cpp's number of the build; None where it is not installed."""
    try:
        version = importlib.metadata.version("xllamacpp")
    except importlib.metadata.PackageNotFoundError:
        return None
    return f"xllamacpp {version}, llama.cpp b{version.rpartition('.')[2]}"


def _word(member: Any) -> str:
    """Our word for a member of an enumeration, such as f16 for GGML_TYPE_F16."""
    name = getattr(member, "name", str(member))
    known = ("GGML_TYPE_", "LLAMA_FLASH_ATTN_TYPE_", "LLAMA_SPLIT_MODE_", "LLAMA_LOAD_MODE_")
    return str(next((name.removeprefix(prefix) for prefix in known if name.startswith(prefix)), name)).lower()
