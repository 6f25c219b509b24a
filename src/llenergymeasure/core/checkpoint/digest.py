"""Digests of weight files: read once, then remembered by path, size and time."""

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs

from llenergymeasure._files import write_atomically
from llenergymeasure._locks import locked

_log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
# A file under this is read sooner than a note about it would be worth keeping.
_WORTH_A_NOTE_BYTES = 16_000_000
_WORTH_SAYING_BYTES = 1_000_000_000
# Another process may be reading the same file, at some hundred MB/s; after that it is read here, too.
_PATIENCE_S = 600.0


def weights_digest(files: Mapping[str, Path], cache_dir: Path | None = None) -> str:
    """What identifies weights, whatever folder they lie in.

    Args:
        files: each file by its name relative to the folder of the weights, at least one.
        cache_dir: where digests of large files are remembered; None is the user's cache.

    Returns:
        ``sha256:`` and 64 hex digits: of one file its SHA-256; of several that of the text which ``sha256sum`` prints
        for them in the order of their names.

    Raises:
        OSError: a file cannot be read.
        RuntimeError: a file changed while it was being read.
    """
    root = _cache_dir() if cache_dir is None else cache_dir
    unread = sum(path.stat().st_size for path in files.values() if _known_sha256(path, root) is None)
    if unread > _WORTH_SAYING_BYTES:
        _log.info("reading %.1f GB of weights for their digest, once", unread / 1e9)
    digests = {name: _sha256(files[name], root) for name in sorted(files)}
    if len(digests) == 1:
        return f"sha256:{next(iter(digests.values()))}"
    listing = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"


def _sha256(path: Path, root: Path) -> str:
    known = _known_sha256(path, root)
    if known is not None:
        return known
    if path.stat().st_size < _WORTH_A_NOTE_BYTES:
        return _read_sha256(path)
    with _one_reader(_note_of(path, root)):
        # Whoever had the lock may have read this very file.
        return _known_sha256(path, root) or _read_and_note(path, root)


def _known_sha256(path: Path, root: Path) -> str | None:
    """The digest without reading the file: from its name in the hub's cache, or from a note; None if unknown."""
    return _name_in_hub_cache(path) or _noted_sha256(path, root)


def _name_in_hub_cache(path: Path) -> str | None:
    """The hub's cache names large files by their SHA-256, which its library answers for."""
    real = path.resolve()
    in_hub_cache = real.parent.name == "blobs" and (real.parent.parent / "snapshots").is_dir()
    return real.name if in_hub_cache and _SHA256.fullmatch(real.name) else None


def _noted_sha256(path: Path, root: Path) -> str | None:
    """What was noted of the file as it is now; a torn or foreign note counts as none."""
    try:
        note = json.loads(_note_of(path, root).read_text("utf-8"))
        digest = note.pop("sha256")
        return digest if note == _state_of(path) and _SHA256.fullmatch(digest) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_and_note(path: Path, root: Path) -> str:
    before = _state_of(path)
    digest = _read_sha256(path)
    if _state_of(path) != before:
        raise RuntimeError(f"{path} changed while it was being read")
    # Without a note the file is read again next time, and that is all.
    with contextlib.suppress(OSError):
        write_atomically(_note_of(path, root), json.dumps({**before, "sha256": digest}))
    return digest


def _read_sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state_of(path: Path) -> dict[str, str | int]:
    """What a file's digest is remembered by.

    Archives and copies can set the time of modification; that of the last change (ctime) is the kernel's own.
    """
    real = path.resolve()
    found = real.stat()
    return {"path": str(real), "size": found.st_size, "mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}


def _note_of(path: Path, root: Path) -> Path:
    return root / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"


@contextlib.contextmanager
def _one_reader(note: Path) -> Iterator[None]:
    """Let one process read a large file and the others take its note; where nothing can be locked, all read."""
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
    with locked(note.with_suffix(".lock"), _PATIENCE_S):
        yield


def _cache_dir() -> Path:
    return platformdirs.user_cache_path("llenergymeasure") / "digests"
