"""Reading an archive of results again. Nothing in it is believed before it is looked at."""

import contextlib
import errno
import hashlib
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llenergymeasure._files import open_regular
from llenergymeasure._paths import expanded
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.reading import OnSkipped, Skipped, rows_in
from llenergymeasure.results.rows.columns import Value
from llenergymeasure.results.rows.extraction import ResultRow
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.layout import (
    BAG_DECLARATION,
    CRATE_FILE,
    MANIFEST,
    PAYLOAD,
    TAG_MANIFEST,
    from_manifest,
    unfit,
)

# The traces of a study of thousands of runs have some gigabytes.
MOST_BYTES = 64 * 2**30
_MOST_FILES = 1_000_000
_MOST_SHOWN = 80
_BLOCK = 2**20
_ENCRYPTED = 0x1
_KNOWN_WAYS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and zlib raise for what is no archive, or a torn one.
_TORN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def is_archive(path: Path) -> bool:
    """Whether a path is a file that begins as a ZIP archive does."""
    try:
        with open_regular(expanded(path)) as file:
            return file.read(4) == b"PK\x03\x04"
    # No path at all is a ValueError; whoever takes it for a folder says what is wrong with it.
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def opened(path: Path, most_bytes: int = MOST_BYTES) -> Iterator[Path]:
    """The folder that a path means: itself, or what ``llem pack`` put into an archive, unpacked until the end.

    Every file of an archive has been held against the sums in it. No name leads out of the folder, there are no links,
    and no more is written than the archive says, nor than there is room for.

    Args:
        path: a folder, or an archive.
        most_bytes: what the files of an archive have at most, together.

    Raises:
        ConfigError: it is neither, or the archive is damaged, too large, or of another make.
        OSError: the archive cannot be read, or its files cannot be written.
    """
    path = expanded(path)
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise config_error(f"{path}: this does not exist; give the folder of a result or a study, or its archive")
    with tempfile.TemporaryDirectory(prefix="llem-") as place:
        yield _unpacked(path, Path(place), most_bytes)


def _unpacked(path: Path, place: Path, most_bytes: int) -> Path:
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            entries = _checked(archive, path, most_bytes, shutil.disk_usage(place).free)
            sums = {entry.filename: _extracted(archive, entry, place, path) for entry in entries}
    except _TORN as error:
        raise _refused(path, f"it is no whole ZIP archive: {error}") from None
    except OSError as error:
        # Of a place that no file has, which a torn archive names.
        if error.errno != errno.EINVAL:
            raise
        raise _refused(path, "it is no whole ZIP archive: it names places outside of it") from None
    return place / _held_against_its_sums(sums, place, path)


def _checked(archive: zipfile.ZipFile, path: Path, most_bytes: int, free_bytes: int) -> list[zipfile.ZipInfo]:
    """The entries that are files, all of them fit to be written."""
    entries, seen = archive.infolist(), set[str]()
    if len(entries) > _MOST_FILES:
        raise _refused(path, f"it has {len(entries)} entries, and {_MOST_FILES} are the most")
    for entry in entries:
        name, kind = entry.filename.removesuffix("/"), stat.S_IFMT(entry.external_attr >> 16)
        problem = unfit(name)
        if problem is None and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "it is a link, or no regular file"
        if problem is None and entry.flag_bits & _ENCRYPTED:
            problem = "it is encrypted"
        if problem is None and entry.compress_type not in _KNOWN_WAYS:
            problem = "it is compressed in a way that this version does not read"
        if problem is None and name in seen:
            problem = "it is there twice"
        if problem is not None:
            raise _refused(path, f"{entry.filename[:_MOST_SHOWN]}: {problem}")
        seen.add(name)
    n_bytes = sum(entry.file_size for entry in entries)
    if n_bytes > most_bytes:
        raise _refused(path, f"its files have {n_bytes:,} bytes, and {most_bytes:,} are the most")
    if n_bytes > free_bytes:
        raise _refused(
            path,
            f"its files have {n_bytes:,} bytes, and {tempfile.gettempdir()} has room for {free_bytes:,}; "
            "set TMPDIR to a folder with more",
        )
    return [entry for entry in entries if not entry.is_dir()]


def _extracted(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, path: Path) -> str:
    """Write one file; its SHA-256 in hex."""
    target, digest = place / entry.filename, hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise _refused(path, f"{entry.filename}: something else has its name") from None
    with written, archive.open(entry) as packed:
        # No more comes of it than the size that was added up before: zipfile ends there, and compares its checksum.
        while block := packed.read(_BLOCK):
            digest.update(block)
            written.write(block)
    return digest.hexdigest()


def _held_against_its_sums(sums: Mapping[str, str], place: Path, path: Path) -> Path:
    """The packed folder, below ``place``, when all files are those that the manifests name."""
    tops = {name.split("/")[0] for name in sums}
    top = next(iter(tops), "")
    if len(tops) != 1 or not {f"{top}/{name}" for name in (BAG_DECLARATION, MANIFEST, TAG_MANIFEST)} <= set(sums):
        raise _refused(path, "it is no archive of llem pack (a BagIt bag with sums of SHA-256)")
    for manifest in (TAG_MANIFEST, MANIFEST):
        for name, digest in _told(place / top / manifest, path).items():
            found = sums.get(f"{top}/{name}")
            if found != digest:
                wrong = "it is not there" if found is None else "it is not the file that was packed"
                raise _refused(path, f"{name}: {wrong}; {manifest} has another SHA-256 of it")
    payload = {name.removeprefix(f"{top}/") for name in sums if name.startswith(f"{top}/{PAYLOAD}/")}
    extra = payload - set(_told(place / top / MANIFEST, path))
    if extra:
        raise _refused(path, f"{min(extra)}: {MANIFEST} does not know it")
    folders = {name.split("/")[1] for name in payload if name != f"{PAYLOAD}/{CRATE_FILE}"}
    if len(folders) != 1 or not (place / top / PAYLOAD / min(folders)).is_dir():
        raise _refused(path, f"it is no archive of llem pack: below {PAYLOAD} is not one folder")
    return Path(top) / PAYLOAD / folders.pop()


def _refused(path: Path, why: str) -> ConfigError:
    return config_error(f"archive {path}: {why}")


def _told(manifest: Path, path: Path) -> dict[str, str]:
    """What a manifest says: the SHA-256 of each file, by its name in the bag."""
    told = {}
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise _refused(path, f"{manifest.name}: this is not a text file in UTF-8") from None
    for number, line in enumerate(lines, start=1):
        digest, _, name = line.partition("  ")
        if not name:
            raise _refused(path, f"{manifest.name}:{number}: it is no sum and name of a file")
        told[from_manifest(name)] = digest.lower()
    return told


@contextlib.contextmanager
def bundle_in(path: Path) -> Iterator[Bundle]:
    """The result or study that a path means: a folder, a ``result.json``, or an archive, for as long as it lasts.

    Raises:
        ConfigError: as ``opened`` and ``Bundle.of``.
    """
    with as_folder(path) as place:
        yield Bundle.of(place)


@contextlib.contextmanager
def rows_within(paths: Sequence[Path], on_skipped: OnSkipped) -> Iterator[Iterator[ResultRow]]:
    """The rows of ``rows_in``, whose paths may be archives too, for as long as they last.

    Of what lies in an archive the folder begins with the archive, as if it were one. What lies in several places, such
    as in an archive and in the folder that it was made from, counts where it was found first.

    Raises:
        ConfigError: as ``opened``, and while rows are read as ``rows_in``.
    """
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(as_folder(path)) for path in paths]
        archives = {str(place): str(path) for path, place in zip(paths, places, strict=True) if place != path}

        def named(folder: str) -> str:
            place = next((place for place in archives if folder.startswith(place)), None)
            return folder if place is None else f"{archives[place]}{folder.removeprefix(place)}"

        def skipped(each: Skipped) -> None:
            on_skipped(replace(each, path=Path(named(str(each.path)))))

        rows = rows_in(places, skipped)
        rows = (replace(row, folder=named(row.folder or ".")) for row in rows) if archives else rows
        yield _each_once(rows, on_skipped)


def _each_once(rows: Iterable[ResultRow], on_skipped: OnSkipped) -> Iterator[ResultRow]:
    """Rows without those of files that are the same to the byte as one before; the experiment says which may be."""
    seen: dict[tuple[Value, str | None], str] = {}
    for row in rows:
        folder = row.folder or "."
        key = (row.values["experiment_id"], row.digest)
        if key in seen:
            said = f"the same result as in {seen[key]}, which counts once"
            on_skipped(Skipped(Path(folder), said, damaged=False))
        else:
            seen[key] = folder
            yield row


@contextlib.contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """A path as it is; of an archive the folder that was packed, for as long as it lasts.

    Raises:
        ConfigError: as ``opened``.
    """
    if not is_archive(path):
        yield path
        return
    with opened(path) as folder:
        yield folder
