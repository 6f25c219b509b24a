"""A snapshot of the machine and its software."""

import ast
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path

import psutil

from llenergymeasure._host import this_host
from llenergymeasure._version import __version__
from llenergymeasure.core.gpu.machine import driver_version, list_gpus
from llenergymeasure.core.place.jobs import this_job
from llenergymeasure.core.place.share import this_share
from llenergymeasure.domain.environment import EnvironmentSnapshot

_CUDA_HOME = Path("/usr/local/cuda")
_CPUINFO = Path("/proc/cpuinfo")
# Linux's names for the instructions that multiply and add in a format: of x86 (arch/x86/include/asm/cpufeatures.h) and
# of ARM (arch/arm64/kernel/cpuinfo.c). Instructions that only convert are not among them.
_INSTRUCTIONS = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"}),
    "fp16": frozenset({"avx512_fp16", "amx_fp16", "asimdhp"}),
}


def collect_environment_snapshot(*, with_cuda: bool = True) -> EnvironmentSnapshot:
    """Describe this machine. Never raises: what cannot be found out is None. Creates no CUDA context.

    Args:
        with_cuda: also find out CUDA's version, for which torch's files are read or ``nvcc`` is asked.
    """
    host = this_host()
    return EnvironmentSnapshot(
        python_version=platform.python_version(),
        platform=platform.platform(),
        cpu_model=cpu_model(),
        n_cpus=os.cpu_count(),
        memory_total_mb=psutil.virtual_memory().total / 1e6,
        cuda_version=cuda_version() if with_cuda else None,
        driver_version=driver_version(),
        gpus=list_gpus(),
        packages=installed_packages(),
        tool_version=__version__,
        host=host.name or None,
        boot_id=host.boot_id,
        job=this_job(),
        share=this_share(),
    )


def installed_packages() -> dict[str, str]:
    """Version of every installed distribution by its name: nobody knows beforehand which of them changes a figure."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        try:
            # Read once: with a hundred packages each reading takes a twentieth of a second.
            about = distribution.metadata
            name, version = about["Name"], about["Version"]
        except Exception:  # noqa: BLE001 - metadata that is no metadata fails in many ways, and is not ours
            continue
        # Of a distribution that lies in two places on the path the first is imported.
        if name and version:
            versions.setdefault(name, version)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def cpu_model(cpuinfo: Path = _CPUINFO) -> str | None:
    """Name of the processor."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else platform.processor() or None


def cuda_version(
    torch_version: Callable[[], str | None] | None = None,
    cuda_home: Path = _CUDA_HOME,
    nvcc: str | None = None,
) -> str | None:
    """CUDA version of torch, else of the toolkit's version file, else of nvcc, else None.

    A torch built without CUDA uses no toolkit, whatever lies on the disk: None.
    """
    of_torch = (torch_version or _torch_cuda_version)()
    if of_torch is not None:
        return of_torch or None
    return _version_file(cuda_home) or _nvcc_version(nvcc or "nvcc")


def _torch_cuda_version() -> str | None:
    """Empty for a torch built without CUDA, None without torch.

    Read from the file that torch takes it from: importing torch takes seconds, and many engines need none.
    """
    found = util.find_spec("torch")
    if found is None:
        return None
    try:
        return _said_in(Path(found.origin or "").with_name("version.py").read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return _imported_torchs_cuda_version()


def _said_in(text: str) -> str:
    """What a generated ``torch/version.py`` sets ``cuda`` to.

    Raises:
        ValueError: it sets nothing that can be read without running it.
    """
    for line in ast.parse(text).body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None and "cuda" in _names_set(line):
            return str(ast.literal_eval(line.value) or "")
    raise ValueError("no line sets cuda")


def _names_set(line: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = line.targets if isinstance(line, ast.Assign) else [line.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _imported_torchs_cuda_version() -> str | None:
    try:
        import torch
    except Exception:  # noqa: BLE001 - a broken installation fails in many ways; the engine will say so
        return None
    return torch.version.cuda or ""


def _version_file(home: Path) -> str | None:
    for name, pattern in (
        ("version.json", r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"'),
        ("version.txt", r"CUDA Version ([\d.]+)"),
    ):
        try:
            found = re.search(pattern, (home / name).read_text(errors="replace"))
        except OSError:
            continue
        if found:
            return found.group(1)
    return None


def _nvcc_version(command: str) -> str | None:
    path = shutil.which(command)
    if path is None:
        return None
    try:
        text = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"release ([\d.]+)", text)
    return found.group(1) if found else None


def native_formats(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """Those of ``fp32``, ``fp16`` and ``bf16`` that are not emulated; None where the system does not say."""
    flags = cpu_flags(cpuinfo)
    if flags is None:
        return None
    return frozenset({"fp32"} | {name for name, any_of in _INSTRUCTIONS.items() if flags & any_of})


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """What the first processor has, in the kernel's words; None where it does not say."""
    try:
        listed = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        return None
    return None if listed is None else frozenset(listed[1].split())
