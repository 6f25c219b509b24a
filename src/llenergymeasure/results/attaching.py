"""Joining what a meter logged to a result that is there already."""

import json
import math
from datetime import UTC, tzinfo
from pathlib import Path

from pydantic_core import to_json

from llenergymeasure._files import read_regular
from llenergymeasure.domain.energy.attached import AttachedLog
from llenergymeasure.domain.energy.host_energy import HostEnergy
from llenergymeasure.domain.metrics import DeviceEnergy, counted_devices
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.meter_log import LoggedEnergy, MeterLog
from llenergymeasure.results.persistence import MOST_BYTES, load_result, result_file, result_text
from llenergymeasure.results.sums import DONE_FILE, finish_rewriting, rewrite

# What stands for a sensor in the row of a log.
_SENSOR = "attached"
_CHANGED = ("energy_devices", "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope", "attached_logs")


def attach_log(path: Path, log_file: Path, *, offset_s: float = 0.0, zone: tzinfo = UTC) -> ExperimentResult:
    """Add the energy that a meter at the wall logged over a result's window, and write file and ``DONE`` anew.

    The total and all that follows from it stay as they were measured; the log is a row of scope ``wall`` beside it and
    ``energy_host_j``.

    Args:
        path: as for ``load_result``, or the file of a result under any name. Where that is a link, the file it leads to
            is written.
        log_file: the meter's CSV.
        offset_s: how far the meter's clock was ahead of the machine's, in seconds.
        zone: that of times in the log which name none.

    Raises:
        ConfigError: the result or the log cannot be read, they do not go together, the result has such a row or is not
            the one that was written, or the log has less than what was sensed in the machine.
        OSError: the result cannot be written; the old one is still there.
    """
    if not math.isfinite(offset_s):
        raise config_error(f"--offset-s: {offset_s} is no number of seconds")
    named = result_file(path)
    # A link stays one.
    file = named.resolve()
    _finish_rewriting(file)
    result = load_result(named)
    _check(result, named, file)
    start_s, end_s = (second + offset_s for second in _window_s(result, named))
    log = MeterLog.read(log_file, zone, start_s, end_s)
    found = log.energy()
    _check_against_sensed(found, result, log.file)
    row = _row(found, log)
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
            "energy_devices": rows,
            "energy_host_j": host.energy_j if host else None,
            "energy_host_uncertainty_j": host.uncertainty_j if host else None,
            "energy_host_scope": host.scope if host else None,
            "attached_logs": (*result.attached_logs, about),
        }
    )
    rewrite(file, _with_changes(file, joined))
    return joined


def _finish_rewriting(file: Path) -> None:
    """Where a log was being attached when the process was killed, that is done to its end."""
    try:
        finish_rewriting(file)
    except OSError as error:
        raise config_error(f"result {file}: cannot be read: {error.strerror or error}") from None


def _with_changes(file: Path, joined: ExperimentResult) -> str:
    """The text of a result with what a log adds, and everything else as it was written, its revision too."""
    written = json.loads(read_regular(file, MOST_BYTES))
    changed = json.loads(result_text(joined))
    new = {**written, **{name: changed[name] for name in _CHANGED}}
    return to_json(new, indent=2, inf_nan_mode="null").decode() + "\n"


def _row(found: LoggedEnergy, log: MeterLog) -> DeviceEnergy:
    return DeviceEnergy(
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
        duration_sec=log.end_s - log.start_s,
    )


def _check(result: ExperimentResult, file: Path, target: Path) -> None:
    if file.parent.resolve() != target.parent and (file.parent / DONE_FILE).exists():
        raise config_error(
            f"result {file}: it is a link to {target}, and sums in {DONE_FILE} beside the link would no longer hold; "
            "give the file it leads to"
        )
    if result.schema_revision > SCHEMA_REVISION:
        raise config_error(
            f"result {file} is of revision {result.schema_revision}, and this version knows {SCHEMA_REVISION}: what it "
            "does not know would be lost"
        )
    known = next((row.device for row in result.energy_devices if row.covers == "wall"), None)
    if known is not None:
        raise config_error(f"result {file}: it has a reading at the wall already, {known}")


def _window_s(result: ExperimentResult, file: Path) -> tuple[float, float]:
    """Unix seconds of the window's ends."""
    try:
        start_s, end_s = result.start_time.timestamp(), result.end_time.timestamp()
    except (ValueError, OverflowError, OSError):
        start_s = end_s = 0.0  # a date that no clock has
    if end_s <= start_s:
        raise config_error(f"result {file}: from {result.start_time} to {result.end_time} there is no window")
    return start_s, end_s


def _check_against_sensed(found: LoggedEnergy, result: ExperimentResult, log: str) -> None:
    """All that a machine takes passes its plug: sensors in it cannot have seen more than the meter."""
    advice = (
        "see --offset-s, --time-zone, whether W is in watts (not kW), and whether all of the machine is at that meter"
    )
    if found.energy_j <= 0:
        raise config_error(f"meter log {log}: it has 0 J in the window, and a machine that runs takes some; {advice}")
    inside_j, bound_j = _sensed_j(result)
    if found.energy_j + found.uncertainty_j < inside_j - bound_j:
        raise config_error(
            f"meter log {log}: it has {found.energy_j:.4g} J +-{found.uncertainty_j:.3g} J in the window, and sensors "
            f"in the machine saw {inside_j:.4g} J +-{bound_j:.3g} J; {advice}"
        )


def _sensed_j(result: ExperimentResult) -> tuple[float, float]:
    """What was sensed in the machine, by the headline or over its parts, whichever says more; and its bound."""
    rows = [row for row in counted_devices(result.energy_devices) if row.source != "modelled"]
    # What has no figure took at least nothing.
    sums = [(sum(row.energy_j or 0.0 for row in rows), sum(row.uncertainty_j or 0.0 for row in rows))]
    host = HostEnergy.of(result.energy_devices, result.duration_sec, len(result.environment_snapshot.gpus))
    if host is not None:
        sums.append((host.energy_j, host.uncertainty_j or 0.0))
    return max(sums, key=lambda figure: figure[0] - figure[1])
