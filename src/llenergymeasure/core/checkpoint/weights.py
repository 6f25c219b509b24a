"""What a file of weights is, by its header: whether it can be one at all, and the shapes of its tensors.

Only headers are read, with the libraries that engines read them with; no weights, and no code of a pickle.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llenergymeasure._files import open_regular
from llenergymeasure.exceptions import first_line

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: every pointer begins so, and has under 1024 bytes.
_POINTER = b"version https://git-lfs.github.com/spec/"
_GGUF = b"GGUF"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_ADVICE = "fetch it again"

Shapes = Mapping[str, tuple[int, ...]]


def is_pointer(path: Path) -> bool:
    """Whether a file is only what git-LFS keeps in the place of a large one."""
    return _head(path).startswith(_POINTER)


def pointer(path: Path) -> str:
    """What to say of such a file."""
    return (
        f"{path} is a git-LFS pointer and not the file itself; run 'git lfs pull' in its folder, or download the "
        "model again"
    )


def damage(path: Path) -> str | None:
    """Why a file holds no weights, with what to do; None where its header is whole.

    Args:
        path: a file that is there; of kinds that are not known here nothing is said.
    """
    try:
        head = _head(path)
        if head.startswith(_POINTER):
            return pointer(path)
        if not head:
            return f"{path} is empty; {_ADVICE}"
        reason = _reason(path, head)
    except OSError as error:
        return f"{path} cannot be read: {first_line(error)}"
    return None if reason is None else f"{path} {reason}; {_ADVICE}"


def shapes_of(path: Path) -> Shapes | None:
    """The shape of each tensor of a whole file of weights by its name; None of a file of an unknown kind."""
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _torch_file(path) if _head(path).startswith(_ZIP) else None


def is_gguf_file(path: Path) -> bool:
    """Whether a file begins as one of GGUF, whatever it is called."""
    return _head(path).startswith(_GGUF)


def _head(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(len(_POINTER))


def _reason(path: Path, head: bytes) -> str | None:
    if path.suffix == ".safetensors":
        return _reason_of(_safetensors, path, "is cut off, or no safetensors file")
    if path.suffix == ".gguf":
        return None if head.startswith(_GGUF) else "is no GGUF file: it does not begin with GGUF"
    if path.suffix != ".bin":
        return None
    if head.startswith(_ZIP):
        return _reason_of(_torch_file, path, "is cut off, or no file of torch.save")
    return None if head.startswith(_PICKLE) else "is no file of torch.save: neither a zip nor a pickle"


def _reason_of(read: Any, path: Path, what: str) -> str | None:
    try:
        read(path)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own, and hostile files find more
        return f"{what} ({first_line(error)})"
    return None


def _safetensors(path: Path) -> Shapes:
    """Of each tensor by its name; the library holds every offset of the header against the size of the file."""
    from safetensors import safe_open

    opened: Any = safe_open(path, framework="numpy")
    with opened as tensors:
        return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118


def _torch_file(path: Path) -> Shapes:
    """As ``_safetensors``, of a zip of torch: its tensors are made without memory, and its pickle may run nothing."""
    import torch

    with zipfile.ZipFile(path) as found:
        if not any(name.endswith("/data.pkl") for name in found.namelist()):
            raise ValueError("the zip has no data.pkl in it")
    held = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    return {str(name): tuple(value.shape) for name, value in held.items() if isinstance(value, torch.Tensor)}
