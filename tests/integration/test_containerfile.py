"""The steps of the Containerfile, run in a clean folder with a new environment: no daemon is needed for that."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fakes.containerfile import ROOT, Step, of_this_house

# An image has none of these; here they save a download, and have to be this machine's own.
KEPT = ("PIP_NO_CACHE_DIR",)


def expanded(text: str, variables: Mapping[str, str]) -> str:
    for name in sorted(variables, key=len, reverse=True):
        text = text.replace(f"${name}", variables[name])
    return text


def run_all(given: list[Step], root: Path) -> dict[str, str]:
    """Run the steps with their folders below ``root``; the variables at the end. What is of the system is left out."""
    subprocess.run([sys.executable, "-m", "venv", str(root / "python")], check=True)
    # A home of its own; the index that pip is set to, and where programs lie, are this machine's.
    own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "LANG", "HTTP"))}
    own |= {"PATH": f"{root / 'python' / 'bin'}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", str(root))}
    variables: dict[str, str] = {}
    for step in given:
        if step.instruction == "ENV":
            # A folder is below the root; all else is as it is.
            variables |= {
                name: f"{root}{value}" if value.startswith("/") else value
                for name, value in step.variables.items()
                if name not in KEPT
            }
        elif step.instruction == "COPY":
            copy_all(step.sources, Path(expanded(step.destination, variables)))
        elif step.instruction == "RUN" and not step.is_of_the_system:
            subprocess.run(["sh", "-ec", step.text], env={**own, **variables}, cwd=root, check=True)
    return {**own, **variables}


def copy_all(sources: list[str], destination: Path) -> None:
    """As COPY does: the files, or what is in the one folder, into the destination."""
    destination.mkdir(parents=True, exist_ok=True)
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, destination)


@pytest.mark.slow
def test_its_steps_run_in_a_clean_folder_and_what_they_make_runs(tmp_path: Path) -> None:
    environ = run_all(of_this_house(), tmp_path)
    data = Path(environ["DATA"])
    assert data.stat().st_mode & 0o7777 == 0o1777

    def llem(*arguments: str) -> str:
        command = [str(tmp_path / "python" / "bin" / "llem"), *arguments]
        ran = subprocess.run(command, env=environ, cwd=data, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert "llem, version" in llem("--version")
    assert "pytorch" in llem("config")
    ran = llem("run", "--model", "smollm2-135m", "-n", "1", "--precision", "fp32", "--set", "max_output_tokens=2")
    assert "throughput" in ran
    assert len(list((data / "results").glob("*/result.json"))) == 1
