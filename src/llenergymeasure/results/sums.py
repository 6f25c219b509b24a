"""``DONE``: the SHA-256 of every file of a result, which is written when all of them are there.

It says that a folder is whole, and by name which of its files are no longer those that were written.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._files import ASIDE, flush_files, open_regular, read_regular, write_atomically, written_atomically
from llenergymeasure._telling import in_a_line
from llenergymeasure.exceptions import ConfigError, config_error

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
        if sums.get(file.name) != _sum_of(file):
            raise config_error(f"{_changed(file)}; nothing is written into it")
        sums[file.name] = hashlib.sha256(text.encode()).hexdigest()
    with written_atomically(file) as aside:
        aside.write_text(text, encoding="utf-8")
        if sums is not None:
            flush_files([aside])
            write_atomically(done, _as_text(sums))


def finish_rewriting(file: Path) -> None:
    """Do what a ``rewrite`` of a file was ended before: give its text, which lies aside, the file's name.

    It is the one that ``DONE`` has the sum of already. Where there is none, nothing is done.

    Raises:
        ConfigError: ``DONE`` cannot be read.
        OSError: the text aside cannot be read or get its name.
    """
    done = file.parent / DONE_FILE
    if not done.exists():
        return
    expected = _sums_in(done).get(file.name)
    if expected is None or _sum_of(file) == expected:
        return
    for aside in sorted(file.parent.glob(ASIDE)):
        if _sum_of(aside) == expected:
            aside.replace(file)
            flush_files([file.parent])
            return


def has_sums(file: Path) -> bool:
    """Whether a ``DONE`` lies beside a file, or beside what it leads to."""
    return _done_of(file) is not None


def problem_of(file: Path) -> str | None:
    """Why a file is not known to be the one that was written; None where its sum fits.

    Args:
        file: a file of a result. Of a link the sums beside it count, or else those beside what it leads to.
    """
    done = _done_of(file)
    if done is None:
        return _without_sums(file)
    try:
        return _held_against(_sums_in(done), file, done, _sum_of(file))
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return in_a_line(f"{file}: cannot be read: {error.strerror or error}")


@dataclass(frozen=True, slots=True)
class Sums:
    """What a ``DONE`` says, which is read once; ``problem`` where it cannot be read, and then it vouches for nothing.

    ``by_name`` is {name of a file from its folder on: SHA-256 in hex}.
    """

    done: Path
    by_name: Mapping[str, str]
    problem: str | None = None

    @classmethod
    def beside(cls, file: Path) -> "Sums | None":
        """Those beside a file, or beside what it leads to; None where there are none."""
        done = _done_of(file)
        if done is None:
            return None
        try:
            return cls(done, _sums_in(done))
        except ConfigError as error:
            return cls(done, {}, str(error))

    def problem_with(self, file: Path, content: bytes) -> str | None:
        """Why a file whose content was read is not known to be the one that was written; None where its sum fits."""
        if self.problem is not None:
            return self.problem
        return _held_against(self.by_name, file, self.done, hashlib.sha256(content).hexdigest())

    def of(self, file: Path) -> str | None:
        """The sum of a file beside it, or of what a link there leads to; None where it has none."""
        return _known(self.by_name, file, self.done)

    def gone(self) -> list[str]:
        """Which files of its folder are gone. The others are not read: whoever reads one looks at its sum."""
        folder = self.done.parent
        names = [name for name in self.by_name if not os.path.lexists(f"{folder}/{name}")]
        return [in_a_line(f"{folder / name}: it is gone") for name in names]


def problems_with(file: Path, content: bytes) -> list[str]:
    """Why a file whose content was read is not known to be whole, and which files of its folder are gone."""
    sums = Sums.beside(file)
    if sums is None:
        return [_without_sums(file)]
    problem = sums.problem_with(file, content)
    return [*([] if problem is None else [problem]), *sums.gone()]


def _held_against(sums: Mapping[str, str], file: Path, done: Path, found: str) -> str | None:
    known = _known(sums, file, done)
    if known is None:
        return in_a_line(f"{file}: {DONE_FILE} has no sum of it, so it was added after the result was whole")
    return None if known == found else _changed(file)


def _known(sums: Mapping[str, str], file: Path, done: Path) -> str | None:
    return sums.get(file.name if done.parent == file.parent else file.resolve().name)


def _without_sums(file: Path) -> str:
    return in_a_line(f"{file}: there is no {DONE_FILE} beside it, so nothing says that it is whole")


def _changed(file: Path) -> str:
    return in_a_line(f"{file}: it is not the file that was written: its SHA-256 is not the one in {DONE_FILE}")


def _done_of(file: Path) -> Path | None:
    done = file.parent / DONE_FILE
    if done.exists():
        return done
    # Resolved only where it matters: of thousands of results that takes longer than reading them.
    done = file.resolve().parent / DONE_FILE if file.is_symlink() else done
    return done if done.exists() else None


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
        raise config_error(f"{done}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise config_error(f"{done}: it is torn or was edited, so no file here is known to be whole") from None
    if not isinstance(found, dict) or not all(isinstance(s, str) and _is_below(n) for n, s in found.items()):
        raise config_error(f"{done}: it is no list of sums of the files in its folder")
    return found


def _is_below(name: str) -> bool:
    """Whether a name leads to something in its folder."""
    # As text: of thousands of results a path for each name takes longer than reading them.
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))
