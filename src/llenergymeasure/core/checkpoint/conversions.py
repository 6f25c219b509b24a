"""Models in an engine's own format, made from a checkpoint once and kept."""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from llenergymeasure.core.checkpoint.converted import kept_folder
from llenergymeasure.core.checkpoint.digest import weights_digest
from llenergymeasure.exceptions import BackendError, first_line

_log = logging.getLogger(__name__)

# What a conversion reads beside weights.
_DESCRIPTIONS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_INSIDE = "model"
# As long as workers wait for each other: a large model takes more than minutes, and one that dies frees its lock.
_PATIENCE_S = 7200.0
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def kept_conversion(
    name: str,
    folder: Path,
    files: Mapping[str, Path],
    how: Mapping[str, str],
    make: Callable[[Path], None],
    patience_s: float = _PATIENCE_S,
) -> Path:
    """The folder of a model in an engine's own format, made where there is none.

    It is known by the digest of the weights, by the descriptions beside them and by what converts it, so that a
    checkpoint that has changed, and another version, have another. It is whole or absent however many processes ask.

    Args:
        name: the model, for messages and the name of the folder.
        folder: that of the checkpoint's descriptions.
        files: the weights that it is made from, by name.
        how: what converts it: engine, versions, settings; ``engine`` must be among them.
        make: fills a folder that does not exist yet.
        patience_s: how long to wait for another process that is making it.

    Raises:
        BackendError: it cannot be made.
    """
    engine, root = how["engine"], _cache_dir()
    try:
        target = root / f"{engine}-{_key(folder, files, how)}"
        kept = kept_folder(target, lambda partial: _made(name, engine, partial / _INSIDE, make), patience_s)
        return kept / _INSIDE
    except TimeoutError as error:
        raise BackendError(f"model {name!r}: {error}; wait for it, or end that process") from None
    except OSError as error:
        advice = "; set XDG_CACHE_HOME" if error.errno in _NO_PLACE else ""
        raise BackendError(f"model {name!r} could not be converted into {root}: {error}{advice}") from error
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise BackendError(f"model {name!r} could not be converted for {engine}: {first_line(error)}") from error


def versions_of(*distributions: str) -> dict[str, str]:
    """Installed versions of what takes part in a conversion; one that is not installed is left out."""
    found = dict[str, str]()
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _made(name: str, engine: str, target: Path, make: Callable[[Path], None]) -> None:
    _log.info("converting %s for %s, once", name, engine)
    make(target)


def _key(folder: Path, files: Mapping[str, Path], how: Mapping[str, str]) -> str:
    described = {
        file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in _DESCRIPTIONS
        if (folder / file).is_file()
    }
    parts = {"weights": weights_digest(files), "described": described, "how": dict(how)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _cache_dir() -> Path:
    return platformdirs.user_cache_path("llenergymeasure") / "conversions"
