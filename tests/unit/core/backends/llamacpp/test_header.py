"""The header of a GGUF file, byte by byte as its specification has it."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llenergymeasure.core.backends.llamacpp.header import Tensor, header_of


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(name: str, kind: int, content: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + content


VALUES = [
    value("general.architecture", 8, text("llama")),
    value("llama.block_count", 4, struct.pack("<I", 30)),
    value("llama.rope.freq_base", 6, struct.pack("<f", 0.5)),
    value("tokenizer.ggml.add_bos_token", 7, b"\x01"),
    value("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("\u0120b")),
    value("tokenizer.ggml.token_type", 9, struct.pack("<IQ", 5, 2) + struct.pack("<2i", 1, 3)),
]
TENSOR = text("token_embd.weight") + struct.pack("<I2QIQ", 2, 576, 49152, 8, 0)
WHOLE = b"GGUF" + struct.pack("<IQQ", 3, 1, len(VALUES)) + b"".join(VALUES) + TENSOR


def written(folder: Path, content: bytes) -> Path:
    path = folder / "m.gguf"
    path.write_bytes(content)
    return path


def test_it_is_read_as_it_is_written(tmp_path: Path) -> None:
    found = header_of(written(tmp_path, WHOLE + bytes(100)))
    assert found.values == {
        "general.architecture": "llama",
        "llama.block_count": 30,
        "llama.rope.freq_base": 0.5,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": ["a", "\u0120b"],
        "tokenizer.ggml.token_type": [1, 3],
    }
    assert found.tensors == [Tensor("token_embd.weight", (576, 49152), 8)]


@pytest.mark.parametrize("n_bytes", range(1, len(WHOLE), 7))
def test_one_that_is_cut_off_says_so(n_bytes: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cut off|begin with GGUF"):
        header_of(written(tmp_path, WHOLE[:n_bytes]))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GGJT" + WHOLE[4:], "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + WHOLE[8:], "version 1 of the format"),
        (b"GGUF" + struct.pack(">I", 3) + WHOLE[8:], "bytes are in another order"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + value("a", 99, b""), "of kind 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + value("a", 9, struct.pack("<IQ", 9, 1)), "an array of arrays"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + value("a", 9, struct.pack("<IQ", 4, 2**60)), "cut off"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", 2**31), "2147483648 dimensions"),
    ],
)
def test_what_cannot_be_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        header_of(written(tmp_path, content))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(4, len(WHOLE) - 1), other=st.binary(min_size=1, max_size=12))
def test_any_other_bytes_are_a_header_or_a_value_error(at: int, other: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE[:at] + other + WHOLE[at + len(other) :])
    try:
        header_of(path)
    except ValueError:
        return
