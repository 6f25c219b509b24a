"""What passes between a launcher and the processes it starts, in a folder that both know."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from llenergymeasure import exceptions
from llenergymeasure._files import write_atomically
from llenergymeasure._folders import working_folder
from llenergymeasure._paths import expanded, shortened
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError, LLEMError
from llenergymeasure.orchestration.spare import kept_elsewhere, left_elsewhere
from llenergymeasure.results.persistence import STATE_DIR
from llenergymeasure.results.process_files import read_process_results, write_process_result

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
        # It stays where the experiment fails, so it has no home directory in it either.
        told = _with_paths(plan, lambda path: Path(shortened(str(path))))
        write_atomically(state_dir / PLAN_FILE, _PLAN.dump_json(told).decode(), durable=False)
        yield state_dir
        with contextlib.suppress(OSError):  # a disk that nobody can write to any more
            (state_dir / PLAN_FILE).unlink(missing_ok=True)


def received_plan(state_dir: Path) -> ExperimentPlan:
    """The plan that was handed over."""
    return _with_paths(_PLAN.validate_json((state_dir / PLAN_FILE).read_bytes()), expanded)


def _with_paths(plan: ExperimentPlan, written: Callable[[Path], Path]) -> ExperimentPlan:
    """The plan with its own paths in another form."""
    return replace(
        plan,
        output_dir=None if plan.output_dir is None else written(plan.output_dir),
        baseline_cache=None if plan.baseline_cache is None else written(plan.baseline_cache),
    )


def hand_back(raw: RawProcessResult, plan: ExperimentPlan, state_dir: Path) -> None:
    """Leave what was measured where the launcher looks for it: in ``state_dir``, or elsewhere if that takes nothing.

    Raises:
        ExperimentError: no place takes it.
    """
    try:
        write_process_result(raw, state_dir)
    except OSError as error:
        if (
            kept_elsewhere(_of_process(plan, raw.process_index), lambda folder: write_process_result(raw, folder))
            is None
        ):
            raise ExperimentError(
                f"everything was measured, and no place takes the result: {error.strerror or error}: {state_dir}"
            ) from error


def handed_back(plan: ExperimentPlan, state_dir: Path) -> list[RawProcessResult]:
    """What the processes of a plan measured, wherever they left it.

    Raises:
        ExperimentError: files are missing or torn; it says which.
    """
    n = plan.layout.n_processes
    elsewhere = {index: folder for index in range(n) for folder in left_elsewhere(_of_process(plan, index))}
    return list(read_process_results(state_dir, n, elsewhere))


def left_whole(plan: ExperimentPlan) -> list[RawProcessResult] | None:
    """What the processes of a plan with a folder measured, if all of it is there, however they ended."""
    if plan.output_dir is None:
        return None
    try:
        return handed_back(plan, plan.output_dir / STATE_DIR)
    except ExperimentError:
        return None


def forget_handed_back(plan: ExperimentPlan) -> None:
    """Remove what the processes of a plan left elsewhere; for whoever has kept what they measured."""
    for index in range(plan.layout.n_processes):
        for folder in left_elsewhere(_of_process(plan, index)):
            shutil.rmtree(folder, ignore_errors=True)


def is_handed_back(plan: ExperimentPlan, state_dir: Path) -> bool:
    """Whether the first process left anything that it measured, wherever."""
    folders = (state_dir, *left_elsewhere(_of_process(plan, 0)))
    return any(next(folder.glob("process_0.*"), None) is not None for folder in folders)


def with_a_bad_end(raws: Sequence[RawProcessResult], why: LLEMError) -> list[RawProcessResult]:
    """What was measured and is whole, of processes that ended badly afterwards, as at their exit or while unloading."""
    warning = MeasurementWarning("engine_unload_failed", f"everything had been measured, and then: {why}")
    return [raw.model_copy(update={"measurement_warnings": (*raw.measurement_warnings, warning)}) for raw in raws]


def _of_process(plan: ExperimentPlan, index: int) -> str:
    return f"{plan.experiment_id}-{index}"


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
    with working_folder(Path(tempfile.gettempdir()), "llenergymeasure") as temporary:
        yield temporary
