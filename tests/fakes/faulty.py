"""The real program with an engine that needs no heavy library, and what is left of it when it is disturbed."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import psutil
from jsonschema import Draft202012Validator

from llenergymeasure.domain.meaning.schema import result_schema
from llenergymeasure.domain.result import ExperimentResult
from tests.fakes.distributions import TOY, lay_down

LLEM = [sys.executable, "-P", "-c", "from llenergymeasure.cli import main; main()"]
# Every process of a run has this variable, with the folder that it works in.
MARK = "FAULT_TEST_FOLDER"


def environment(folder: Path, engine: str = TOY, **more: str) -> dict[str, str]:
    """The variables of a run in ``folder``: an engine ``toy``, a temporary folder, a home and caches of its own."""
    for name in ("temporary", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    if not (folder / "engine").exists():
        lay_down(folder / "engine", {"llem_toy": engine}, {"toy": "llem_toy:ToyEngine"})
    path = os.pathsep.join([str(folder / "engine"), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": path, "TMPDIR": str(folder / "temporary"), "HOME": str(folder / "home"), MARK: str(folder)}
    return {**os.environ, **own, **more}


def arguments(out: Path, *more: str) -> list[str]:
    """``llem run`` of a single experiment with the engine, which takes about half a second to measure."""
    settings = ["energy.backend=null", "warmup.enabled=false", "toy.n_tokens=64"]
    return [
        *LLEM, "run", "--backend", "toy", "--model", "any", "-n", "8", "-o", str(out),
        *(word for setting in settings for word in ("--set", setting)), *more,
    ]  # fmt: skip


def study(folder: Path, n: int = 3, **execution: object) -> Path:
    """A study of ``n`` such experiments."""
    one = {
        "backend": "toy", "model": "any", "n": 6, "energy": {"backend": None},
        "warmup": {"enabled": False}, "toy": {"n_tokens": 64},
    }  # fmt: skip
    experiments = [{**one, "name": f"slot {i}", "random_seed": i} for i in range(n)]
    path = folder / "study.yaml"
    path.write_text(json.dumps({"execution": execution, "experiments": experiments}), encoding="utf-8")
    return path


def living(folder: Path) -> list[psutil.Process]:
    """The processes of a run in ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def in_words(processes: Sequence[psutil.Process]) -> list[str]:
    """What each process is, and what it is at; for whoever finds it where none should be."""
    found = []
    for process in processes:
        try:
            found.append(f"{process.pid} ({process.status()}): {' '.join(process.cmdline())}")
        except psutil.Error:
            found.append(f"{process.pid}, which has ended meanwhile")
    return found


def finished(out: Path) -> list[ExperimentResult]:
    """The results below a folder: each can be read and is as the schema has it, and where there are sums they hold.

    Raises:
        AssertionError: something is there that is not whole.
    """
    results = []
    for file in sorted(out.rglob("result.json")):
        if any(part.endswith(".llem-partial") for part in file.parts):
            continue
        results.append(ExperimentResult.from_json(file))
        Draft202012Validator(result_schema()).validate(json.loads(file.read_text(encoding="utf-8")))
        done = file.parent / "DONE"
        if done.exists():
            sums: Mapping[str, str] = json.loads(done.read_text(encoding="utf-8"))
            assert {name: sha256((file.parent / name).read_bytes()).hexdigest() for name in sums} == sums
    return results
