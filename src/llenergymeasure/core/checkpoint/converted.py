"""Folders of files that are made once and kept: whole or absent, however many ask and whenever one is killed.

What was damaged since, by a full disk or a copy that broke off, is seen before it is read, and made again.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from llenergymeasure._files import is_private_folder, mode_of_new_files, write_atomically
from llenergymeasure._folders import put_in_place, working_folder
from llenergymeasure._locks import locked
from llenergymeasure.core.checkpoint.weights import damage, shapes_of

_log = logging.getLogger(__name__)

# The name and size of every other file in the folder, written last.
_SIZES_FILE = ".sizes.json"
# A model that was kept before sizes were written down has these.
_NEEDED = ("config.json", "tokenizer.json")
_WORTH_A_WORD_S, _PATIENCE_S = 1.0, 600.0


def folder_damage(folder: Path) -> str | None:
    """What is wrong with a folder that was made, in a few words; None where it is whole."""
    if not folder.is_dir():
        return "there is no such folder"
    try:
        sizes = json.loads((folder / _SIZES_FILE).read_text("utf-8"))
        return _wrong_sizes(folder, dict(sizes))
    except FileNotFoundError:
        return _wrong_inside(folder)
    except (OSError, ValueError, TypeError) as error:
        return f"{_SIZES_FILE} cannot be read ({error})"


def whole_folder(target: Path) -> Path | None:
    """Where the folder is to be found whole: at its place, or at that of those who may not write there; else None."""
    beside = _beside(target)
    places = [target, beside] if is_private_folder(beside.parent) else [target]
    return next((place for place in places if folder_damage(place) is None), None)


def kept_folder(target: Path, make: Callable[[Path], None], patience_s: float = _PATIENCE_S) -> Path:
    """The folder, made where there is none or where it is damaged.

    Args:
        target: where it is kept. A damaged one that cannot be replaced is made in the temporary directory instead.
        make: fills a new folder.
        patience_s: how long to wait for another process that is making it.

    Returns:
        Where it is.

    Raises:
        TimeoutError: another process has been making it all that time.
        OSError: it cannot be written.
    """
    found = whole_folder(target)
    if found is not None:
        return found
    try:
        return _made(target, make, patience_s)
    except OSError as error:
        if isinstance(error, TimeoutError) or not target.exists():
            raise
        beside = _beside(target)
        _log.warning("%s cannot be replaced (%s); it is made in %s instead", target, error, beside.parent)
        _claim(beside.parent)
        return _made(beside, make, patience_s)


def _made(target: Path, make: Callable[[Path], None], patience_s: float) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target, patience_s):
        problem = folder_damage(target)
        if problem is None:  # another process has made it meanwhile
            return target
        if target.exists():
            _log.warning("%s is damaged: %s; it is made again", target, problem)
        with working_folder(target.parent, target.name) as partial:
            make(partial)
            _seal(partial)
            _put(partial, target)
    return target


def _seal(folder: Path) -> None:
    """Write down what is there, and let those read it whom the user lets read files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in files}
    write_atomically(folder / _SIZES_FILE, json.dumps(sizes, indent=1))
    mode = mode_of_new_files(folder)
    for path in files:  # some libraries write files that only their owner may read
        path.chmod(mode)


def _put(partial: Path, target: Path) -> None:
    """Put the new folder in the place of a damaged one, or of none."""
    if target.exists() and folder_damage(target) is not None:
        with working_folder(target.parent, target.name) as aside:
            target.rename(aside / target.name)
    try:
        put_in_place(partial, target)
    except OSError:
        # Where nothing can be locked, another process may have been first.
        if folder_damage(target) is not None:
            raise


def _wrong_sizes(folder: Path, sizes: dict[str, int]) -> str | None:
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes and not {size}"
    return None if sizes else "it holds no files"


def _wrong_inside(folder: Path) -> str | None:
    """What can be seen of a model in a folder whose sizes nobody wrote down."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return "its weights are missing"
    for path in (*(folder / name for name in _NEEDED), *folder.glob("*.json")):
        try:
            json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return f"{path.name} is missing"
        except (OSError, ValueError, RecursionError) as error:
            return f"{path.name} cannot be read ({error})"
    return next((f"{path.name} is cut short" for path in weights if damage(path) or not shapes_of(path)), None)


@contextlib.contextmanager
def _alone(target: Path, patience_s: float) -> Iterator[None]:
    """Nobody else makes it meanwhile; where nothing can be locked, several may."""
    lock = target.with_name(f".{target.name}.lock")
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(locked(lock, _WORTH_A_WORD_S))
        if held is False:
            _log.info("waiting for another process to make %s", target.name)
            held = stack.enter_context(locked(lock, patience_s))
        if held is False:
            raise TimeoutError(f"another process has been making it for {patience_s / 60:.0f} minutes")
        yield


def _beside(target: Path) -> Path:
    """Where those make it who may not write to its place."""
    return Path(tempfile.gettempdir(), f"llenergymeasure-{os.geteuid()}", target.name)


def _claim(folder: Path) -> None:
    """Make a folder in the temporary directory one's own, where anybody may have put anything.

    Raises:
        PermissionError: it is somebody else's.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not is_private_folder(folder):
        raise PermissionError(f"{folder} belongs to somebody else")
