"""What was measured becomes a result and its files, wherever there is a place for them."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import first_line
from llenergymeasure.orchestration.prompts_at_hand import keep_prompts
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.orchestration.spare import kept_elsewhere
from llenergymeasure.orchestration.status import add_to_log
from llenergymeasure.protocols import ResultsRepository
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.persistence import (
    LOG_FILE,
    RESULT_FILE,
    STATE_DIR,
    UNFINISHED_FILE,
    create_directory,
)
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.results.sums import DONE_FILE, mark_done
from llenergymeasure.results.tables import OUTPUTS_FILE, REQUESTS_FILE, TIMESERIES_FILE, TRACE_FILE

_OF_A_RESULT = (DONE_FILE, RESULT_FILE, OUTPUTS_FILE, REQUESTS_FILE, TIMESERIES_FILE, TRACE_FILE)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A result and the folder it lies in, None where it lies nowhere.

    ``problem`` is None where the result is whole in the folder that it was meant for, or was meant for none. Otherwise
    it says what could not be written there, and where it is instead.
    """

    result: ExperimentResult
    directory: Path | None = None
    problem: str | None = None


def keep(
    plan: ExperimentPlan,
    raws: Sequence[RawProcessResult],
    repository: ResultsRepository,
    place: Callable[[Path], Path],
    before_done: Callable[[], object] = lambda: None,
) -> Kept:
    """Write what [n] processes measured into the plan's folder; where that takes not all of it, elsewhere.

    Args:
        plan: what was measured.
        raws: what the processes saw.
        repository: keeps the result.
        place: puts a folder that has everything where it belongs, and gives it under the name that it has then.
        before_done: is called when all is written but that it is whole.

    Raises:
        ExperimentError: it cannot be made one result; or what ``before_done`` raises, but an ``OSError``, which is as
            if nothing could be written.
    """
    folder = plan.output_dir
    if folder is None:
        return Kept(result=aggregate_processes(raws))
    result, why = _written(raws, folder, repository)
    if why is None:
        try:
            before_done()
            mark_done(folder)
            return Kept(result=result, directory=place(folder))
        except OSError as error:
            why = _reason(error)
    meant_for = plan.config.output_dir or folder
    cannot = f"the result of {plan.config.display_name} cannot be written to {meant_for} ({why})"
    spare = kept_elsewhere(plan.experiment_id, lambda elsewhere: _whole(plan, raws, elsewhere, repository))
    if spare is not None:
        _remove(folder)
        return Kept(result=spare[1], directory=spare[0], problem=f"{cannot}; it is in {spare[0]}")
    nowhere = f"{cannot}, and no other place takes it"
    if not (folder / RESULT_FILE).exists():
        return Kept(result=result, problem=nowhere)
    try:
        # What does not fit is a warning in it.
        before_done()
        mark_done(folder)
        at = place(folder)
    except OSError:
        return Kept(result=result, problem=f"{nowhere}{_left_unfinished(folder, place)}")
    return Kept(result=result, directory=at, problem=f"{nowhere}; the rest is in {at}")


def _left_unfinished(folder: Path, place: Callable[[Path], Path]) -> str:
    """Where a folder is put that has no sums, for whoever looks for it; empty where it stays, or is lost.

    What nothing can be held against is no result for whoever reads the folder.
    """
    with contextlib.suppress(OSError):
        (folder / DONE_FILE).unlink(missing_ok=True)
        (folder / RESULT_FILE).replace(folder / UNFINISHED_FILE)
        at = place(folder)
        return "" if at == folder else f"; what could be written of it is in {at}"
    return ""


def keep_logs(plan: ExperimentPlan, why: str, parent: Path, name: str) -> str:
    """What is kept of a single experiment that did not end by itself: its logs, for whoever asks what it was doing.

    Args:
        plan: the experiment; its folder goes.
        why: why there is no result.
        parent: where its result would be.
        name: the name that its result's folder would have; that of the logs' says what it is.

    Returns:
        What was kept, in words.
    """
    if plan.output_dir is None:
        return "nothing was kept"
    add_to_log(plan.output_dir / LOG_FILE, why)
    logs = sorted(plan.output_dir.glob("log*.txt"))
    try:
        kept = create_directory(parent, f"{name}_timed-out")
        for log in logs:
            log.replace(kept / log.name)
    except OSError as error:
        return f"nothing was kept, its log cannot be written either ({_reason(error)})"
    return f"nothing was kept but its log, {kept / LOG_FILE}"


def _written(
    raws: Sequence[RawProcessResult], folder: Path, repository: ResultsRepository
) -> tuple[ExperimentResult, str | None]:
    """The result, and what could not be written of it and its files."""
    files = write_sidecars(folder, raws)
    result = aggregate_processes(raws, files)
    problems = [warning.text for warning in files.warnings]
    try:
        repository.save(result, folder)
    except Exception as error:  # noqa: BLE001 - a repository of somebody else raises what it will
        problems.append(_reason(error))
    return result, "; ".join(problems) or None


def _whole(
    plan: ExperimentPlan, raws: Sequence[RawProcessResult], folder: Path, repository: ResultsRepository
) -> ExperimentResult:
    result, why = _written(raws, folder, repository)
    if why is not None:
        raise OSError(why)
    for raw in raws:
        write_process_result(raw, folder / STATE_DIR)
    # Those of a study lie in its own folder, and no result is lost for them.
    with contextlib.suppress(OSError):
        keep_prompts([plan.config], folder)
    mark_done(folder)
    return result


def _remove(folder: Path) -> None:
    """Nothing is kept twice."""
    for name in _OF_A_RESULT:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / STATE_DIR, ignore_errors=True)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return first_line(error)
    return error.strerror if error.filename is None else f"{Path(error.filename).name}: {error.strerror}"
