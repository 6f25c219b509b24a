"""Tokens per second that ``llem`` reports of an engine, over those of a bare loop of that engine's own library.

``python bench/throughput.py --engine NAME``, in the environment where the engine is installed. Both sides have a model
of their own in memory, the same weights in fp32 and the same prompts of token ids, and answer as many tokens to each,
four at a time; only the package makes rows of requests, takes times and reads sensors. They take turns.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.overhead_throughput import measuring
from bench.pairs import OF_ENGINES, judged, ratios_of
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.core.prompts.tokenise import tokenised

Prompts = Sequence[Sequence[int]]
_N_INPUT = 64


@dataclass(frozen=True, kw_only=True)
class Work:
    """Prompts of token ids, so many at a time, and new tokens of each; ``path`` is the model as the engine opens it."""

    prompts: Prompts
    n_together: int
    n_tokens: int
    path: Path

    @property
    def n_room(self) -> int:
        """Tokens of a prompt with its answer."""
        return max(map(len, self.prompts)) + self.n_tokens

    def batches(self) -> list[Prompts]:
        """The prompts, so many at a time."""
        return [self.prompts[i : i + self.n_together] for i in range(0, len(self.prompts), self.n_together)]


# Does all of the work once, and says how many tokens that gave.
Loop = Callable[[], int]


@contextmanager
def bare_pytorch(work: Work) -> Iterator[Loop]:
    """``generate`` of transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(work.path, dtype=torch.float32, trust_remote_code=False)
    model: Any = loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()  # type: ignore[arg-type]
    # No end token: each answer has all its tokens.
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0

    def loop() -> int:
        n_tokens = 0
        with torch.inference_mode():
            for batch in work.batches():
                ids = torch.tensor([list(ids) for ids in batch], device=model.device)
                mask = torch.ones_like(ids)
                made = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=work.n_tokens)
                n_tokens += made[:, ids.shape[1] :].numel()
        return n_tokens

    yield loop


@contextmanager
def bare_vllm(work: Work) -> Iterator[Loop]:
    """``LLM.generate`` of vLLM, its engine in a process of its own."""
    import vllm

    llm = vllm.LLM(
        model=str(work.path),
        dtype="float32",
        skip_tokenizer_init=True,
        enable_prefix_caching=False,
        **_vllm_section(work.n_together, work.n_room),
    )
    sampling = vllm.SamplingParams(temperature=0.0, max_tokens=work.n_tokens, ignore_eos=True, detokenize=False)
    prompts = [vllm.TokensPrompt(prompt_token_ids=list(ids)) for ids in work.prompts]

    def loop() -> int:
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    try:
        yield loop
    finally:
        llm.llm_engine.engine_core.shutdown()


@contextmanager
def bare_llamacpp(work: Work) -> Iterator[Loop]:
    """Completions of xllamacpp's server, a thread for each slot."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(work.path)
    params.n_parallel, params.n_ctx = work.n_together, work.n_together * work.n_room
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.cache_prompt, params.cache_ram_mib, params.cache_idle_slots = False, 0, False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    of_all = {"n_predict": work.n_tokens, "samplers": ["top_k"], "top_k": 1, "ignore_eos": True, "cache_prompt": False}

    def answer(ids: Sequence[int]) -> int:
        return int(server.handle_completions({"prompt": list(ids), **of_all})["usage"]["completion_tokens"])

    def loop() -> int:
        with ThreadPoolExecutor(work.n_together) as threads:
            return sum(threads.map(answer, work.prompts))

    yield loop


@contextmanager
def bare_onnxruntime(work: Work) -> Iterator[Loop]:
    """The loop over a ``Generator`` of ONNX Runtime GenAI; prompts are equally long, so nothing is filled up."""
    import numpy
    import onnxruntime_genai

    opened = onnxruntime_genai.Config(str(work.path))
    opened.clear_providers()
    model = onnxruntime_genai.Model(opened)

    def loop() -> int:
        n_tokens = 0
        for batch in work.batches():
            params = onnxruntime_genai.GeneratorParams(model)
            # As many tokens as the length allows: it would end at the model's end token before the least length.
            sizes = {"max_length": work.n_room, "min_length": work.n_room}
            params.set_search_options(batch_size=len(batch), do_sample=False, **sizes)
            generator = onnxruntime_genai.Generator(model, params)
            generator.append_tokens(numpy.array([list(ids) for ids in batch], dtype=numpy.int32))
            while not generator.is_done():
                generator.generate_next_token()
                n_tokens += len(generator.get_next_tokens())
        return n_tokens

    yield loop


@contextmanager
def bare_ctranslate2(work: Work) -> Iterator[Loop]:
    """``Generator.generate_batch`` of CTranslate2, which is given tokens by their names in its vocabulary."""
    import json

    import ctranslate2

    generator = ctranslate2.Generator(str(work.path), compute_type="float32")
    names = json.loads((work.path / "vocabulary.json").read_text("utf-8"))
    batches = [[[names[token] for token in ids] for ids in batch] for batch in work.batches()]
    settings = {"max_length": work.n_tokens, "sampling_topk": 1, "end_token": [], "include_prompt_in_result": False}

    def loop() -> int:
        found = (answer for batch in batches for answer in generator.generate_batch(batch, **settings))
        return sum(len(answer.sequences_ids[0]) for answer in found)

    yield loop


BARE = {
    "pytorch": bare_pytorch,
    "vllm": bare_vllm,
    "llamacpp": bare_llamacpp,
    "onnxruntime": bare_onnxruntime,
    "ctranslate2": bare_ctranslate2,
}


def _vllm_section(n_together: int, n_room: int) -> dict[str, Any]:
    return {
        "max_num_seqs": n_together,
        "max_model_len": n_room,
        "enforce_eager": True,
        "kv_cache_memory_bytes": 1 << 28,
    }


def _sections(n_together: int, n_room: int) -> dict[str, dict[str, Any]]:
    """How each engine is set by the package, as the loops set it."""
    return {
        "vllm": _vllm_section(n_together, n_room),
        "llamacpp": {
            "dequantize": True,
            "n_parallel": n_together,
            "n_ctx": n_together * n_room,
            "cache_type_k": "f32",
            "cache_type_v": "f32",
        },
        **{name: {"batch_size": n_together} for name in ("pytorch", "onnxruntime", "ctranslate2")},
    }


def experiment(engine: str, args: argparse.Namespace) -> ExperimentConfig:
    """What the package measures."""
    sections = _sections(args.batch_size, _N_INPUT + args.max_output_tokens)
    return ExperimentConfig.model_validate(
        {
            "model": args.model,
            "backend": engine,
            "precision": "fp32",
            "n": args.n,
            "dataset": "random",
            "max_input_tokens": _N_INPUT,
            "max_output_tokens": args.max_output_tokens,
            "warmup": {"enabled": False, "thermal_floor_seconds": 30},
            "baseline": {"enabled": False},
            engine: sections[engine],
        }
    )


def work_of(config: ExperimentConfig, n_together: int) -> Work:
    """What the bare loop is given: the package's prompts, and the files that its engine opens."""
    engine: Any = get_backend(config.backend)
    prepared = tokenised(config, select_prompts(config).prompts, engine.checkpoint(config))
    return Work(
        prompts=[request.token_ids for request in prepared.requests],
        n_together=n_together,
        n_tokens=config.max_output_tokens,
        path=_opened(config, engine),
    )


def _opened(config: ExperimentConfig, engine: Any) -> Path:
    if config.backend == "llamacpp":
        from llenergymeasure.core.backends.llamacpp.opened import opened

        return opened(config).path
    if config.backend == "pytorch":
        from llenergymeasure.core.checkpoint.source import resolve_model

        return Path(resolve_model(config.model).location)
    return Path(engine.origin_of(config).opened)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The ratios, and whether both sides counted the same tokens."""
    config = experiment(args.engine, args)
    work = work_of(config, args.batch_size)
    with measuring(config) as (model, measured), BARE[args.engine](work) as loop:
        counted, reported = loop(), measured().counts.output_tokens

        def theirs() -> float:
            start = time.perf_counter()
            return loop() / (time.perf_counter() - start)

        def ours() -> float:
            raw = measured()
            return raw.counts.output_tokens / raw.duration_sec

        found = judged(ratios_of(ours, theirs, args.pairs), OF_ENGINES)
        version = model.describe().engine_version
    return {
        "what": "output tokens per second that the package reports / bare loop of the engine's own library",
        "engine": args.engine,
        "engine_version": version,
        "model": args.model,
        "precision": "fp32",
        "requests": {"n": args.n, "together": args.batch_size, "in": _N_INPUT, "out": args.max_output_tokens},
        "output_tokens": {"package": reported, "by hand": counted},
        **found,
        "kept": found["kept"] and reported == counted,
    }
