"""The snapshot of machine and software."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from llenergymeasure import __version__
from llenergymeasure.core.environment import collect_environment_snapshot, cpu_model, cuda_version, installed_packages
from tests.fakes.effort import PATIENCE_S

JSON = '{"cuda_cccl": {"version": "2.3.2"}, "cuda" : {"name" : "CUDA SDK", "version" : "12.4.1"}}'


def _nvcc(folder: Path) -> str:
    script = folder / "nvcc"
    script.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n")
    script.chmod(0o755)
    return str(script)


def _toolkit(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize(
    ("torch", "files", "expected"),
    [
        ("12.8", {"version.json": JSON}, "12.8"),
        (None, {"version.json": JSON, "version.txt": "CUDA Version 10.2.89\n"}, "12.4.1"),
        (None, {"version.txt": "CUDA Version 10.2.89\n"}, "10.2.89"),
        (None, {"version.json": "{}", "version.txt": "CUDA Version 10.2.89\n"}, "10.2.89"),
        (None, {}, "11.8"),
        (None, {"version.json": "not json"}, "11.8"),
        (None, {"version.json": b"\xff\xfe\x00"}, "11.8"),
    ],
)
def test_the_cuda_version_is_torchs_else_the_toolkits_else_nvccs(
    tmp_path: Path, torch: str | None, files: dict[str, bytes | str], expected: str
) -> None:
    assert cuda_version(lambda: torch, _toolkit(tmp_path, files), _nvcc(tmp_path)) == expected


def test_a_torch_without_cuda_uses_none_whatever_lies_on_the_disk(tmp_path: Path) -> None:
    assert cuda_version(lambda: "", _toolkit(tmp_path, {"version.json": JSON}), _nvcc(tmp_path)) is None


@pytest.mark.parametrize("content", [None, "#!/bin/sh\necho nothing\n", "#!/bin/sh\nprintf 'release \\377'\n"])
def test_a_machine_without_cuda_has_none(tmp_path: Path, content: str | None) -> None:
    nvcc = tmp_path / "nvcc"
    if content is not None:
        nvcc.write_text(content)
        nvcc.chmod(0o755)
    assert cuda_version(lambda: None, tmp_path, str(nvcc)) is None


def test_the_processor_is_read_from_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\nprocessor\t: 1\nmodel name\t: Other\n")
    assert cpu_model(path) == "Fast CPU @ 3 GHz"
    assert cpu_model(tmp_path / "missing") == (platform.processor() or None)


def test_the_snapshot_says_what_can_change_a_number() -> None:
    snapshot = collect_environment_snapshot()
    assert snapshot.python_version == platform.python_version()
    assert snapshot.tool_version == __version__
    assert snapshot.n_cpus == os.cpu_count()
    assert snapshot.memory_total_mb is not None
    assert snapshot.memory_total_mb > 100
    assert snapshot.packages["pydantic"] == metadata.version("pydantic")
    assert "definitely-not-installed" not in snapshot.packages


def test_every_installed_distribution_is_in_the_snapshot_and_a_broken_one_takes_no_other_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, metadata_text in (
        ("odd-2.0.dist-info", "Metadata-Version: 2.1\nName: odd\nVersion: 2.0\n"),
        ("broken-1.0.dist-info", "\x00"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "METADATA").write_text(metadata_text)
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = installed_packages()
    assert packages["odd"] == "2.0"
    assert packages["pytest"] == metadata.version("pytest")
    assert list(packages) == sorted(packages, key=str.lower)


def test_a_torch_that_cannot_be_imported_does_not_stop_the_snapshot(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    code = "from llenergymeasure.core.environment import collect_environment_snapshot as c; print(c().tool_version)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.stdout.strip(), done.returncode) == (__version__, 0), done.stderr[-500:]


@pytest.mark.parametrize(
    ("version", "expected", "imported"),
    [
        ("from typing import Optional\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "12.8", False),
        ("cuda = '11.8'\n", "11.8", False),
        ("cuda: Optional[str] = None\n", "None", False),
        # Nothing that can be read without running it: torch itself is asked.
        ("cuda = str(12) + '.6'\n", "12.6", True),
        ("__version__ = '9.9'\n", "None", True),
        ("cuda = = '12.8'\n", "None", True),
        (None, "None", True),
    ],
)
def test_the_cuda_version_of_torch_is_read_without_importing_torch(
    tmp_path: Path, version: str | None, expected: str, imported: bool
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("print('imported')\nfrom torch import version\nassert version.cuda\n")
    if version is not None:
        (package / "version.py").write_text(version)
    code = (
        "from pathlib import Path; from llenergymeasure.core.environment import cuda_version; "
        "print(cuda_version(None, Path('/nowhere'), 'nothing'))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    *before, found = done.stdout.split()
    assert (before, found) == (["imported"] * imported, expected)
