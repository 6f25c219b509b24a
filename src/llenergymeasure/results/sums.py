"""``DONE``: the SHA-256 of every file of a result, which is written when all of them are there.

It says that a folder is whole, and by name which of its files are no longer those that were written.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from llenergymeasure._files import flush_files, open_regular, read_regular, write_atomically, written_atomically
from llenergymeasure.exceptions import ConfigError

DONE_FILE = "DONE"
# A folder has some ten files, and three for each process of an experiment.
_MOST_BYTES = 16 * 2**20


def mark_done(directory: Path) -> Path:
    """Write ``DONE``, the last thing to be written; returns when the disk has it, and everything that it vouches for.

    Raises:
        OSError: a file cannot be read, or ``DONE`` not be written.
    """
    below = sorted(directory.rglob("*"))
    files = [path for path in below if path.is_file() and path != directory / DONE_FILE]
    flush_files([*files, *(path for path in below if path.is_dir())])
    target = directory / DONE_FILE
    write_atomically(target, _as_text({path.relative_to(directory).as_posix(): _sum_of(path) for path in files}))
    flush_files([directory.parent])
    return target


def rewrite(file: Path, text: str) -> None:
    """Put a text in the place of a file of a result, and its sum into the ``DONE`` beside it, where there is one.

    Both are on the disk before either gets its name, so a disk that is full leaves both as they were.

    Raises:
        ConfigError: there is a ``DONE``, and the file is not the one that it has the sum of; or it cannot be read.
        OSError: something cannot be written; the old ones are still there.
    """
    done = file.parent / DONE_FILE
    sums = None
    if done.exists():
        sums = _sums_in(done)
        # What was changed by others must not come to look whole.
        if sums.get(file.name) not in (None, _sum_of(file)):
            raise ConfigError(f"{_changed(file)}; nothing is written into it")
        sums[file.name] = hashlib.sha256(text.encode()).hexdigest()
    with written_atomically(file) as aside:
        aside.write_text(text, encoding="utf-8")
        if sums is not None:
            flush_files([aside])
            write_atomically(done, _as_text(sums))


def has_sums(file: Path) -> bool:
    """Whether a ``DONE`` lies beside a file, or beside what it leads to."""
    return any(done.exists() for done in _possible(file))


def problem_of(file: Path, content: bytes | None = None) -> str | None:
    """Why a file is not known to be the one that was written; None where its sum fits.

    Args:
        file: a file of a result. Of a link the sums beside it count, or else those beside what it leads to.
        content: what is in it, where that was read already.
    """
    done = next((d for d in _possible(file) if d.exists()), None)
    if done is None:
        return f"{file}: there is no {DONE_FILE} beside it, so nothing says that it is whole"
    name = file.name if done.parent == file.parent else file.resolve().name
    try:
        known = _sums_in(done).get(name)
        found = _sum_of(file) if content is None else hashlib.sha256(content).hexdigest()
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return f"{file}: cannot be read: {error.strerror or error}"
    if known is None:
        return f"{file}: {DONE_FILE} has no sum of it, so it was added after the result was whole"
    if known != found:
        return _changed(file)
    return None


def _changed(file: Path) -> str:
    return f"{file}: it is not the file that was written: its SHA-256 is not the one in {DONE_FILE}"


def missing_beside(file: Path) -> list[str]:
    """Names of the files that ``DONE`` has sums of and that are gone; none where there is no ``DONE``, or no sums."""
    for done in _possible(file):
        if done.exists():
            try:
                return [name for name in _sums_in(done) if not (done.parent / name).exists()]
            except (ConfigError, OSError):
                return []  # told of the file itself
    return []


def _possible(file: Path) -> tuple[Path, ...]:
    return file.parent / DONE_FILE, file.resolve().parent / DONE_FILE


def _as_text(sums: Mapping[str, str]) -> str:
    return json.dumps(dict(sorted(sums.items())), indent=2) + "\n"


def _sum_of(file: Path) -> str:
    found = hashlib.sha256()
    with open_regular(file) as opened:
        while chunk := opened.read(2**20):
            found.update(chunk)
    return found.hexdigest()


def _sums_in(done: Path) -> dict[str, str]:
    """What a ``DONE`` says: {name of the file from its folder on: SHA-256 in hex}.

    Raises:
        ConfigError: it cannot be read, is torn, or names something that is not in its folder.
    """
    try:
        found = json.loads(read_regular(done, _MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{done}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{done}: it is torn or was edited, so no file here is known to be whole") from None
    if not isinstance(found, dict) or not all(isinstance(s, str) and _is_below(n) for n, s in found.items()):
        raise ConfigError(f"{done}: it is no list of sums of the files in its folder")
    return found


def _is_below(name: str) -> bool:
    """Whether a name leads to something in its folder."""
    path = PurePosixPath(name)
    return "\0" not in name and not path.is_absolute() and ".." not in path.parts and path.parts != ()
