"""Compiling the library, and the environment in which a program finds it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCES = Path(__file__).parent / "csrc"
_NAME = "libnvidia-ml.so.1"  # what nvidia-ml-py asks the dynamic loader for
_FLAGS = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # the same rounding as in Python
    f"-Wl,-soname,{_NAME}",
)
_NVIDIA_SMI = (
    "#!/bin/sh\n# CodeCarbon looks for a GPU only where this program runs.\necho 'simulated driver (nvmlsim)'\n"
)


class BuildError(Exception):
    """The library could not be compiled; the message says why."""


def build(cache_dir: Path) -> Path:
    """Compile the library, once for each state of its sources.

    Args:
        cache_dir: where builds are kept; made if it is missing. Processes may share it.

    Returns:
        The folder that holds libnvidia-ml.so.1, and a stub of nvidia-smi.

    Raises:
        BuildError: there is no gcc, or it refuses.
    """
    sources = sorted(_SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(repr(_FLAGS).encode() + b"".join(source.read_bytes() for source in sources))
    folder = cache_dir / f"nvmlsim-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    gcc = shutil.which("gcc")
    if gcc is None:
        raise BuildError("nvmlsim needs gcc and finds none on PATH; on Debian: apt-get install gcc libc6-dev")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".nvmlsim-") as temporary:
        unfinished = Path(temporary) / "build"
        unfinished.mkdir()
        c_files = [str(source) for source in sources if source.suffix == ".c"]
        command = [gcc, *_FLAGS, *c_files, "-o", str(unfinished / _NAME), "-lm", "-lpthread"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"gcc refused the sources in {_SOURCES}:\n{result.stderr}")
        (unfinished / "nvidia-smi").write_text(_NVIDIA_SMI)
        (unfinished / "nvidia-smi").chmod(0o755)
        try:
            unfinished.rename(folder)
        except OSError:  # another process was first
            if not folder.exists():
                raise
    return folder


def environment(library_dir: Path, scenario_path: Path) -> dict[str, str]:
    """What to add to a subprocess's environment so that it sees the simulated GPUs.

    Args:
        library_dir: what :func:`build` returned.
        scenario_path: the scenario file.

    Returns:
        LD_LIBRARY_PATH and PATH, in front of what they are in this process, and NVMLSIM_SCENARIO.
    """
    folder = str(library_dir.absolute())
    return {
        "LD_LIBRARY_PATH": _in_front(folder, os.environ.get("LD_LIBRARY_PATH")),
        "PATH": _in_front(folder, os.environ.get("PATH")),
        "NVMLSIM_SCENARIO": str(scenario_path.absolute()),
    }


def _in_front(folder: str, others: str | None) -> str:
    return f"{folder}{os.pathsep}{others}" if others else folder
