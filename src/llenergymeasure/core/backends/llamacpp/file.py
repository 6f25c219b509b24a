"""The GGUF file that is run: where it lies, and what its header says of it."""

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llenergymeasure.core.backends.llamacpp.header import header_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, is_gguf, packaged_file
from llenergymeasure.core.checkpoint.weights import damage
from llenergymeasure.exceptions import BackendError, contained, first_line

# ggml's names of what is no quantisation, and the precision that each is.
FLOAT_TYPES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16"}
# As llama.cpp's gguf-split names the parts of a model.
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_CONVERT = "give a GGUF file, or the directory of a checkpoint"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens of a GGUF file as they stand in it.

    ``kind`` is ``tokenizer.ggml.model``, ``type_index`` [tokens] llama.cpp's numbers of types.
    """

    kind: str
    texts: tuple[str, ...] = ()
    type_index: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """What the header of a GGUF file says.

    ``n_by_format`` are values of matrices by ggml's name of their type. ``n_bytes`` and ``n_parameters`` are of all
    tensors. ``settings`` are the numbers of the architecture without its name before them, such as ``block_count``.
    """

    architecture: str
    n_by_format: Mapping[str, int]
    n_parameters: int
    n_bytes: int
    file_type: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary(kind="none"))

    @property
    def precision(self) -> str | None:
        """Our name for the number format of most of its matrices; None where any of them is quantised."""
        if not self.n_by_format or set(self.n_by_format) - set(FLOAT_TYPES):
            return None
        return FLOAT_TYPES[max(self.n_by_format, key=lambda name: self.n_by_format[name])]

    @property
    def bits_per_weight(self) -> float:
        """Of all tensors together, scales of quantised blocks included."""
        return 8 * self.n_bytes / self.n_parameters

    @property
    def in_words(self) -> str:
        """Its kind of file, and how many bits a weight takes."""
        kind = self.file_type or max(self.n_by_format, key=lambda name: self.n_by_format[name], default="unknown")
        return f"GGUF {kind}, {self.bits_per_weight:.2f} bits per weight"

    @property
    def n_context(self) -> int | None:
        """Tokens that the model was trained for."""
        return whole_number(self.settings.get("context_length"))


def file_of(model: str) -> Path:
    """The GGUF file of a model, of several parts the first.

    Raises:
        BackendError: there is none, with what to do.
    """
    if model in PACKAGED_MODELS:
        packaged = packaged_file(model)
        if packaged is None:
            install = PACKAGED_MODELS[model].install
            raise BackendError(f"model {model!r} comes in a package that is not installed; {install}")
        return packaged
    path = Path(model)
    if path.is_file():
        if is_gguf(model):
            return path
        torn = damage(path) if path.suffix == ".gguf" else None
        raise BackendError(f"model file {torn or f'{path} is not a GGUF file (it begins otherwise); {_CONVERT}'}")
    if is_gguf(model) or model.startswith((".", "/", "~")):
        raise BackendError(f"model {model!r}: there is no such GGUF file")
    raise BackendError(
        f"model {model!r} is no file or directory here, and llama.cpp fetches none; download a GGUF file or the "
        "checkpoint and give its path, or use backend: pytorch, which loads models of the hub by name"
    )


def parts_of(path: Path) -> dict[str, Path]:
    """All files of a model by their names: one, or the parts that it was split into.

    Raises:
        BackendError: the file is not the first part, or another part is not there.
    """
    found = _PART.fullmatch(path.name)
    if found is None:
        return {path.name: path}
    names = [f"{found[1]}-{number:05}-of-{found[3]}.gguf" for number in range(1, int(found[3]) + 1)]
    if path.name != names[0]:
        raise BackendError(f"model file {path} is a part of a model; give the first part, {names[0]}")
    parts = {name: path.with_name(name) for name in names}
    missing = [name for name, part in parts.items() if not part.is_file()]
    if missing:
        raise BackendError(f"model file {path} has its other parts beside it, and {missing[0]} is missing")
    return parts


def read_header(path: Path) -> GgufFile:
    """What a GGUF file, with its other parts, says of itself; a file that has not changed is read once.

    Raises:
        BackendError: it cannot be read.
    """
    parts = list(parts_of(path).values())
    told = tuple((part, part.stat().st_size, part.stat().st_mtime_ns) for part in parts)
    try:
        with contained():
            return _read(told)
    except Exception as error:
        raise BackendError(f"model file {path} cannot be read: {first_line(error)}; fetch it again") from error


def whole_number(value: Any) -> int | None:
    """A positive whole number of a header; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


@functools.lru_cache(maxsize=4)
def _read(parts: tuple[tuple[Path, int, int], ...]) -> GgufFile:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    headers = [header_of(path) for path, _, _ in parts]
    formats: Counter[str] = Counter()
    n_parameters = n_bytes = 0
    for tensor in (tensor for header in headers for tensor in header.tensors):
        kind, n_values = GGMLQuantizationType(tensor.type_index), math.prod(tensor.n_along)
        n_in_block, n_block_bytes = GGML_QUANT_SIZES[kind]
        n_parameters += n_values
        n_bytes += n_values // n_in_block * n_block_bytes
        if len(tensor.n_along) > 1:
            formats[str(kind.name)] += n_values
    if not n_parameters:
        raise ValueError("it has no tensors")
    values = headers[0].values
    architecture = str(values.get("general.architecture"))
    return GgufFile(
        architecture=architecture,
        n_by_format=dict(formats),
        n_parameters=n_parameters,
        n_bytes=n_bytes,
        file_type=_type_of_file(values.get("general.file_type")),
        settings={
            name.removeprefix(f"{architecture}."): value
            for name, value in values.items()
            if name.startswith(f"{architecture}.")
        },
        vocabulary=Vocabulary(
            kind=str(values.get("tokenizer.ggml.model")),
            texts=tuple(values.get("tokenizer.ggml.tokens") or ()),
            type_index=tuple(values.get("tokenizer.ggml.token_type") or ()),
        ),
    )


def _type_of_file(number: Any) -> str | None:
    """llama.cpp's name of a kind of file, such as Q4_K_M."""
    from gguf import LlamaFileType

    if number not in list(LlamaFileType):
        return None
    return str(LlamaFileType(number).name).removeprefix("MOSTLY_").removeprefix("ALL_")
