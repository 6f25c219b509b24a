"""Result files and the folders they live in. Nothing is ever overwritten, nothing half-written has a final name."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.exceptions import ConfigError

RESULT_FILE = "result.json"
DONE_FILE = "DONE"
STATE_DIR = ".state"
RUNS_DIR = "runs"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 100
_ATTEMPT = re.compile(r"attempt-(\d+)")


class JsonRepository:
    """Results as ``result.json``; implements ``ResultsRepository``."""

    def save(self, result: ExperimentResult, output_dir: Path) -> Path:
        """Write ``result.json`` into an existing folder."""
        return save_result(result, output_dir)

    def load(self, path: Path) -> ExperimentResult:
        """Read it again."""
        return load_result(path)


def save_result(result: ExperimentResult, output_dir: Path) -> Path:
    """Write ``result.json`` into an existing folder.

    Raises:
        OSError: it cannot be written.
    """
    path = output_dir / RESULT_FILE
    write_atomically(path, result.model_dump_json(indent=2) + "\n")
    return path


def result_file(path: Path) -> Path:
    """The ``result.json`` that a path means, whether it exists or not.

    Args:
        path: the file itself, the folder that holds it, or that of an experiment in a study: its newest attempt counts.

    Raises:
        ConfigError: the folder of a whole study.
    """
    if not path.is_dir():
        return path
    if (path / RESULT_FILE).exists():
        return path / RESULT_FILE
    attempts = {int(found[1]): child for child in path.iterdir() if (found := _ATTEMPT.fullmatch(child.name))}
    if attempts:
        return attempts[max(attempts)] / RESULT_FILE
    if (path / RUNS_DIR).is_dir():
        raise ConfigError(f"result {path}: this is a study; name one of the folders in {path / RUNS_DIR}")
    return path / RESULT_FILE


def load_result(path: Path) -> ExperimentResult:
    """The result in a ``result.json``, or in a folder that ``result_file`` finds one for.

    Raises:
        ConfigError: missing, torn, or of another schema.
    """
    file = result_file(path)
    try:
        return ExperimentResult.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"result {file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"result {file}: this is not a text file in UTF-8") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigError(f"result {file}: this is no result of schema 2.0: {where}: {first['msg']}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it is whole or absent: same folder, flushed, renamed.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def safe_name(name: str) -> str:
    """The name with everything that does not belong into a folder's name replaced."""
    return _UNSAFE.sub("-", name).strip("-.")[:_MAX_NAME] or "run"


def stamped_name(name: str, now: datetime) -> str:
    """``{name}_{UTC time}``, safe for a folder."""
    return f"{safe_name(name)}_{now:%Y%m%dT%H%M%SZ}"


def create_directory(parent: Path, name: str) -> Path:
    """A new folder ``name``, or ``name_1``, ``name_2``, ... when that exists; safe against other processes."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        path = parent / (f"{name}_{number}" if number else name)
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


@contextlib.contextmanager
def new_run_directory(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder to work in; on success it gets a free final name, on any failure it is gone.

    The final path is not known before the end; the body's files must not name it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
    staging.chmod(0o755)
    try:
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def publish(staging: Path, parent: Path, name: str) -> Path:
    """Give a finished folder its final name, which is claimed first so that nobody else takes it."""
    target = create_directory(parent, name)
    try:
        # Renaming over an empty directory is atomic on POSIX.
        return staging.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            target.rmdir()
        raise


def mark_done(directory: Path) -> Path:
    """Write ``DONE``: the SHA-256 of each file in the folder. The last thing to be written."""
    sums = {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != DONE_FILE
    }
    target = directory / DONE_FILE
    write_atomically(target, json.dumps(sums, indent=2) + "\n")
    return target
