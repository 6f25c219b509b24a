"""A meter's log that joins a result: the same window, nothing measured is touched, and what cannot be is refused."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from llenergymeasure.cli.attach import attach_command
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.experiment import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.attaching import attach_log
from llenergymeasure.results.persistence import mark_done, save_result
from llenergymeasure.testing import fake_process_result

START = datetime(2026, 1, 1, tzinfo=UTC)
START_S = START.timestamp()
GPU = DeviceEnergy(
    device="GPU-a", kind="gpu", energy_j=600.0, source="counter", sensor="nvml", headline=True, duration_sec=2.0
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A result of two seconds from midnight on, with 600 J of a GPU."""
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m")))
    update = {
        "energy": EnergyMeasurement(600.0, 2.0, 2, devices=(GPU,)),
        "energy_backend": "nvml",
        "start_time": START,
        "end_time": START + timedelta(seconds=2),
        "measurement_warnings": (),
    }
    folder = tmp_path / "run"
    folder.mkdir()
    save_result(ExperimentResult.from_processes([raw.model_copy(update=update)]), folder)
    return folder


def log(folder: Path, readings: Sequence[tuple[object, object]], header: str = "time,W") -> Path:
    path = folder / "meter.csv"
    path.write_text("\n".join([header, *(f"{time},{power}" for time, power in readings)]) + "\n")
    return path


def every(step_s: float, power_w: float, from_s: float = -1.0, to_s: float = 3.0) -> list[tuple[object, object]]:
    n = round((to_s - from_s) / step_s) + 1
    return [(START_S + from_s + i * step_s, power_w) for i in range(n)]


def test_the_energy_at_the_wall_stands_beside_the_total(run: Path, tmp_path: Path) -> None:
    before = ExperimentResult.from_json(run)
    file = log(tmp_path, every(0.5, 450.0))
    attach_log(run, file)
    after = ExperimentResult.from_json(run)
    row = after.energy_devices[-1]
    # 450 W for two seconds.
    assert row.energy_j == pytest.approx(900.0)
    assert (row.scope, row.headline, row.source, row.update_period_s) == ("wall", False, "integrated", 0.5)
    assert (after.energy_host_j, after.energy_host_scope) == (row.energy_j, "machine at the wall")
    (about,) = after.attached_logs
    assert (about.device, about.file, about.offset_s, about.time_zone) == (row.device, "meter.csv", 0.0, "UTC")
    assert about.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert after.schema_revision == SCHEMA_REVISION
    host = ("energy_devices", "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope", "attached_logs")
    unchanged = before.model_copy(update={name: getattr(after, name) for name in host})
    assert after == unchanged


def test_a_ramp_is_interpolated_at_the_edges(run: Path, tmp_path: Path) -> None:
    # 100 W at -0.75 s, rising by 40 W a second: from 130 to 210 W over the window, 340 J.
    ramp = [(START_S - 0.75 + i * 0.5, 100 + 20 * i) for i in range(8)]
    joined = attach_log(run, log(tmp_path, ramp))
    assert joined.energy_devices[-1].energy_j == pytest.approx(340.0)


def test_a_step_between_two_readings_is_in_the_bound(run: Path, tmp_path: Path) -> None:
    readings = [(START_S + t, 100 if t < 1 else 500) for t in (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5)]
    row = attach_log(run, log(tmp_path, readings)).energy_devices[-1]
    # The step lay somewhere from 0.5 to 1 s.
    assert row.energy_j is not None
    assert row.uncertainty_j is not None
    for true_j in (0.5 * 100 + 1.5 * 500, 1.0 * 100 + 1.0 * 500):
        assert abs(row.energy_j - true_j) <= row.uncertainty_j


def test_the_meters_clock_is_moved_by_its_offset(run: Path, tmp_path: Path) -> None:
    # The meter's clock is an hour and five seconds ahead; 300 W outside of the window, 450 W in it.
    at_s = [-1 + i * 0.5 for i in range(9)]
    moved = [(START_S + t + 3605, 450 if 0 <= t <= 2 else 300) for t in at_s]
    joined = attach_log(run, log(tmp_path, moved), offset_s=3605.0)
    assert joined.energy_devices[-1].energy_j == pytest.approx(900.0)
    assert joined.attached_logs[0].offset_s == 3605.0


def test_times_in_words_are_of_the_zone_that_is_given_or_of_their_own(run: Path, tmp_path: Path) -> None:
    at = [START + timedelta(seconds=s) for s in (-1, 0, 1, 2, 3)]
    berlin = ZoneInfo("Europe/Berlin")
    local = [(t.astimezone(berlin).replace(tzinfo=None).isoformat(sep=" "), 450) for t in at[:-1]]
    own = [(at[-1].isoformat(), 450)]
    joined = attach_log(run, log(tmp_path, [*local, *own]), zone=berlin)
    assert joined.energy_devices[-1].energy_j == pytest.approx(900.0)
    assert joined.attached_logs[0].time_zone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("readings", "header", "said"),
    [
        (every(0.5, 1.0), "time,power", "there is no column W"),
        (every(0.5, 1.0), "t;W", "there is no column time or W"),
        ([], "time,W", "it has no readings"),
        (every(0.5, 1.0, to_s=1.5), "time,W", "its last 0.5 s before the end"),
        (every(0.5, 1.0, from_s=0.5), "time,W", "its first reading is 0.5 s after the start"),
        ([*every(0.1, 1.0, to_s=0.5), *every(0.1, 1.0, from_s=1.0)], "time,W", "a gap of 0.5 s in the window"),
        ([(START_S, 1.0), (START_S, 1.0)], "time,W", "reading 2 is not later"),
        ([(START_S, "nan")], "time,W", "meter.csv:2: W is 'nan'"),
        ([(START_S, -1)], "time,W", "meter.csv:2: W is '-1'"),
        ([("yesterday", 1)], "time,W", "meter.csv:2: time is 'yesterday'"),
    ],
)
def test_what_cannot_be_is_refused_and_the_result_stays(
    run: Path, tmp_path: Path, readings: list[tuple[object, object]], header: str, said: str
) -> None:
    before = (run / "result.json").read_bytes()
    with pytest.raises(ConfigError) as raised:
        attach_log(run, log(tmp_path, readings, header))
    assert said in str(raised.value)
    assert (run / "result.json").read_bytes() == before


def test_a_second_log_is_refused(run: Path, tmp_path: Path) -> None:
    file = log(tmp_path, every(0.5, 450.0))
    attach_log(run, file)
    with pytest.raises(ConfigError, match="has a reading at the wall already"):
        attach_log(run, file)


def test_a_run_of_a_study_is_refused(run: Path, tmp_path: Path) -> None:
    mark_done(run)
    with pytest.raises(ConfigError, match="part of a study"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))


def test_a_result_of_a_later_version_is_refused(run: Path, tmp_path: Path) -> None:
    written = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**written, "schema_revision": 99}))
    with pytest.raises(ConfigError, match="would be lost"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))


def test_the_command_says_what_it_joined(run: Path, tmp_path: Path) -> None:
    file = log(tmp_path, every(0.5, 450.0))
    found = CliRunner().invoke(attach_command, [str(run), str(file)], standalone_mode=False)
    assert found.exception is None
    assert found.output.startswith("900 J at the wall")
    assert "the total stays 600 J" in found.output
    wrong = CliRunner().invoke(attach_command, [str(run), str(file), "--time-zone", "Mars"], standalone_mode=False)
    assert "no zone is called 'Mars'" in str(wrong.exception)
