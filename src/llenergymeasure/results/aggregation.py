"""Late aggregation: the processes of an experiment become one result after they have all ended."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.domain.process import RawProcessResult, Sidecars
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.results.process_files import read_process_results
from llenergymeasure.results.tables import OUTPUTS_FILE, REQUESTS_FILE, TIMESERIES_FILE, TRACE_FILE

__all__ = ["aggregate_directory", "aggregate_processes"]


def aggregate_processes(raws: Sequence[RawProcessResult], files: Sidecars | None = None) -> ExperimentResult:
    """One result from [n] processes: devices once, throttling in any, environment of the first.

    Args:
        raws: what the processes measured.
        files: what was written beside the result; None for nothing.

    Raises:
        ExperimentError: none given, one missing, or of different experiments.
    """
    try:
        return ExperimentResult.from_processes(raws, files)
    except ValueError as error:
        raise ExperimentError(f"the processes cannot be aggregated: {error}") from error


def aggregate_directory(state_dir: Path, n_processes: int) -> ExperimentResult:
    """The same from the files that the processes left, and the tables that lie beside their folder.

    Raises:
        ExperimentError: files are missing or torn; it says which.
    """

    def if_there(name: str) -> str | None:
        return name if (state_dir.parent / name).is_file() else None

    files = Sidecars(
        timeseries=if_there(TIMESERIES_FILE),
        requests=if_there(REQUESTS_FILE),
        outputs=if_there(OUTPUTS_FILE),
        trace=if_there(TRACE_FILE),
    )
    return aggregate_processes(read_process_results(state_dir, n_processes), files)
