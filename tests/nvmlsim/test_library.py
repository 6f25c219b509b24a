"""Compiling the library, and finding it."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import nvmlsim


def test_the_library_is_compiled_once(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = library / "libnvidia-ml.so.1"
    before = file.stat()
    monkeypatch.setenv("PATH", "")  # no gcc
    assert nvmlsim.build(library.parent) == library
    assert file.stat() == before


def test_the_sources_compile_without_a_warning() -> None:
    sources = sorted((Path(nvmlsim.__file__).parent / "csrc").glob("*.c"))
    strict = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-c", "-o", "/dev/null"]
    for source in sources:
        done = subprocess.run([*strict, str(source)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_processes_that_build_at_once_share_one_build(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        folders = list(pool.map(lambda _: nvmlsim.build(tmp_path), range(3)))
    assert list(tmp_path.iterdir()) == [folders[0]] == list(set(folders))
    assert sorted(entry.name for entry in folders[0].iterdir()) == ["libnvidia-ml.so.1", "nvidia-smi"]


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
