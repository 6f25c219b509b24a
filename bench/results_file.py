"""Result files of the benchmarks: ``bench/results/<name>-<date>.json``, with what they were taken on."""

import datetime
import json
from pathlib import Path
from typing import Any

from llenergymeasure._files import write_atomically
from llenergymeasure.core.environment import collect_environment_snapshot

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Versions, processor and GPUs of this machine."""
    environment = collect_environment_snapshot()
    return {
        "llenergymeasure": environment.tool_version,
        "python": environment.python_version,
        "cpu": environment.cpu_model,
        "n_cpus": environment.n_cpus,
        "gpus": [gpu.name for gpu in environment.gpus],
        "packages": environment.packages,
    }


def save(name: str, result: dict[str, Any]) -> Path:
    """Write a result under today's date; one of the same day is replaced.

    Args:
        name: first part of the file's name.
        result: what JSON can carry.
    """
    path = RESULTS / f"{name}-{datetime.date.today().isoformat()}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, _text(result))
    return path


def _text(result: dict[str, Any]) -> str:
    """JSON with a line for each row of a table; the rest is indented."""
    tables = {key: value for key, value in result.items() if isinstance(value, list)}
    rest = {key: value for key, value in result.items() if key not in tables}
    entries = [json.dumps(rest, indent=1, allow_nan=False)[1:-1].strip("\n")]
    for key, rows in tables.items():
        lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows)
        entries.append(f" {json.dumps(key)}: [\n  {lines}\n ]")
    return "{\n" + ",\n".join(entries) + "\n}\n"
