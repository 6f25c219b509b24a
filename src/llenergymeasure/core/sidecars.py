"""The files beside a result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.core.outputs_table import write_outputs_parquet
from llenergymeasure.core.requests_table import write_requests_parquet
from llenergymeasure.core.timeseries import write_timeseries_parquet
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.telemetry import PowerThermalSample

TIMESERIES_FILE = "timeseries.parquet"
REQUESTS_FILE = "requests.parquet"
OUTPUTS_FILE = "outputs.parquet"


@dataclass(frozen=True)
class Sidecars:
    """Names of the files that were written beside the result."""

    timeseries: str | None = None
    requests: str | None = None
    outputs: str | None = None


def write_sidecars(
    output_dir: Path, requests: Sequence[RequestOutput], samples: Sequence[PowerThermalSample], warnings: list[str]
) -> Sidecars:
    """Write the files; one that cannot be written is a warning, tokens that an engine did not tell have none."""
    sidecars: dict[str, tuple[str, Callable[[Path], object]]] = {
        "timeseries": (TIMESERIES_FILE, lambda path: write_timeseries_parquet(samples, path)),
        "requests": (REQUESTS_FILE, lambda path: write_requests_parquet(requests, path)),
    }
    if all(request.output_ids for request in requests):
        sidecars["outputs"] = (OUTPUTS_FILE, lambda path: write_outputs_parquet(requests, path))
    written: dict[str, str] = {}
    for key, (name, write) in sidecars.items():
        path = output_dir / name
        try:
            write(path)
            written[key] = name
        except OSError as error:
            path.unlink(missing_ok=True)
            warnings.append(f"sidecar_not_written: {name}: {error.strerror or error}; free space and run again")
    return Sidecars(**written)
