"""vLLM's side of ``load_generator.py``: ``vllm bench serve`` at the same server, what it takes to send and receive."""

import argparse
import contextlib
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Send, and print what it took, without imports, making prompts and working out figures."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", required=True)
    parser.add_argument("--n", required=True)
    parser.add_argument("--tokenizer", required=True)
    args = parser.parse_args()
    from vllm.benchmarks import serve

    spent = {"sending": 0.0, "figures": 0.0}
    sends, figures = serve.benchmark, serve.calculate_metrics

    async def timed(*given: Any, **named: Any) -> Any:
        began_s = time.process_time()
        result = await sends(*given, **named)
        spent["sending"] += time.process_time() - began_s
        return result

    def apart(*given: Any, **named: Any) -> Any:
        began_s = time.process_time()
        result = figures(*given, **named)
        spent["figures"] += time.process_time() - began_s
        return result

    serve.benchmark, serve.calculate_metrics = timed, apart
    theirs = argparse.ArgumentParser()
    serve.add_cli_args(theirs)
    words = [
        "--backend", "openai", "--base-url", args.url, "--endpoint", "/v1/completions", "--model", "fake",
        "--tokenizer", args.tokenizer, "--dataset-name", "random", "--random-input-len", "32", "--random-output-len",
        "16", "--num-prompts", args.n, "--request-rate", args.rate, "--burstiness", "1000000", "--ignore-eos",
        "--disable-tqdm",
    ]  # fmt: skip
    with contextlib.redirect_stdout(sys.stderr):
        result = serve.main(theirs.parse_args(words))
    n_chunks = 16 * int(args.n) if result is None else int(result["total_output_tokens"])
    print(json.dumps({"cpu_s": spent["sending"] - spent["figures"], "n_chunks": n_chunks}))


if __name__ == "__main__":
    main()
