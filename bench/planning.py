"""How long a study file takes to become configurations, beside what validating the same configurations takes.

``python bench/planning.py``. Both in turn, the quickest of each counts. Exit code 1: it takes more than three times as
long, or four times the configurations take more than twice four times as long.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_MOST_RATIO = 3.0


def main() -> int:
    """Run it and print it."""
    from bench.large_study import MOST_GROWTH, N_PROMPTS
    from bench.results_file import machine, save

    args = _arguments()
    rows = [_row(n, args.repeats) for n in (N_PROMPTS // 4, N_PROMPTS)]
    few, many = rows
    growth = (many["planned_s"] / few["planned_s"]) / (many["configurations"] / few["configurations"])
    kept = many["times_validation"] <= _MOST_RATIO and growth <= MOST_GROWTH
    result = {
        "bench": "planning",
        "what": "processor seconds from a study file to its configurations, and to validate the same ones",
        "promise": f"at most {_MOST_RATIO:g} times validation, and linear to a factor of {MOST_GROWTH:g}",
        "kept": kept,
        "growth": round(growth, 2),
        "rows": rows,
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if args.save:
        print(f"written: {save('planning', result)}")
    return 0 if kept else 1


def _row(n: int, repeats: int) -> dict[str, Any]:
    from bench.large_study import study_file, timed
    from llenergymeasure.config.loader import load_study_config
    from llenergymeasure.config.models import ExperimentConfig

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(study_file(n), encoding="utf-8")
        planned_s = validated_s = math.inf
        given = [each.model_dump(exclude_unset=True) for each in load_study_config(path).experiments]
        for _ in range(repeats):
            planned_s = min(planned_s, timed(lambda: load_study_config(path))[0])
            validated_s = min(validated_s, timed(lambda: [ExperimentConfig.model_validate(each) for each in given])[0])
    print(f"{len(given)}: {planned_s:.2f} s, validation {validated_s:.2f} s", file=sys.stderr, flush=True)
    return {
        "configurations": len(given),
        "planned_s": round(planned_s, 3),
        "validated_s": round(validated_s, 3),
        "times_validation": round(planned_s / validated_s, 2),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="How often each is timed.")
    parser.add_argument("--save", action="store_true", help="Write the result to bench/results.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(_ROOT))
    sys.exit(main())
