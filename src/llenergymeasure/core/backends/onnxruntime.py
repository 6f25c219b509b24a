"""The ONNX Runtime GenAI engine: transformers checkpoints that its own builder has made ONNX models of, on the CPU."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from llenergymeasure._lifeline import tied
from llenergymeasure.config.engines.onnxruntime import OnnxRuntimeConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.converted import Answer, ConvertedEngine, ConvertedModel
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.checkpoint.conversions import kept_conversion, versions_of
from llenergymeasure.core.checkpoint.identity import Files
from llenergymeasure.domain.inference import ModelDescription, Request
from llenergymeasure.domain.metrics import NumberFormat
from llenergymeasure.exceptions import BackendError

_DESCRIPTION, _ENDS = "genai_config.json", "eos_token_id"
# What rows of a batch are filled up with. The end of a prompt that is such a token is taken for filling too, so it is
# one that no prompt has: ONNX counts rows of a table from the end where a number is below zero.
_FILLING = -1
# Neighbouring batches begin from seeds that are far apart.
_STRIDE, _SEEDS = 1_000_003, 2**31


def _library() -> Any:
    import onnxruntime_genai

    return onnxruntime_genai


class OnnxRuntimeBackend(ConvertedEngine):
    """Runs ONNX models through ``onnxruntime_genai`` on the CPU."""

    name = "onnxruntime"
    section = OnnxRuntimeConfig
    packages = ("onnxruntime_genai", "onnx_ir", "torch", "transformers")
    extra = "onnxruntime"
    loggers = ("onnxruntime", "transformers", "huggingface_hub", "torch")
    variables: ClassVar[Mapping[str, str]] = {"TRANSFORMERS_VERBOSITY": "error"}
    needed_files = ("model.onnx", _DESCRIPTION)
    weights_pattern = "model.onnx*"

    def __init__(self, library: Callable[[], Any] = _library) -> None:
        self._library = library

    def own_problems(self, config: ExperimentConfig) -> Iterator[str]:  # noqa: ARG002 - the base class's signature
        """None: the section holds what this package of ONNX Runtime has."""
        yield from ()

    def select_devices(self, config: ExperimentConfig, visible: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """None: it runs on the CPU."""
        return ()

    def environment(self) -> dict[str, str]:
        """Variables that change how ONNX Runtime computes."""
        return {name: value for name, value in os.environ.items() if name == "OMP_NUM_THREADS" or name[:4] == "ORT_"}

    def convert(self, config: ExperimentConfig, folder: Path, files: Files, description: Any) -> Path:  # noqa: ARG002
        """In fp32, or with weights as ``quantization`` says."""
        how = self.made_by(config)
        return kept_conversion(config.model, folder, files, how, lambda target: _build(folder, target, how["weights"]))

    def made_by(self, config: ExperimentConfig) -> dict[str, str]:
        """The builder, what it reads and writes with, and the format of the weights."""
        weights = self.settings(config).quantization or config.precision
        own = {"engine": self.name, "onnxruntime-genai": str(self._library().__version__), "weights": weights}
        return own | versions_of("transformers", "torch", "onnx_ir", "onnxruntime")

    def open(self, origin: Origin) -> "OnnxRuntimeModel":
        """The model in memory.

        Raises:
            BackendError: it has fewer tokens than the checkpoint, or does not run on the CPU.
        """
        return OnnxRuntimeModel(origin, self._library())


class OnnxRuntimeModel(ConvertedModel):
    """An ``onnxruntime_genai.Model``, stepped token by token."""

    def __init__(self, origin: Origin, library: Any) -> None:
        self._section = origin.config.onnxruntime or OnnxRuntimeConfig()
        self._library = library
        self._seed, self._n_batches = origin.config.random_seed, 0
        self._n_context = _n_context(origin)
        self._model = self._opened(origin)
        super().__init__(origin, on_cpu=True)

    def _opened(self, origin: Origin) -> Any:
        threads = ("intra_op_num_threads", "inter_op_num_threads")
        session = {name: value for name in threads if (value := getattr(self._section, name, None)) is not None}
        config = self._library.Config(str(origin.opened))
        # The library has to have an end token: where none is to end an answer, the last one of all.
        first, *others = sorted(origin.settings.end_token_ids) or [origin.n_tokens_known - 1]
        # A number takes the place of what the file has, and a list is added to it.
        over = {_ENDS: first, "pad_token_id": _FILLING, "decoder": {"session_options": session}}
        config.overlay(json.dumps({"model": over}))
        config.overlay(json.dumps({"model": {_ENDS: others}}))
        # A folder that was built for a GPU names it, and would run where no energy is measured.
        config.clear_providers()
        model = self._library.Model(config)
        if str(model.device_type).upper() != "CPU":
            raise BackendError(
                f"{origin.opened} runs on {model.device_type}, and this engine measures models on the CPU; build it "
                "for the CPU (-e cpu)"
            )
        return model

    def refusal(self, request: Request, n_widest: int) -> str | None:
        """Beside unknown tokens: what the model has no room for."""
        n_new = request.max_output_tokens
        if n_widest + n_new > self._n_context:
            return (
                f"a batch of prompts of up to {n_widest} tokens and {n_new} new ones are more than the "
                f"{self._n_context} that the model has room for"
            )
        return super().refusal(request, n_widest)

    def generate(self, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[Answer]:
        """Step by step until each row has met its end token or its limit.

        Prompts are filled up on the right: filled up on the left, rows of other lengths read the filling.
        """
        import numpy

        n_widest = max(map(len, prompts))
        rows = [list(ids) + [_FILLING] * (n_widest - len(ids)) for ids in prompts]
        generator = self._generator(len(rows), n_widest, max(limits))
        generator.append_tokens(numpy.array(rows if len(rows) > 1 else rows[0], dtype=numpy.int32))
        ids: list[list[int]] = [[] for _ in rows]
        times_s: list[list[float]] = [[] for _ in rows]
        alive, ends = set(range(len(rows))), self._origin.settings.end_token_ids
        while alive:
            generator.generate_next_token()
            tokens, time_s = generator.get_next_tokens(), time.monotonic()
            for row in sorted(alive):
                if tokens[row] == _FILLING:
                    token = ids[row][-1] if ids[row] else prompts[row][-1]
                    raise RuntimeError(f"it took token {token} for an end, which is none here")
                ids[row].append(int(tokens[row]))
                times_s[row].append(time_s)
                if ids[row][-1] in ends or len(ids[row]) >= limits[row]:
                    alive.remove(row)
        return [Answer(token_ids=row, times_s=stamps) for row, stamps in zip(ids, times_s, strict=True)]

    def _generator(self, n_rows: int, n_widest: int, n_new: int) -> Any:
        settings, decoder, n_known = self._origin.settings, self._origin.config.decoder, self._origin.n_tokens_known
        sampling = {
            "do_sample": True,
            "temperature": settings.temperature,
            # With 0 it draws, as seen, from more tokens than top_p leaves.
            "top_k": min(settings.top_k or n_known, n_known),
            "top_p": settings.top_p,
            "random_seed": (self._seed + _STRIDE * self._n_batches) % _SEEDS,
        }
        self._n_batches += 1
        parameters = self._library.GeneratorParams(self._model)
        parameters.set_search_options(
            batch_size=n_rows,
            max_length=n_widest + n_new,
            # Of prompt and answer together.
            min_length=n_widest + min(decoder.min_output_tokens, n_new) if decoder.min_output_tokens else 0,
            **(sampling if decoder.do_sample else {"do_sample": False}),
        )
        return self._library.Generator(self._model, parameters)

    def seed(self, random_seed: int) -> None:
        """Draw from this seed on; each batch has one of its own."""
        self._seed, self._n_batches = random_seed, 0

    def token_log_probs(self, token_ids: Sequence[int]) -> list[float]:
        """By one pass of the model over all tokens."""
        import numpy

        # The last token is read by nobody, and one more than the context would be refused.
        read, told = token_ids[:-1], token_ids[1:]
        logits = self._logits(read) if read else []
        if len(logits) < len(read):
            raise BackendError(
                f"{self._origin.opened} scores no token of a prompt but the last; build it without prune_lm_head"
            )
        scores = list[float]()
        # Row by row: a copy of all of them would be as large as they are.
        for row, token in zip(logits, told, strict=True):
            shifted = row.astype(numpy.float64) - float(row.max())
            scores.append(float(shifted[token] - numpy.log(numpy.exp(shifted).sum())))
        return scores

    def _logits(self, token_ids: Sequence[int]) -> Any:
        """Logits [tokens, vocabulary] of one pass over a prompt: of each token, or of the last alone."""
        import numpy

        parameters = self._library.GeneratorParams(self._model)
        parameters.set_search_options(batch_size=1, max_length=len(token_ids), do_sample=False)
        generator = self._library.Generator(self._model, parameters)
        generator.append_tokens(numpy.array(list(token_ids), dtype=numpy.int32))
        return numpy.asarray(generator.get_output("logits"))[0]

    def scores_prompts(self) -> bool:
        """As seen in a pass over two tokens: models are built either way."""
        prompt = [0, 0]
        return len(self._logits(prompt)) == len(prompt)

    def number_format(self) -> NumberFormat | None:
        """fp32; None where weights are quantised and multiplied as integers, and for a folder that may hold such."""
        return "fp32" if self._section.quantization is None and self._section.model_path is None else None

    def release(self) -> None:
        """Let go of the weights; the model is of no use after this."""
        self._model = None

    def describe(self) -> ModelDescription:
        """Versions and settings as ONNX Runtime was given them."""
        settings, decoder, section = self._origin.settings, self._origin.config.decoder, self._section
        sampling = {"temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p}
        version = versions_of("onnxruntime").get("onnxruntime", "unknown")
        return ModelDescription(
            engine="onnxruntime",
            engine_version=f"onnxruntime-genai {self._library.__version__}, onnxruntime {version}",
            n_parameters=self.n_parameters(),
            parameters={
                "architecture": str(self._model.type),
                "device": str(self._model.device_type),
                "intra_op_num_threads": section.intra_op_num_threads,
                "inter_op_num_threads": section.inter_op_num_threads,
                "do_sample": decoder.do_sample,
                **(sampling if decoder.do_sample else dict.fromkeys(sampling)),
                "max_new_tokens": self._origin.config.max_output_tokens,
            },
            batch_size=section.batch_size,
            dense_from=self.dense_from(),
            quantization=section.quantization,
        )


def _n_context(origin: Origin) -> int:
    """Tokens that the built model has room for.

    Raises:
        BackendError: its description cannot be read, or is of another model.
    """
    path = origin.opened / _DESCRIPTION
    try:
        described = json.loads(path.read_text("utf-8"))["model"]
        n_tokens, n_context = int(described["vocab_size"]), int(described["context_length"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{path} cannot be read ({type(error).__name__}: {error})") from error
    if n_tokens < origin.n_tokens_known:
        raise BackendError(
            f"{path} is of a model with {n_tokens} tokens, and model {origin.config.model!r} has "
            f"{origin.n_tokens_known}; name the model that the folder was made from"
        )
    return n_context


def _build(folder: Path, target: Path, weights: str) -> None:
    """By the library's own builder, in a process of its own: it takes modules by names that others may have.

    How long that takes depends on the model; it does not outlive this process.

    Raises:
        RuntimeError: it failed, with the last line of what it said.
    """
    given = ["-m", str(folder), "-o", str(target), "-p", weights, "-e", "cpu", "-c", str(target / "cache")]
    command = [sys.executable, "-P", *tied("onnxruntime_genai.models.builder", *given)]
    done = subprocess.run(
        command,
        cwd=target.parent,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(said[-1] if said else f"its builder ended with code {done.returncode}")
