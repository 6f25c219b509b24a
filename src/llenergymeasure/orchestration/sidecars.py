"""The files beside a result, written when all processes have ended, for one as for many."""

from collections.abc import Callable, Sequence
from pathlib import Path

from llenergymeasure.core.timeseries import write_timeseries_parquet
from llenergymeasure.domain.assembly import distinct_requests, distinct_samples, in_order
from llenergymeasure.domain.process import RawProcessResult, Sidecars
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import first_line
from llenergymeasure.results.tables import (
    OUTPUTS_FILE,
    REQUESTS_FILE,
    TIMESERIES_FILE,
    TRACE_FILE,
    write_outputs_parquet,
    write_requests_parquet,
)
from llenergymeasure.results.trace_table import write_trace_parquet


def _windows_s(raws: Sequence[RawProcessResult]) -> dict[int, tuple[float, float]]:
    """The window of each GPU by its index; of one of several processes from the first start to the last end."""
    windows: dict[int, tuple[float, float]] = {}
    for raw in raws:
        for index in {sample.gpu_index or 0 for sample in raw.samples}:
            start, end = windows.get(index, (raw.window_start_s, raw.window_end_s))
            windows[index] = min(start, raw.window_start_s), max(end, raw.window_end_s)
    return windows


def write_sidecars(output_dir: Path, raws: Sequence[RawProcessResult]) -> Sidecars:
    """Write what [n] processes saw; one that cannot be written is a warning.

    Tokens that no engine told have none, nor have readings that no sensor kept.
    """
    ordered = in_order(raws)
    requests, samples = distinct_requests(ordered), distinct_samples(ordered)
    start_s = min(raw.window_start_s for raw in ordered)
    writers: dict[str, Callable[[Path], object]] = {
        TIMESERIES_FILE: lambda path: write_timeseries_parquet(samples, path, windows_s=_windows_s(ordered)),
        REQUESTS_FILE: lambda path: write_requests_parquet(requests, path, start_s),
    }
    if all(request.output_ids for request in requests if request.succeeded):
        writers[OUTPUTS_FILE] = lambda path: write_outputs_parquet(requests, path)
    if any(raw.energy is not None and raw.energy.trace for raw in ordered):
        writers[TRACE_FILE] = lambda path: write_trace_parquet(ordered, path)
    written: set[str] = set()
    warnings: list[MeasurementWarning] = []
    for name, write in writers.items():
        path = output_dir / name
        try:
            write(path)
            written.add(name)
        except Exception as error:  # noqa: BLE001 - whatever a table's library raises, what was measured is kept
            why = getattr(error, "strerror", None) or first_line(error)
            warnings.append(MeasurementWarning("sidecar_not_written", f"{name}: {why}", "free space and run again"))

    def if_written(name: str) -> str | None:
        return name if name in written else None

    return Sidecars(
        timeseries=if_written(TIMESERIES_FILE),
        requests=if_written(REQUESTS_FILE),
        outputs=if_written(OUTPUTS_FILE),
        trace=if_written(TRACE_FILE),
        warnings=tuple(warnings),
    )
