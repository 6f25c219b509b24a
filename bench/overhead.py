"""What measuring costs: throughput beside a loop written by hand, processor time of the sampler and of the step hook.

``python bench/overhead.py``, also part of ``make bench``. Exit code 1: a promise is not kept.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

_PARTS = ("sampler", "hook", "throughput")


def main() -> int:
    """Run the parts, print them, write what was asked for."""
    from bench.results_file import machine, save

    args = _arguments()
    result: dict[str, Any] = {"bench": "overhead"}
    if args.only in (None, "sampler"):
        from bench import overhead_sampler

        result["sampler"] = overhead_sampler.measure(args.seconds)
    if args.only in (None, "hook"):
        from bench import overhead_hook

        result["hook"] = overhead_hook.measure(args)
    if args.only in (None, "throughput"):
        from bench import overhead_throughput

        result["throughput"] = overhead_throughput.measure(args)
    result["machine"] = machine()
    print(json.dumps(result, indent=2))
    if args.save:
        parts = ["overhead", *([args.only] if args.only else []), "gpu" if result["machine"]["gpus"] else "cpu"]
        print(f"written: {save('-'.join(parts), result)}")
    return 0 if all(result[part]["kept"] for part in _PARTS if part in result) else 1


def _arguments() -> argparse.Namespace:
    from bench.pairs import add_work

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=_PARTS, help="one part; default all")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each tool of the sampler part")
    add_work(parser)
    parser.add_argument("--save", action="store_true", help="write bench/results/overhead-[PART-](cpu|gpu)-<date>.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    raise SystemExit(main())
