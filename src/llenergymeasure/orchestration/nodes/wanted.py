"""That an experiment wants nodes to attend: word of it in the folder of its attempt, and the places, each had once."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure._host import this_host
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.orchestration.processes.handover import PEERS_DIR
from llenergymeasure.results.persistence import STATE_DIR

WANTED_FILE = "nodes.json"
_MOST_BYTES = 4096


def group_of_workers() -> str:
    """Which workers may attend each other's experiments: those of one job, where a scheduler started them."""
    return os.environ.get("SLURM_JOB_ID", "")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted: ``n_nodes`` in all, of which ``first`` leads; ``group`` are the workers that are meant."""

    n_nodes: int
    first: str
    group: str


@dataclass(frozen=True)
class Place:
    """A place among the nodes of an experiment: the folder that they share, and its number."""

    state_dir: Path
    index: int


@contextlib.contextmanager
def wanted(plan: ExperimentPlan, state_dir: Path) -> Iterator[None]:
    """While the body runs, nodes are wanted to attend; afterwards those that wait are told that it is over."""
    told = Wanted(n_nodes=plan.layout.n_processes, first=this_host().name, group=group_of_workers())
    (state_dir / PEERS_DIR).mkdir(exist_ok=True)
    write_atomically(state_dir / WANTED_FILE, json.dumps(asdict(told)), durable=False)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (state_dir / WANTED_FILE).unlink(missing_ok=True)
        shutil.rmtree(state_dir / PEERS_DIR, ignore_errors=True)


def told_in(state_dir: Path) -> Wanted | None:
    """What is wanted there; None where nothing is."""
    try:
        return Wanted(**json.loads(read_regular(state_dir / WANTED_FILE, _MOST_BYTES)))
    except (OSError, ValueError, TypeError):
        return None


def place_in(attempt: Path, group: str) -> Place | None:
    """A place of an attempt, which nobody else has from now on; None where none is free, or wanted.

    Raises:
        OSError: nothing can be written there.
    """
    state_dir = attempt / STATE_DIR
    told = told_in(state_dir)
    if told is None or told.group != group:
        return None
    for index in range(1, told.n_nodes):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.close(os.open(state_dir / PEERS_DIR / f"taken_{index}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return Place(state_dir, index)
    return None
