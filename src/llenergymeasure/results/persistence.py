"""Result files and the folders they live in. Nothing is ever overwritten, nothing half-written has a final name."""

import contextlib
import itertools
import json
import logging
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure._folders import put_in_place
from llenergymeasure._paths import expanded, unnameable
from llenergymeasure._telling import in_a_line, told_values
from llenergymeasure.domain.meaning.fields import FORMULAS
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.attempts import DAMAGED_FILE, attempt_number, to_be_read
from llenergymeasure.results.sums import Sums, has_sums, problems_with

_log = logging.getLogger(__name__)

SCHEMA_VERSION = "2.0"
# What pydantic calls a name that a model, or a dataclass, does not have.
_UNKNOWN_FIELD = ("extra_forbidden", "unexpected_keyword_argument")
RESULT_FILE = "result.json"
# One beside which no sums could be written.
UNFINISHED_FILE = "result.unfinished.json"
LOG_FILE = "log.txt"
STATE_DIR = ".state"
RUNS_DIR = "runs"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Names that Windows, and what is made to work with it, keeps for devices, with whatever ending.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_MAX_NAME = 100
# A result of hundreds of thousands of requests has some 50 kB; what grows with requests stands in tables.
MOST_BYTES = 64 * 2**20
_MOST_SHOWN = 80
# From this revision on every result has sums beside it; before, only those of studies.
_FIRST_WITH_SUMS = 5


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
    write_atomically(path, result_text(result))
    return path


def result_text(result: ExperimentResult) -> str:
    """A result as its file has it."""
    return as_written(result, indent=2) + "\n"


def as_written(model: BaseModel, indent: int | None = None) -> str:
    """A model as JSON that others may read, with ``~`` for the home directory and names for secrets."""
    return to_json(told_values(model.model_dump(mode="json")), indent=indent, inf_nan_mode="null").decode()


def result_file(path: Path) -> Path:
    """The ``result.json`` that a path means, whether it exists or not.

    Args:
        path: the file itself, the folder that holds it, or that of a run of a study, which means the attempt
            that counts.

    Raises:
        ConfigError: the folder of a whole study, one that cannot be looked into, or no path at all.
    """
    problem = unnameable(str(path))
    if problem is not None:
        raise config_error(f"result {str(path)[:_MOST_SHOWN]}: {problem}")
    try:
        return _result_file(expanded(path))
    except OSError as error:
        raise _refused(path, f"cannot be looked for: {error.strerror or error}") from None


def _result_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / RESULT_FILE).exists():
        return path / RESULT_FILE
    # Of a folder that cannot be looked into this is an error, and not a folder without any.
    attempts = {number: child for child in path.iterdir() if (number := attempt_number(child.name)) is not None}
    if (attempt := to_be_read(attempts)) is not None:
        if (attempt / DAMAGED_FILE).exists():
            raise _refused(attempt, f"it was found damaged when its study went on, and counts no more ({DAMAGED_FILE})")
        return attempt / RESULT_FILE
    if (path / RUNS_DIR).is_dir():
        raise _refused(path, f"this is a study; name one of the folders in {path / RUNS_DIR}")
    return path / RESULT_FILE


def load_result(path: Path) -> ExperimentResult:
    """The result in a ``result.json``, or in a folder that ``result_file`` finds one for; it knows its folder.

    Where it is not known to be the one that was written, or a file beside it is gone, the log says so.

    Raises:
        ConfigError: missing, torn, or of another schema.
    """
    file = result_file(path)
    try:
        content = read_regular(file, MOST_BYTES)
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror or error}") from None
    return result_of(content, file)


def result_of(content: bytes, file: Path, sums: Sums | None = None) -> ExperimentResult:
    """The result that a ``result.json`` has in it.

    Args:
        content: what was read.
        file: from where, for errors and as the folder of the result.
        sums: those beside it, where they were read and fit already; only what is gone is left to tell then.

    Raises:
        ConfigError: torn, or of another schema.
    """
    try:
        written = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise _refused(file, "this is not a text file in UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _refused(file, f"this is no JSON: {error}") from None
    result = _understood(written, file).kept_in(file.parent)
    if sums is not None:
        problems = sums.gone()
    else:
        wanted = result.schema_revision >= _FIRST_WITH_SUMS or has_sums(file)
        problems = problems_with(file, content) if wanted else []
    for problem in problems:
        _log.warning("%s", problem)
    return result


def _understood(written: object, file: Path) -> ExperimentResult:
    """The result as far as this version knows its fields; others are left out, and that is said."""
    if not isinstance(written, dict):
        raise _refused(file, f"this is no result of schema {SCHEMA_VERSION}: it is no object")
    version = written.get("schema_version")
    if version != SCHEMA_VERSION:
        raise _refused(
            file,
            f"its schema_version is {version!r}, and this version reads {SCHEMA_VERSION!r}; "
            "use the version of llenergymeasure that wrote it",
        )
    name_model_facts(written)
    unknown = []
    while True:
        try:
            # As JSON, in which a date is a text and a list may be a tuple.
            result = ExperimentResult.model_validate_json(json.dumps(written))
            break
        except ValidationError as error:
            strange = [e["loc"] for e in error.errors(include_url=False) if e["type"] in _UNKNOWN_FIELD]
            if not strange or not all(_remove(written, place) for place in strange):
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"]) or "file"
                raise _refused(file, f"this is no result of schema {SCHEMA_VERSION}: {where}: {first['msg']}") from None
            unknown += [".".join(map(str, place)) for place in strange]
    if unknown:
        revision, names = written.get("schema_revision", 1), ", ".join(sorted(unknown))
        said = f"is of revision {revision}, and this version knows {SCHEMA_REVISION}: left out: {names}"
        _log.warning("%s", in_a_line(f"result {file} {said}"))
    later = [place for place, version in result.definitions.items() if version > _known_version(place, version)]
    if later:
        said = "was made with later definitions than this version knows, so these are other figures than its"
        _log.warning("%s", in_a_line(f"result {file} {said}: {', '.join(sorted(later))}"))
    return result


def _refused(path: Path, why: str) -> ConfigError:
    return config_error(f"result {path}: {why}")


def _known_version(place: str, version: int) -> int:
    """The version of a formula that is known; of a field that is not known, which was told already, the given one."""
    return FORMULAS[place].version if place in FORMULAS else version


def name_model_facts(written: dict[str, Any]) -> None:
    """Before revision 3 these stood among the parameters of the model, where they stay."""
    model = written.get("model")
    if written.get("schema_revision", 1) not in (1, 2) or not isinstance(model, dict):
        return
    parameters = model.get("parameters")
    if not isinstance(parameters, dict):
        return
    kinds = {"batch_size": int, "weights": str, "quantization": str, "adapter": str, "chat_template": str}
    for name, kind in kinds.items():
        value = parameters.get(name)
        if name == "chat_template" and isinstance(value, list):
            # Of several processes that differ.
            value = "; ".join(map(str, value))
        # An engine from elsewhere may have used the name for something else.
        if isinstance(value, kind) and not isinstance(value, bool):
            model.setdefault(name, value)


def _remove(written: Any, place: Sequence[int | str]) -> bool:
    """Take a field out of what a file holds; False where there is no such place."""
    *way, name = place
    try:
        for part in way:
            written = written[part]
        del written[name]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def safe_name(name: str) -> str:
    """A name of at most 100 bytes for a folder, on every file system: letters of ASCII, digits, ``.``, ``_`` and ``-``.

    It does not end or begin in a dot, has nothing of a path, and is no device of Windows, whatever follows a dot in it.
    """
    safe = _UNSAFE.sub("-", name).strip("-.")
    if _DEVICE.match(safe):
        safe = f"run-{safe}"
    return safe[:_MAX_NAME].rstrip("-.") or "run"


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


def publish(staging: Path, parent: Path, name: str) -> Path:
    """Give a finished folder its final name, which is claimed first so that nobody else takes it."""
    target = create_directory(parent, name)
    try:
        # Renaming over an empty directory is atomic on POSIX.
        return put_in_place(staging, target)
    except BaseException:
        with contextlib.suppress(OSError):
            target.rmdir()
        raise
