"""The files of a result, read as if anybody may have put anything there."""

import hashlib
import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from llenergymeasure.results.verification.findings import DamageError, Report, shown
from llenergymeasure.results.verification.nodes import laid_over

RESULT, DONE, STATE = "result.json", "DONE", ".state"
# From this revision on every result has its readings and the sums of its files beside it.
FIRST_WITH_SUMS = 5
FIRST_WITH_LOAD = 7
FIRST_WITH_PLACE = 8
# The last one that is known here.
NEWEST = 8
_MOST_FILES = 10_000
_MOST_JSON_BYTES = 2**30
_MOST_DIGITS = 40
_SUM = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20
_KNOWN = (RESULT, DONE, "requests.parquet", "outputs.parquet", "timeseries.parquet", "trace.parquet", "log.txt")
# What each process leaves, the first one's log without a number.
_NUMBERED = re.compile(r"(?:\.state/(?:process|state|error)_(\d+)(?:\.json|\.done)?|log_(\d+)\.txt)")


@dataclass
class Bundle:
    """A result's files: the regular ones by their names, and what JSON is in them."""

    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    # The raw results of the processes, in their order; empty where they are not all there.
    raws: list[dict[str, Any]] = field(default_factory=list)
    raws_as_left: list[dict[str, Any]] = field(default_factory=list)

    @property
    def revision(self) -> int:
        """That of the file format."""
        revision = self.result.get("schema_revision", 1)
        if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
            raise DamageError(f"schema_revision is {shown(revision)}, which is no revision")
        return revision

    def content(self, name: str) -> bytes:
        """All of a file.

        Raises:
            DamageError: it is not there, or cannot be read.
        """
        if name not in self.files:
            raise DamageError("there is no such file")
        try:
            with os.fdopen(os.open(self.files[name], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                content = file.read(_MOST_JSON_BYTES + 1)
        except OSError as error:
            raise DamageError(f"it cannot be read: {error.strerror or error}") from None
        if len(content) > _MOST_JSON_BYTES:
            raise DamageError(f"it has over {_MOST_JSON_BYTES / 1e6:,.0f} MB, which no file of a result has")
        return content


def read_bundle(folder: Path, report: Report) -> Bundle:
    """What is there: names, sums, the result and the raw results; every damage is told.

    Raises:
        DamageError: there is no result that can be read.
    """
    bundle = Bundle(folder)
    _list_files(bundle, report)
    result = as_json(bundle, RESULT)
    if result.get("schema_version") != "2.0":
        raise DamageError(f"schema_version is {shown(result.get('schema_version'))}, and 2.0 is what is known here")
    bundle.result = result
    with report.part(DONE):
        _check_sums(bundle, report)
    with report.part(STATE):
        _read_raws(bundle, report)
    _name_strangers(bundle, report)
    return bundle


def as_json(bundle: Bundle, name: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DamageError: it is none.
    """
    content = bundle.content(name)
    if not content:
        raise DamageError("it is empty")
    try:
        value = json.loads(
            content.decode("utf-8"),
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_once,
        )
    except UnicodeDecodeError:
        raise DamageError("it is no text in UTF-8") from None
    except RecursionError:
        raise DamageError("its values lie in each other too deeply") from None
    except ValueError as error:
        raise DamageError(f"it is no JSON: {shown(str(error))}") from None
    if not isinstance(value, dict):
        raise DamageError("it is no JSON object")
    return value


def _no_number(text: str) -> NoReturn:
    raise DamageError(f"it has {text}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DamageError(f"it has {shown(text)}, which is no finite number")
    return value


def _short(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise DamageError(f"it has a number of {len(text)} digits")
    return int(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DamageError(f"it has {shown(twice)} twice in one object")
    return found


def _list_files(bundle: Bundle, report: Report) -> None:
    """Regular files by their names; what is none is a damage, and never opened."""
    for place, folders, names in os.walk(bundle.folder, followlinks=False, onerror=lambda error: _told(error, report)):
        for name in sorted([*folders, *names]):
            path = Path(place) / name
            called = path.relative_to(bundle.folder).as_posix()
            try:
                mode = path.lstat().st_mode
            except OSError as error:
                report.damaged(called, f"it cannot be looked at: {error.strerror or error}")
                continue
            if stat.S_ISLNK(mode):
                report.damaged(called, "it is a link, and a result has files only")
            elif stat.S_ISREG(mode):
                bundle.files[called] = path
            elif not stat.S_ISDIR(mode):
                report.damaged(called, "it is no regular file")
        if len(bundle.files) > _MOST_FILES:
            raise DamageError(f"there are over {_MOST_FILES} files, which no result has")


def _name_strangers(bundle: Bundle, report: Report) -> None:
    """Files that no result has, or of processes that this one does not have."""
    n = len(bundle.raws) or 1
    given = prompts_of(bundle.result.get("effective_config"))
    if given is not None and given[0] in bundle.files:
        check_prompts(bundle.files[given[0]], given[1], given[0], report)
    for name in sorted(bundle.files):
        numbered = _NUMBERED.fullmatch(name)
        if numbered is not None and int(numbered[1] or numbered[2]) >= n and bundle.raws:
            report.damaged(name, f"there is no such process: the result is of {n}")
        elif numbered is None and name not in _KNOWN and (given is None or name != given[0]):
            report.unverifiable(name, "no part of a result is called so")


def prompts_of(config: Any) -> tuple[str, str] | None:
    """What the file of prompts that were given as a list is called, and its SHA-256; None where there were none."""
    dataset = config.get("dataset") if isinstance(config, dict) else None
    prompts = dataset.get("in_memory") if isinstance(dataset, dict) else None
    digest = prompts.get("sha256") if isinstance(prompts, dict) else None
    if not isinstance(digest, str) or _SUM.fullmatch(digest) is None:
        return None
    return f"prompts-{digest[:16]}.jsonl", digest


def check_prompts(file: Path, digest: str, called: str, report: Report) -> None:
    """Hold a file of prompts against the digest that a configuration knows them by."""
    found = _sum_of(file)
    if found == digest:
        report.n_agreed += 1
    else:
        why = "there is no such file that can be read" if found is None else f"its SHA-256 is {found}"
        report.damaged(called, f"{why}, and the prompts that were run have {digest}")


def _told(error: OSError, report: Report) -> None:
    report.damaged(str(error.filename), f"it cannot be looked into: {error.strerror or error}")


def sums_in(content: dict[str, Any]) -> dict[str, str]:
    """SHA-256 by the name of the file, from what ``DONE`` holds.

    Raises:
        DamageError: it holds something else.
    """
    for name, digest in content.items():
        if not isinstance(digest, str) or _SUM.fullmatch(digest) is None:
            raise DamageError(f"what it has for {shown(name)} is no SHA-256: {shown(digest)}")
    return content


def _check_sums(bundle: Bundle, report: Report) -> None:
    if DONE not in bundle.files:
        if bundle.revision >= FIRST_WITH_SUMS:
            raise DamageError("there is no such file, and a result of this revision has one")
        report.unverifiable(DONE, "there is no such file: nothing says which files there were, and what was in them")
        return
    sums = sums_in(as_json(bundle, DONE))
    for name in sorted({*sums, *bundle.files} - {DONE}):
        if name not in bundle.files:
            report.damaged(name, f"{DONE} has it, and it is not there")
        elif name not in sums:
            report.damaged(name, f"it is not in {DONE}: somebody has put it there since")
        elif _sum_of(bundle.files[name]) != sums[name]:
            report.damaged(name, f"it is not what it was when {DONE} was written (SHA-256)")
        else:
            report.n_agreed += 1


def _sum_of(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _read_raws(bundle: Bundle, report: Report) -> None:
    """The raw results of all processes, each held against its marker."""
    aggregation = bundle.result.get("aggregation")
    n = 1 if aggregation is None else aggregation["n_processes"]
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= _MOST_FILES:
        raise DamageError(f"aggregation.n_processes is {shown(n)}")
    names = [f"{STATE}/process_{i}.json" for i in range(n)]
    if bundle.revision < FIRST_WITH_SUMS and not any(name in bundle.files for name in names):
        report.unverifiable(STATE, "the raw results of the processes are not there")
        return
    raws = []
    for index, name in enumerate(names):
        with report.part(name):
            raw = as_json(bundle, name)
            marker = bundle.content(name.replace(".json", ".done")).decode("ascii", "replace").strip()
            if marker != hashlib.sha256(bundle.content(name)).hexdigest():
                report.damaged(name, "it is not what its marker (.done) was written for")
            if raw.get("process_index") != index or raw.get("n_processes") != n:
                report.damaged(name, f"it says that it is of process {shown(raw.get('process_index'))}")
            raws.append(raw)
    bundle.raws_as_left = raws if len(raws) == n else []
    bundle.raws = [dict(raw) for raw in laid_over(bundle.raws_as_left)]
