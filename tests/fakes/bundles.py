"""Folders of results as a run leaves them, from what processes measured."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.process_files import write_process_result
from tests.fakes.damages import sums_written


def bundle_of(folder: Path, raws: Sequence[RawProcessResult]) -> ExperimentResult:
    """Write everything that [n] processes come to into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    result = aggregate_processes(raws, write_sidecars(folder, raws))
    save_result(result, folder)
    for raw in raws:
        write_process_result(raw, folder / ".state")
    sums_written(folder)
    return result
