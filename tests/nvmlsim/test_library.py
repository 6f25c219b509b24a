"""Compiling the library, and finding it."""

import os
from pathlib import Path

import pytest

import nvmlsim


def test_the_library_is_compiled_once(library: Path) -> None:
    file = library / "libnvidia-ml.so.1"
    before = file.stat()
    assert nvmlsim.build(library.parent) == library
    assert file.stat() == before


def test_without_gcc_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(nvmlsim.BuildError, match="needs gcc"):
        nvmlsim.build(tmp_path / "cache")


def test_a_refusal_of_gcc_is_shown_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gcc = tmp_path / "bin" / "gcc"
    gcc.parent.mkdir()
    gcc.write_text("#!/bin/sh\necho 'no room' >&2\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gcc.parent}:{os.environ['PATH']}")
    with pytest.raises(nvmlsim.BuildError, match="no room"):
        nvmlsim.build(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_environment_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    environment = nvmlsim.environment(tmp_path, tmp_path / "s.txt")
    assert environment["LD_LIBRARY_PATH"] == f"{tmp_path}:/opt/lib"
    assert environment["PATH"] == f"{tmp_path}:{os.environ['PATH']}"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert nvmlsim.environment(tmp_path, tmp_path / "s.txt")["LD_LIBRARY_PATH"] == str(tmp_path)
