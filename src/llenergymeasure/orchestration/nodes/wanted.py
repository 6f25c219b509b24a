"""That an experiment wants nodes to attend: word of it in the folder of its attempt, and the places, each had once."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, Strict, TypeAdapter

from llenergymeasure._files import write_atomically
from llenergymeasure._host import Host, this_host
from llenergymeasure._shared_files import ON_DISK
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.orchestration.processes.handover import PEERS_DIR
from llenergymeasure.results.persistence import STATE_DIR

WANTED_FILE = "nodes.json"
_MOST_BYTES = 4096
# As of core/nodes/peers.py, and what a process takes to start.
_SILENT_S = 120.0


def group_of_workers() -> str:
    """Which workers may attend each other's experiments: those of one job, where a scheduler started them."""
    return os.environ.get("SLURM_JOB_ID", "")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted: ``n_nodes`` in all, of which ``first`` leads; ``group`` are the workers that are meant.

    ``boot_id`` and ``devices`` are of the node that leads, whose own devices nobody else is to measure.
    """

    n_nodes: Annotated[int, Strict(), Field(ge=2)]
    first: str
    group: str
    boot_id: str | None = None
    devices: tuple[str, ...] = ()

    def is_for(self, here: Host, visible: Collection[str]) -> bool:
        """Whether a worker may attend that sees these GPUs here: on another machine, or by other GPUs of this one."""
        if self.boot_id is None or self.boot_id != here.boot_id:
            return True
        return bool(visible) and not set(visible) & set(self.devices)


_WANTED = TypeAdapter(Wanted)


@dataclass(frozen=True)
class Place:
    """A place among the nodes of an experiment: the folder that they share, and its number."""

    state_dir: Path
    index: int


def _lives(peers: Path) -> bool:
    """Whether the first node has given a sign of life within the last minute or is about to give its first."""
    try:
        begun_s = (peers.parent / WANTED_FILE).stat().st_mtime
        with contextlib.suppress(FileNotFoundError):
            begun_s = (peers / "alive_0").stat().st_mtime
    except FileNotFoundError:
        return False
    return ON_DISK.now_s(peers) - begun_s < _SILENT_S


@contextlib.contextmanager
def wanted(plan: ExperimentPlan, state_dir: Path) -> Iterator[None]:
    """While the body runs, nodes are wanted to attend; afterwards those that wait are told that it is over."""
    here = this_host()
    told = Wanted(
        n_nodes=plan.layout.n_processes, first=here.name, group=group_of_workers(), boot_id=here.boot_id,
        devices=plan.devices,
    )  # fmt: skip
    (state_dir / PEERS_DIR).mkdir(exist_ok=True)
    write_atomically(state_dir / WANTED_FILE, json.dumps(asdict(told)), durable=False)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (state_dir / WANTED_FILE).unlink(missing_ok=True)
        shutil.rmtree(state_dir / PEERS_DIR, ignore_errors=True)


def told_in(state_dir: Path) -> Wanted | None:
    """What is wanted there; None where nothing is.

    Raises:
        OSError: it cannot be asked now, on a file system far away.
    """
    try:
        return _WANTED.validate_json(ON_DISK.read(state_dir / WANTED_FILE, _MOST_BYTES).content)
    except FileNotFoundError:
        return None
    except ValueError:  # pydantic's is one
        return None


def place_in(attempt: Path, group: str, visible: Callable[[], Collection[str]] = lambda: ()) -> Place | None:
    """A place of an attempt, which nobody else has from now on; None where none is free, or wanted.

    Args:
        attempt: its folder.
        group: the workers that this one is of.
        visible: gives the UUIDs of the GPUs that it sees.

    Raises:
        OSError: nothing can be read or written there.
    """
    state_dir = attempt / STATE_DIR
    told = told_in(state_dir)
    if told is None or told.group != group or not told.is_for(this_host(), visible()):
        return None
    if not _lives(state_dir / PEERS_DIR):
        # Who led it was killed, and nobody took its word away.
        return None
    for index in range(1, told.n_nodes):
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.close(os.open(state_dir / PEERS_DIR / f"taken_{index}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return Place(state_dir, index)
    return None
