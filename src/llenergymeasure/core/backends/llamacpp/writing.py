"""GGUF files of dense weights, written through the library ``gguf``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

# ggml's names of the types that matrices of a precision have, and llama.cpp's of a file of them.
MATRICES = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
_FILES = {"fp32": "ALL_F32", "fp16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}


@dataclass(frozen=True, kw_only=True)
class DenseTensor:
    """A tensor of a file to be: ``n_along`` begins with its rows, ``values`` gives it in fp32 when its turn comes."""

    name: str
    n_along: tuple[int, ...]
    values: Callable[[], Values]

    @property
    def is_matrix(self) -> bool:
        """Whether it has the precision of the file; what has one dimension is always fp32, as llama.cpp needs it."""
        return len(self.n_along) > 1


def save(
    target: Path, architecture: str, describe: Callable[[Any], None], tensors: Sequence[DenseTensor], precision: str
) -> None:
    """Write a file, one tensor at a time.

    Args:
        target: the file, in a folder that is there.
        architecture: llama.cpp's name of it.
        describe: adds settings and vocabulary to a ``gguf.GGUFWriter``.
        tensors: all that the file has.
        precision: of its matrices.

    Raises:
        ValueError: a weight is beyond what the precision can hold.
    """
    import gguf

    writer = gguf.GGUFWriter(target, architecture)
    try:
        describe(writer)
        writer.add_file_type(gguf.LlamaFileType[_FILES[precision]])
        kinds = [gguf.GGMLQuantizationType[MATRICES[precision] if t.is_matrix else "F32"] for t in tensors]
        for tensor, kind in zip(tensors, kinds, strict=True):
            n_bytes = math.prod(tensor.n_along) * gguf.GGML_QUANT_SIZES[kind][1]
            writer.add_tensor_info(tensor.name, tensor.n_along, np.dtype(np.float32), n_bytes, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, kind in zip(tensors, kinds, strict=True):
            writer.write_tensor_data(_in(kind, tensor))
    finally:
        writer.close()


def save_dense(source: Sequence[Path], target: Path, precision: str) -> None:
    """The file with the same weights made dense, all else as it is.

    Args:
        source: a GGUF file, with its other parts.
        target: the new file, which is one.
        precision: of its matrices.
    """
    import gguf

    readers = [gguf.GGUFReader(path) for path in source]
    fields = readers[0].fields

    def describe(writer: Any) -> None:
        for name, field in fields.items():
            # What a writer adds itself, and what is said of parts.
            if not name.startswith(("GGUF.", "split.")) and name not in ("general.architecture", "general.file_type"):
                kinds = [gguf.GGUFValueType(kind) for kind in field.types]
                writer.add_key_value(name, field.contents(), kinds[0], kinds[-1] if len(kinds) > 1 else None)

    tensors = [_made_dense(tensor) for reader in readers for tensor in reader.tensors]
    save(target, str(fields["general.architecture"].contents()), describe, tensors, precision)


def _made_dense(tensor: Any) -> DenseTensor:
    import gguf

    def values() -> Values:
        return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    # ggml has the dimension first that is last in memory.
    n_along = tuple(int(n) for n in reversed(tensor.shape))
    return DenseTensor(name=tensor.name, n_along=n_along, values=values)


def _in(kind: Any, tensor: DenseTensor) -> NDArray[Any]:
    """The values as they lie in a file; fp32 is not copied."""
    import gguf

    values = tensor.values().reshape(tensor.n_along)
    if kind == gguf.GGMLQuantizationType.F32:
        return np.ascontiguousarray(values)
    if kind == gguf.GGMLQuantizationType.F16 and float(np.abs(values).max(initial=0)) > float(np.finfo(np.float16).max):
        raise ValueError(f"{tensor.name} has weights that fp16 cannot hold; set precision: fp32, or bf16")
    return np.asarray(gguf.quantize(values, kind))
