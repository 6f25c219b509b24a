"""Tokens per second that ``llem`` reports, over those of a loop written by hand with transformers alone.

``python bench/throughput.py``, also part of ``make bench``. The loop has a model, a tokenizer and a padding of its own
and knows nothing of the package, so it also shows whether the package counts what was produced. With ``--engine`` the
loop is one of that engine's own library (``throughput_engines.py``). Exit code 1: a promise is not kept, or the two did
not produce the same number of tokens.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OPTIMUM = Path(__file__).parent / "throughput_optimum.py"


def hand_written(location: str, texts: list[str], batch_size: int, n_tokens: int) -> Callable[[], tuple[int, float]]:
    """A function that generates for all texts, and gives output tokens and seconds.

    Args:
        location: directory or hub id of the model.
        texts: [n] prompts, chat template and all.
        batch_size: texts at once.
        n_tokens: most new tokens of each.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(location, padding_side="left", trust_remote_code=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(location, dtype=torch.bfloat16, trust_remote_code=False)
    model = model.to(device).eval()
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    batches = [
        tokenizer(texts[i : i + batch_size], return_tensors="pt", padding=True, add_special_tokens=False).to(device)
        for i in range(0, len(texts), batch_size)
    ]

    def run() -> tuple[int, float]:
        start = time.perf_counter()
        outputs = []
        with torch.inference_mode():
            for batch in batches:
                outputs.append(model.generate(**batch, do_sample=False, max_new_tokens=n_tokens))
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        produced = 0
        for batch, output in zip(batches, outputs, strict=True):
            for row in output[:, batch["input_ids"].shape[1] :].tolist():
                found = [i for i, token in enumerate(row) if token in ends]
                produced += found[0] + 1 if found else len(row)
        return produced, seconds

    return run


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The ratios, and whether both sides counted the same tokens."""
    from bench.overhead_throughput import batches_of, experiment, measuring
    from bench.pairs import ALONE, judged, ratios_of
    from llenergymeasure.core.backends.pytorch import PyTorchBackend
    from llenergymeasure.core.checkpoint.source import resolve_model
    from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer

    config = experiment(args)
    with measuring(config) as (_, measured):
        tokenizer = load_tokenizer(PyTorchBackend().checkpoint(config))
        texts = [tokenizer.decode(r.token_ids) for batch in batches_of(config) for r in batch]
        by_hand = hand_written(resolve_model(args.model).location, texts, args.batch_size, args.max_output_tokens)
        counted, _ = by_hand()
        result = measured()
        same = result.counts.output_tokens == counted

        def theirs() -> float:
            n_tokens, seconds = by_hand()
            return n_tokens / seconds

        def ours() -> float:
            raw = measured()
            return raw.counts.output_tokens / raw.duration_sec

        found = judged(ratios_of(ours, theirs, args.pairs), ALONE)
    return {
        "what": "output tokens per second that the package reports / hand-written loop with a model of its own",
        "model": args.model,
        "batch_size": args.batch_size,
        "output_tokens": {"package": result.counts.output_tokens, "by hand": counted},
        **found,
        "kept": found["kept"] and same,
    }


def optimum_benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of optimum-benchmark, in turns with ours; an older transformers, so its own Python."""
    from bench.overhead_throughput import experiment, measuring
    from llenergymeasure.core.checkpoint.source import resolve_model

    fixed = {
        "dataset": {"random": {"input_tokens": 64, "output_tokens": args.max_output_tokens}},
        "n": args.batch_size,
    }
    config = type(experiment(args)).model_validate({**experiment(args).model_dump(exclude_unset=True), **fixed})
    command = [
        *(str(args.optimum_python), str(_OPTIMUM), resolve_model(args.model).location),
        *map(str, (args.batch_size, 64, args.max_output_tokens)),
    ]
    rates: dict[str, list[float]] = {"package": [], "optimum-benchmark": []}
    with measuring(config) as (_, measured):
        for _ in range(args.optimum_pairs):
            raw = measured()
            rates["package"].append(raw.counts.output_tokens / raw.duration_sec)
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rates["optimum-benchmark"].append(float(said.splitlines()[-1]))
            print({name: round(values[-1], 2) for name, values in rates.items()}, flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "what": "output tokens per second, same model and sizes; different versions of transformers, so no promise",
        "sizes": {"batch": args.batch_size, "in": 64, "out": args.max_output_tokens},
        "tokens_per_second": {name: [round(v, 2) for v in values] for name, values in rates.items()},
        "median_ratio": round(medians["package"] / medians["optimum-benchmark"], 4),
    }


def main() -> int:
    """Run, print, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    if args.engine is not None:
        return _of_engine(args)
    result: dict[str, Any] = {"bench": "throughput", "hand_written": measure(args)}
    if args.optimum_python is not None:
        result["optimum_benchmark"] = optimum_benchmark(args)
    result["machine"] = machine()
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('throughput-gpu' if result['machine']['gpus'] else 'throughput-cpu', result)}")
    return 0 if result["hand_written"]["kept"] else 1


def _of_engine(args: argparse.Namespace) -> int:
    from bench import throughput_engines
    from bench.results_file import machine, save

    if args.engine not in throughput_engines.BARE:
        raise SystemExit(
            f"--engine: {args.engine!r} has no bare loop here; those of {', '.join(throughput_engines.BARE)}"
        )
    found = throughput_engines.measure(args)
    result: dict[str, Any] = {"bench": "throughput", "bare_loop": found, "machine": machine()}
    print(json.dumps(result, indent=2))
    if args.save:
        where = "gpu" if result["machine"]["gpus"] else "cpu"
        print(f"written: {save(f'throughput-{args.engine}-{where}', result)}")
    return 0 if found["kept"] else 1


def _arguments() -> argparse.Namespace:
    from bench.pairs import add_work

    parser = argparse.ArgumentParser(description=__doc__)
    add_work(parser)
    parser.add_argument("--engine", help="put this engine beside a bare loop of its library, in fp32")
    parser.add_argument(
        "--optimum-python", type=Path, help="Python of an environment with optimum-benchmark and transformers<5"
    )
    parser.add_argument("--optimum-pairs", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write bench/results/throughput-(cpu|gpu)-<date>.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    raise SystemExit(main())
