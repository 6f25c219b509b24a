"""Our side of ``load_generator.py``: requests at a constant rate through the engine that asks servers."""

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Send, and print what it took."""
    from llenergymeasure.config.models import ExperimentConfig
    from llenergymeasure.core.backends import get_backend
    from llenergymeasure.domain.inference import Request, RequestOutput
    from llenergymeasure.domain.load import Load
    from llenergymeasure.domain.plan import ExperimentPlan

    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--n", type=int, required=True)
    args = parser.parse_args()
    config = ExperimentConfig.model_validate(
        {"model": "fake", "backend": "server", "server": {"url": args.url, "send": "token_ids"},
         "max_output_tokens": 16, "decoder": {"ignore_eos": True}}
    )  # fmt: skip
    requests = [Request(index=i, token_ids=tuple(range(5, 37)), max_output_tokens=16) for i in range(args.n)]
    done: list[RequestOutput] = []
    with get_backend("server").load(ExperimentPlan.of(config)) as model:
        load = Load.at_due_times([i / args.rate for i in range(args.n)])
        cpu_s = time.process_time()
        model.run(requests, load, done.append)
        cpu_s = time.process_time() - cpu_s
    print(json.dumps({"cpu_s": cpu_s, "n_chunks": sum(output.output_tokens for output in done)}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
