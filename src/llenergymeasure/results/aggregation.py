"""Late aggregation: the processes of an experiment become one result after they have all ended."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.results.process_files import read_process_results

__all__ = ["aggregate_directory", "aggregate_processes"]


def aggregate_processes(raws: Sequence[RawProcessResult]) -> ExperimentResult:
    """One result from [n] processes: devices once, throttling in any, environment of the first.

    Raises:
        ExperimentError: none given, one missing, or of different experiments.
    """
    try:
        return ExperimentResult.from_processes(raws)
    except ValueError as error:
        raise ExperimentError(f"the processes cannot be aggregated: {error}") from error


def aggregate_directory(state_dir: Path, n_processes: int) -> ExperimentResult:
    """The same from the files the processes left.

    Raises:
        ExperimentError: files are missing or torn; it says which.
    """
    return aggregate_processes(read_process_results(state_dir, n_processes))
