"""Whether results can be written: the folder's name, its permissions, the disk under it."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import path_in_use
from llenergymeasure.domain.plan import ProcessLayout

_ADVICE = "choose another with --output"
# Seen in runs of 20 to 100 requests: 20 bytes for a token's time in a process's raw result, 18 for its id and its time
# in tables, 370 for a request, 30 kB for the rest of an experiment, most of both in raw results. Twice that, and
# something for the next reader of the disk.
_RAW_TOKEN_BYTES, _TABLE_TOKEN_BYTES, _REQUEST_BYTES, _EXPERIMENT_BYTES = 40, 36, 740, 60_000
_MARGIN_BYTES = 50e6


def output_folder(given: Path | None) -> Path | None:
    """The folder for results as it is used, with ``~`` and variables put in place; None writes nothing.

    Raises:
        PreFlightError: a variable is not set.
    """
    return None if given is None else path_in_use(given, "output_dir")


def output_problems(output_dir: Path | None, needed_bytes: float) -> list[str]:
    """Why nothing, or not all of it, can be written to this folder; it need not exist yet.

    Args:
        output_dir: the folder; None writes nothing.
        needed_bytes: what is to be written, margin included.
    """
    if output_dir is None:
        return []
    try:
        str(output_dir).encode()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            output_dir.lstat()  # refuses what no file system can name
        existing = nearest_existing(output_dir)
        is_folder = existing.is_dir()
    except (OSError, ValueError) as error:
        return [f"output {str(output_dir)[:80]!r} cannot be the name of a folder ({error}); {_ADVICE}"]
    if not is_folder:
        return [f"output {output_dir}: {existing} is a file, not a folder; {_ADVICE}"]
    if not os.access(existing, os.W_OK | os.X_OK):
        return [f"output {output_dir}: {existing} may not be written to; {_ADVICE}"]
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        return [
            f"output {output_dir}: up to {needed_bytes / 1e6:,.0f} MB will be written, and {free_bytes / 1e6:,.0f} MB "
            f"are free on that disk; free some, lower n or max_output_tokens, or {_ADVICE}"
        ]
    return []


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest of its parents that there is."""
    existing = path.absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    return existing


def bytes_to_write(
    experiments: Sequence[ExperimentConfig],
    n_prompts: Sequence[int | None],
    layouts: Sequence[ProcessLayout],
    n_runs: int = 1,
) -> float:
    """Upper bound of what [n] experiments write, each run so often, with a margin.

    Args:
        experiments: what is to be run.
        n_prompts: prompts that each one's dataset has; None where it cannot be read.
        layouts: the processes of each.
        n_runs: how often each is run.
    """
    total = 0.0
    for config, there_are, layout in zip(experiments, n_prompts, layouts, strict=True):
        # Of processes that share the layers of a model each writes a raw result with all requests.
        n_raw = layout.n_processes if layout.parallelism == "tensor" else 1
        n_requests = min(config.n, there_are or 0)
        n_tokens = n_requests * config.decoder.num_return_sequences * config.max_output_tokens
        total += n_raw * (_EXPERIMENT_BYTES + n_requests * _REQUEST_BYTES)
        total += n_tokens * (n_raw * _RAW_TOKEN_BYTES + _TABLE_TOKEN_BYTES)
    return n_runs * total + _MARGIN_BYTES
