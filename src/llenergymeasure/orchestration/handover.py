"""What passes between a launcher and the processes it starts, in a folder that both know."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from llenergymeasure import exceptions
from llenergymeasure._files import write_atomically
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError, LLEMError
from llenergymeasure.results.persistence import STATE_DIR

PLAN_FILE = "plan.json"
# Where processes leave word for one another.
PEERS_DIR = "peers"
_PLAN = TypeAdapter(ExperimentPlan)


class ProcessError(BaseModel):
    """Why a process gave no result.

    ``error_type`` is the name of an exception of this package, ``time_s`` Unix time.
    """

    model_config = ConfigDict(frozen=True)

    error_type: str
    message: str
    time_s: float = 0.0


@contextlib.contextmanager
def handed_over(plan: ExperimentPlan) -> Iterator[Path]:
    """The folder with the plan in it: the run's own ``.state``, or a temporary one; on success the plan is removed."""
    with _folder_of(plan) as state_dir:
        write_atomically(state_dir / PLAN_FILE, _PLAN.dump_json(plan).decode(), durable=False)
        yield state_dir
        (state_dir / PLAN_FILE).unlink()


def received_plan(state_dir: Path) -> ExperimentPlan:
    """The plan that was handed over."""
    return _PLAN.validate_json((state_dir / PLAN_FILE).read_bytes())


def report(error: LLEMError, state_dir: Path, process_index: int = 0) -> None:
    """Leave word of why a process gives no result."""
    told = ProcessError(error_type=type(error).__name__, message=str(error), time_s=time.time())
    write_atomically(error_file(state_dir, process_index), told.model_dump_json())


def error_file(state_dir: Path, process_index: int = 0) -> Path:
    """Where a process leaves word of its failure."""
    return state_dir / f"error_{process_index}.json"


def reported(state_dir: Path, n_processes: int = 1) -> LLEMError | None:
    """The first error that one of the processes left word of, as what it was; None if none did."""
    found: list[tuple[float, LLEMError]] = []
    for index in range(n_processes):
        path = error_file(state_dir, index)
        if not path.exists():
            continue
        try:
            told = ProcessError.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            unread = ExperimentError(f"the measuring process failed, and its report cannot be read: {error}")
            found.append((float("inf"), unread))
            continue
        found.append((told.time_s, _kind_of(told)(told.message)))
    return min(found, key=lambda item: item[0])[1] if found else None


def _kind_of(told: ProcessError) -> type[LLEMError]:
    kind = getattr(exceptions, told.error_type, None)
    return kind if isinstance(kind, type) and issubclass(kind, LLEMError) else ExperimentError


@contextlib.contextmanager
def _folder_of(plan: ExperimentPlan) -> Iterator[Path]:
    if plan.output_dir is not None:
        state_dir = plan.output_dir / STATE_DIR
        state_dir.mkdir()
        yield state_dir
        return
    with tempfile.TemporaryDirectory(prefix="llenergymeasure-") as temporary:
        yield Path(temporary)
