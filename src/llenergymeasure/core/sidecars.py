"""The files beside a result."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.core.requests_table import write_requests_parquet
from llenergymeasure.core.timeseries import write_timeseries_parquet
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.telemetry import PowerThermalSample

TIMESERIES_FILE = "timeseries.parquet"
REQUESTS_FILE = "requests.parquet"


@dataclass(frozen=True)
class Sidecars:
    """Names of the files that were written beside the result."""

    timeseries: str | None = None
    requests: str | None = None


def write_sidecars(
    output_dir: Path, requests: Sequence[RequestOutput], samples: Sequence[PowerThermalSample], warnings: list[str]
) -> Sidecars:
    """Write both files; one that cannot be written is a warning."""
    written: dict[str, str] = {}
    for key, name in (("timeseries", TIMESERIES_FILE), ("requests", REQUESTS_FILE)):
        path = output_dir / name
        try:
            if key == "timeseries":
                write_timeseries_parquet(samples, path)
            else:
                write_requests_parquet(requests, path)
            written[key] = name
        except OSError as error:
            path.unlink(missing_ok=True)
            warnings.append(f"sidecar_not_written: {name}: {error.strerror or error}; free space and run again")
    return Sidecars(**written)
