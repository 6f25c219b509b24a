"""``llem pack``: a folder of results as one archive, the same bytes each time.

The archive is a ZIP of a BagIt bag (RFC 8493), whose payload is an RO-Crate 1.1. Both are formats that research
archives know. They are lines of text and JSON, and BagIt's library writes into the folder that it is given, with the
time of day, so they are written here.
"""

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llenergymeasure._files import written_atomically
from llenergymeasure._paths import expanded
from llenergymeasure._telling import in_a_line
from llenergymeasure._version import __version__
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.persistence import safe_name
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.crate import Stated, crate_metadata
from llenergymeasure.results.sharing.layout import (
    BAG_DECLARATION,
    BAG_INFO,
    CRATE_FILE,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    PackedFile,
    in_manifest,
    unfit,
)
from llenergymeasure.results.study.directory import CLUSTER_DIR

_BAG = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
# The first time that a ZIP archive can have. Whose clock it was, and when somebody copied a file, is not in the bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_PERMISSIONS = stat.S_IFREG | 0o644
_UNIX = 3
_BLOCK = 2**20
# From here on an entry is written in the way of large ones; a file may grow a little while it is read.
_LARGE_BYTES = 2**31
_MOST_PROBLEMS = 5


def pack(folder: Path, archive: Path | None = None, *, stated: Stated | None = None, force: bool = False) -> Path:
    """Write the folder of a result or a study as one archive; the path of it.

    Files are stored as they are, for most are compressed already: so the bytes depend on no version of a library.

    Args:
        folder: of a result, of an experiment in a study, or of a study.
        archive: the file to write; None is the folder's name with ``.zip`` in the working directory.
        stated: authors and licence of the data; None is neither.
        force: put it in the place of a file that is there.

    Raises:
        ConfigError: there is no result in the folder, or one that cannot be read; the folder holds links, or what no
            archive can have; the archive is there, or would lie in the folder.
        OSError: a file cannot be read, or the archive not be written, of which nothing is left then.
    """
    bundle = Bundle.of(folder)
    root = bundle.folder.resolve()
    target = Path(f"{safe_name(root.name)}.zip") if archive is None else expanded(archive)
    _check_target(target, root, force)
    names = _names_below(root)
    base = safe_name(root.name)
    with written_atomically(target) as aside, zipfile.ZipFile(aside, "x") as packed:
        bag = _Bag(packed, base)
        for name in names:
            with _open_below(root, name) as file:
                bag.add_file(f"{PAYLOAD}/{base}/{name}", file)
        payload = tuple(bag.files)
        bag.add_text(f"{PAYLOAD}/{CRATE_FILE}", crate_metadata(bundle, base, payload, stated or Stated()))
        bag.finish()
    return target


def _check_target(target: Path, root: Path, force: bool) -> None:
    problem = None
    if target.is_dir():
        problem = "this is a folder; name a file in it"
    elif target.exists() and not force:
        problem = "this exists and is not overwritten; name another file, or give --force"
    elif not target.parent.is_dir():
        problem = f"there is no folder {target.parent}"
    elif root == target.parent.resolve() or root in target.parent.resolve().parents:
        problem = "this lies in the folder that is packed; name a file outside of it"
    if problem is not None:
        raise config_error(f"--output {target}: {problem}")


def _names_below(root: Path) -> list[str]:
    """All files below a folder, by their names from it on, sorted.

    Raises:
        ConfigError: there are links, or what is neither file nor folder, or has a name that no archive can have.
        OSError: a folder cannot be read.
    """
    names, problems = [], []
    for name, mode in _entries(root, ""):
        problem = unfit(name)
        if problem is None and stat.S_ISLNK(mode):
            problem = "this is a link, and links are not followed; put what it leads to in its place, or remove it"
        elif problem is None and not stat.S_ISREG(mode):
            problem = "this is no regular file (a pipe, a device or a socket)"
        if problem is not None:
            problems.append(f"{in_a_line(str(root / name))}: {problem}")
        names.append(name)
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        raise ConfigError("\n".join([*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]))
    return sorted(names)


def _entries(root: Path, below: str) -> Iterator[tuple[str, int]]:
    """Whatever is no folder, at any depth, with its mode; links are not followed.

    What jobs of a study were submitted with is left out: it is of one cluster, whose paths and users it names.
    """
    with os.scandir(root / below) as entries:
        for entry in entries:
            name, mode = f"{below}{entry.name}", entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                if name == CLUSTER_DIR:
                    continue
                yield from _entries(root, f"{name}/")
            else:
                yield name, mode


def _open_below(root: Path, name: str) -> BinaryIO:
    """A file below a folder, open; whatever has become a link since it was seen is not followed."""
    *folders, last = name.split("/")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError as error:
        error.filename = str(root / name)
        raise
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise config_error(f"{root / name}: this is no regular file any more")
    return os.fdopen(descriptor, "rb")


class _Bag:
    """A bag that is being written into an archive, below a folder of its name."""

    def __init__(self, archive: zipfile.ZipFile, base: str) -> None:
        self.files: list[PackedFile] = []
        self._archive, self._base = archive, base

    def add_file(self, name: str, file: BinaryIO) -> None:
        """Read a file once: its sum is that of the bytes that went in, whatever happens to it afterwards."""
        digest, n_bytes = hashlib.sha256(), 0
        large = os.fstat(file.fileno()).st_size > _LARGE_BYTES
        with self._archive.open(self._entry(name), "w", force_zip64=large) as packed:
            while block := file.read(_BLOCK):
                digest.update(block)
                n_bytes += len(block)
                packed.write(block)
        self.files.append(PackedFile(name=name, sha256=digest.hexdigest(), n_bytes=n_bytes))

    def add_text(self, name: str, text: str) -> PackedFile:
        content = text.encode()
        self._archive.writestr(self._entry(name), content)
        self.files.append(PackedFile(name=name, sha256=hashlib.sha256(content).hexdigest(), n_bytes=len(content)))
        return self.files[-1]

    def finish(self) -> None:
        """Write what says that this is a bag, and the sums of all that is in it."""
        payload = list(self.files)
        oxum = f"{sum(file.n_bytes for file in payload)}.{len(payload)}"
        info = f"Bag-Software-Agent: llenergymeasure {__version__}\nPayload-Oxum: {oxum}\n"
        tags = [
            self.add_text(BAG_DECLARATION, _BAG),
            self.add_text(BAG_INFO, info),
            self.add_text(MANIFEST, _manifest(payload)),
        ]
        self.add_text(TAG_MANIFEST, _manifest(tags))

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(f"{self._base}/{name}", _NO_TIME)
        entry.create_system = _UNIX
        entry.external_attr = _PERMISSIONS << 16
        return entry


def _manifest(files: list[PackedFile]) -> str:
    ordered = sorted(files, key=lambda file: file.name)
    return "".join(f"{file.sha256}  {in_manifest(file.name)}\n" for file in ordered)
