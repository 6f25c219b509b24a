"""Studies of a toy engine, each run as long as is wanted, submitted by the real command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llenergymeasure.results.study.directory import StudyDirectory
from tests.fakes.distributions import TOY, lay_down

# A run takes TOY_S seconds, for two requests half of it each; a result says which GPU its process was shown.
ENGINE = TOY.replace("time.sleep(0.001 * len(ids))", "time.sleep(float(os.environ['TOY_S']) / 2)").replace(
    '"plain"', "os.environ.get('CUDA_VISIBLE_DEVICES', 'none')"
).replace("import time\n", "import os\nimport time\n", 1)  # fmt: skip


@dataclass
class Told:
    """What a command came to."""

    code: int
    out: str

    @property
    def study(self) -> Path:
        """The folder that it printed first."""
        return Path(self.out.splitlines()[0].partition(": ")[0])


@dataclass
class Site:
    """A folder to work in, with an engine in it, and the variables of whoever works there."""

    folder: Path
    environ: Mapping[str, str]

    @classmethod
    def made(cls, folder: Path, environ: Mapping[str, str] | None = None) -> "Site":
        """One in an empty folder."""
        lay_down(folder / "site", {"toy_engine": ENGINE}, {"toy": "toy_engine:ToyEngine"})
        path = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")]))
        return cls(folder, {**os.environ, "PYTHONPATH": path, "TOY_S": "1", **(environ or {})})

    def study(self, *, n_runs: int = 4, cluster: Mapping[str, Any] | None = None, **fields: Any) -> Path:
        """A file of a study of two configurations, with so many runs of both together."""
        given: dict[str, Any] = {
            "model": "any", "backend": "toy", "precision": "fp32", "n": 2, "energy": {"backend": None},
            "warmup": {"enabled": False}, "baseline": {"enabled": False}, "sweep": {"toy.n_tokens": [1, 2]},
            "execution": {"cycles": n_runs // 2, "takeover_after_s": 5}, **fields,
        }  # fmt: skip
        file = self.folder / "study.yaml"
        file.write_text(yaml.safe_dump({**given, **({} if cluster is None else {"cluster": dict(cluster)})}))
        return file

    def llem(self, *arguments: object, within_s: float = 300, **environ: str) -> Told:
        """What the command line says, both streams together."""
        ran = subprocess.run(
            [sys.executable, "-m", "llenergymeasure", *map(str, arguments)], cwd=self.folder, text=True,
            env={**self.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=within_s,
            check=False,
        )  # fmt: skip
        return Told(ran.returncode, ran.stdout)

    def submitted(self, *arguments: object, **environ: str) -> Path:
        """The folder of a study that was submitted."""
        told = self.llem("submit", *arguments, "-q", within_s=300, **environ)
        assert told.code == 0, told.out
        return self.folder / told.study


def n_done(study: Path) -> int:
    """How many attempts are whole."""
    return len(list(study.glob("runs/*/*/DONE")))


def once_each(study: Path) -> bool:
    """Whether every slot has one attempt that is whole, and no more."""
    directory = StudyDirectory(study)
    plan = directory.plan()
    return [len(list(directory.folder(plan, slot).glob("*/DONE"))) for slot in plan.slots] == [1] * len(plan.slots)


def results_of(study: Path) -> list[dict[str, Any]]:
    """All results, as they are written."""
    return [json.loads(file.read_text()) for file in sorted(study.glob("runs/*/*/result.json"))]


def logs_of(study: Path) -> str:
    """What all jobs wrote."""
    return "\n".join(file.read_text() for file in sorted(study.glob("cluster/*/jobs/*log.*")))


def until(holds: Callable[[], bool], seconds: float = 120, told: Callable[[], str] = str) -> None:
    """Wait for something of another process."""
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, told()
        time.sleep(0.2)
