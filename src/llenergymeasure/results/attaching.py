"""Joining what a meter logged to a result that is there already."""

from datetime import UTC, tzinfo
from pathlib import Path

from llenergymeasure.domain.attached import AttachedLog
from llenergymeasure.domain.experiment import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.domain.host_energy import HostEnergy
from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.meter_log import MeterLog
from llenergymeasure.results.persistence import DONE_FILE, load_result, result_file, save_result

# What stands for a sensor in the row of a log.
_SENSOR = "attached"


def attach_log(path: Path, log_file: Path, *, offset_s: float = 0.0, zone: tzinfo = UTC) -> ExperimentResult:
    """Add the energy that a meter at the wall logged over a result's window, and write the result anew.

    The total and all that follows from it stay as they were measured; the log is a row of scope ``wall`` beside it and
    ``energy_host_j``.

    Args:
        path: as for ``load_result``; the folder of a single result.
        log_file: the meter's CSV.
        offset_s: how far the meter's clock was ahead of the machine's, in seconds.
        zone: that of times in the log which name none.

    Raises:
        ConfigError: the result or the log cannot be read, they do not go together, or the result has such a row.
        OSError: the result cannot be written; the old one is still there.
    """
    file = result_file(path)
    result = load_result(path)
    _check(result, file)
    log = MeterLog.read(log_file, zone)
    start_s, end_s = (moment.timestamp() + offset_s for moment in (result.start_time, result.end_time))
    found = log.energy(start_s, end_s)
    row = DeviceEnergy(
        device=f"meter of {log.file}",
        kind="host",
        energy_j=found.energy_j,
        source="integrated",
        uncertainty_j=found.uncertainty_j,
        update_period_s=found.every_s,
        field="W",
        sensor=_SENSOR,
        scope="wall",
        headline=False,
        duration_sec=end_s - start_s,
    )
    rows = (*result.energy_devices, row)
    host = HostEnergy.of(rows, result.duration_sec, len(result.environment_snapshot.gpus))
    about = AttachedLog(
        device=row.device,
        file=log.file,
        sha256=log.sha256,
        offset_s=offset_s,
        time_zone=str(zone),
        n_readings=found.n_readings,
    )
    joined = result.model_copy(
        update={
            "schema_revision": SCHEMA_REVISION,
            "energy_devices": rows,
            "energy_host_j": host.energy_j if host else None,
            "energy_host_uncertainty_j": host.uncertainty_j if host else None,
            "energy_host_scope": host.scope if host else None,
            "attached_logs": (*result.attached_logs, about),
        }
    )
    save_result(joined, file.parent)
    return joined


def _check(result: ExperimentResult, file: Path) -> None:
    if (file.parent / DONE_FILE).exists():
        raise ConfigError(f"result {file}: it is part of a study, whose sums in {DONE_FILE} would no longer hold")
    if result.schema_revision > SCHEMA_REVISION:
        raise ConfigError(
            f"result {file} is of revision {result.schema_revision}, and this version knows {SCHEMA_REVISION}: what it "
            "does not know would be lost"
        )
    known = next((row.device for row in result.energy_devices if row.covers == "wall"), None)
    if known is not None:
        raise ConfigError(f"result {file}: it has a reading at the wall already, {known}")
