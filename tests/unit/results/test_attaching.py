"""A meter's log that joins a result: the same window, nothing measured is touched, and what cannot be is refused."""

import hashlib
import json
import math
import shutil
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest
from click.testing import CliRunner

from llenergymeasure.cli.attach import attach_command
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.attaching import attach_log
from llenergymeasure.results.meter_log import MeterLog
from llenergymeasure.results.persistence import load_result, save_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.results.verification.verify import verify
from llenergymeasure.testing import fake_process_result
from tests.unit.results.recorded import GOLDEN

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


@pytest.mark.parametrize("name", ["revision-1/gpus", "revision-3/quickstart"])
def test_a_result_of_an_earlier_revision_stays_one(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / name, folder)
    before = load_result(folder)
    start_s, seconds = before.start_time.timestamp(), before.duration_sec
    meter = [(start_s + at_s, 10_000.0) for at_s in range(-2, math.ceil(seconds) + 3)]
    attach_log(folder, log(tmp_path, meter))
    after = load_result(folder)
    assert after.schema_revision == before.schema_revision
    assert after.energy_devices[-1].scope == "wall"
    assert caplog.text == ""
    assert verify(folder).agrees


def test_a_ramp_is_interpolated_at_the_edges(run: Path, tmp_path: Path) -> None:
    # 400 W at -0.75 s, rising by 40 W a second: from 430 to 510 W over the window, 940 J.
    ramp = [(START_S - 0.75 + i * 0.5, 400 + 20 * i) for i in range(8)]
    joined = attach_log(run, log(tmp_path, ramp))
    assert joined.energy_devices[-1].energy_j == pytest.approx(940.0)


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
    at = [START + timedelta(seconds=s) for s in (-1, 0, 0.5, 1, 1.5, 2, 3)]
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
        (every(0.5, 1.0), "time;W", "separated by semicolons"),
        (every(0.5, 1.0), "time\tW", "separated by tabs"),
        (every(0.5, 450.0), "time,W,w", "2 columns are called W"),
        (every(0.5, 450.0), "time,W,Time", "2 columns are called time"),
        ([*every(0.5, 450.0, to_s=1.5), (START_S + 2, "450,5")], "time,W", "meter.csv:8: the line has 3 cells"),
        (every(0.5, 450.0), "time,W,V", "meter.csv:2: the line has 2 cells and the header 3"),
        ([(START_S, '"450,5"')], "time,W", "its comma has to be a point"),
        ([(START_S, "4_50")], "time,W", "meter.csv:2: W is '4_50'"),
        ([(START_S, "\u0664\u0665\u0660")], "time,W", "meter.csv:2: W is"),
        ([("1_767_225_600", 1)], "time,W", "meter.csv:2: time is '1_767_225_600'"),
        ([(START_S, "inf")], "time,W", "meter.csv:2: W is 'inf'"),
        ([(START_S, "1e999")], "time,W", "meter.csv:2: W is '1e999'"),
        ([(START_S, 1_000_001)], "time,W", "no power from 0 to 1,000,000 W"),
        ([("1e300", 1)], "time,W", "not from 2000 to 2100"),
        ([(5, 1)], "time,W", "not from 2000 to 2100"),
        ([(round(START_S * 1000), 1)], "time,W", "these look like milliseconds"),
        (every(4.0, 450.0), "time,W", "its readings are 4 s apart, over a quarter of the window of 2 s"),
        (every(0.6, 450.0), "time,W", "its readings are 0.6 s apart"),
        (every(0.5, 0.0), "time,W", "it has 0 J in the window"),
        (every(0.5, 299.0), "time,W", "598 J +-0 J in the window, and sensors in the machine saw 600 J +-0 J"),
        ([], "time,W", "it has no readings"),
        (every(0.5, 1.0, to_s=1.5), "time,W", "its last 0.5 s before the end"),
        (every(0.5, 1.0, from_s=0.5), "time,W", "its first reading is 0.5 s after the start"),
        ([*every(0.1, 1.0, to_s=0.5), *every(0.1, 1.0, from_s=1.0)], "time,W", "a gap of 0.5 s in the window"),
        ([(START_S, 1.0), (START_S, 1.0)], "time,W", "meter.csv:3: the reading is not later"),
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


def test_the_file_that_was_named_is_the_one_that_is_written(run: Path, tmp_path: Path) -> None:
    first = (run / "result.json").read_bytes()
    other = run / "other.json"
    other.write_bytes(first)
    attach_log(other, log(tmp_path, every(0.5, 450.0)))
    assert (run / "result.json").read_bytes() == first
    assert len(json.loads(other.read_text())["attached_logs"]) == 1


def test_a_link_stays_one_and_its_file_is_written(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    (run / "result.json").rename(kept)
    (run / "result.json").symlink_to(kept)
    attach_log(run, log(tmp_path, every(0.5, 450.0)))
    assert (run / "result.json").is_symlink()
    assert len(json.loads(kept.read_text())["attached_logs"]) == 1


def test_a_link_from_elsewhere_leads_to_a_result_whose_sums_follow(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark_done(run)
    link = tmp_path / "link.json"
    link.symlink_to(run / "result.json")
    attach_log(link, log(tmp_path, every(0.5, 450.0)))
    assert len(load_result(link).attached_logs) == len(load_result(run).attached_logs) == 1
    assert caplog.text == ""


def test_a_link_out_of_a_folder_with_sums_is_refused(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    (run / "result.json").rename(kept)
    (run / "result.json").symlink_to(kept)
    mark_done(run)
    before = kept.read_bytes()
    with pytest.raises(ConfigError, match=r"it is a link to .*kept.json, and sums in DONE"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))
    assert kept.read_bytes() == before


def test_a_wall_may_have_less_than_was_sensed_by_what_the_bounds_leave_open(run: Path, tmp_path: Path) -> None:
    written = json.loads((run / "result.json").read_text())
    written["energy_devices"][0]["uncertainty_j"] = 4.0
    (run / "result.json").write_text(json.dumps(written))
    # 2 J less than the GPU's 600 J, which are 600 +-4.
    assert attach_log(run, log(tmp_path, every(0.5, 299.0))).energy_host_j == pytest.approx(598.0)


def test_parts_beside_the_headline_count_too(run: Path, tmp_path: Path) -> None:
    written = json.loads((run / "result.json").read_text())
    cpu = {"device": "package-0", "kind": "cpu", "energy_j": 310.0, "headline": False, "sensor": "rapl"}
    written["energy_devices"].append({**written["energy_devices"][0], **cpu})
    (run / "result.json").write_text(json.dumps(written))
    # The GPU alone has 600 J, GPU and CPU 910 J; the wall 900 J.
    with pytest.raises(ConfigError, match="sensors in the machine saw 910 J"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))


@pytest.mark.parametrize("offset", ["nan", "inf", "-inf"])
def test_an_offset_that_is_no_number_is_refused(run: Path, tmp_path: Path, offset: str) -> None:
    file = log(tmp_path, every(0.5, 450.0))
    found = CliRunner().invoke(attach_command, [str(run), str(file), "--offset-s", offset], standalone_mode=False)
    assert isinstance(found.exception, ConfigError)
    assert found.exception.exit_code == 2
    assert str(found.exception) == f"--offset-s: {offset} is no number of seconds"


def test_a_result_without_a_window_is_refused(run: Path, tmp_path: Path) -> None:
    written = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**written, "end_time": written["start_time"]}))
    with pytest.raises(ConfigError, match="there is no window"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))


def test_of_a_long_log_only_what_is_near_the_window_is_held(tmp_path: Path) -> None:
    # 50,000 seconds with a reading each, and a window of four in their middle.
    file = log(tmp_path, [(START_S + i, 450) for i in range(50_000)])
    tracemalloc.start()
    try:
        held = MeterLog.read(file, UTC, START_S + 25_000.5, START_S + 25_004.5)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert list(held.time_s) == [START_S + 25_000 + i for i in range(6)]
    assert (held.first_s, held.last_s) == (START_S, START_S + 49_999)
    # The file alone has 0.8 MB.
    assert peak_bytes < 300_000


def test_a_second_log_is_refused(run: Path, tmp_path: Path) -> None:
    file = log(tmp_path, every(0.5, 450.0))
    attach_log(run, file)
    with pytest.raises(ConfigError, match="has a reading at the wall already"):
        attach_log(run, file)


def test_the_sums_beside_a_result_are_written_anew(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "log.txt").write_text("as it was")
    mark_done(run)
    (run / "log.txt").write_text("damaged since")
    attach_log(run, log(tmp_path, every(0.5, 450.0)))
    assert json.loads((run / "DONE").read_text()) == {
        "log.txt": hashlib.sha256(b"as it was").hexdigest(),  # nothing is vouched for that was not written
        "result.json": hashlib.sha256((run / "result.json").read_bytes()).hexdigest(),
    }
    assert len(load_result(run).attached_logs) == 1
    assert caplog.text == ""


def test_nothing_is_joined_to_a_result_that_was_changed(run: Path, tmp_path: Path) -> None:
    mark_done(run)
    edited = (run / "result.json").read_text().replace("600.0", "500.0")
    (run / "result.json").write_text(edited)
    sums = (run / "DONE").read_bytes()
    with pytest.raises(ConfigError, match=r"result.json: it is not the file that was written"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))
    assert ((run / "result.json").read_text(), (run / "DONE").read_bytes()) == (edited, sums)


def test_a_result_of_a_later_version_is_refused(run: Path, tmp_path: Path) -> None:
    written = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**written, "schema_revision": 99}))
    with pytest.raises(ConfigError, match="would be lost"):
        attach_log(run, log(tmp_path, every(0.5, 450.0)))


@pytest.mark.parametrize("lines", ["t,p\n1,2\n", "time,W\n0,much\n", f"time,W\n{START_S},1\n{START_S},1\n"])
def test_who_keeps_the_error_of_a_log_keeps_no_file_open(run: Path, tmp_path: Path, lines: str) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(lines, encoding="utf-8")
    with pytest.raises(ConfigError) as kept:
        attach_log(run, file)
    opened = [each.path for each in psutil.Process().open_files()]
    assert (str(file) in opened, "meter.csv" in str(kept.value)) == (False, True)


def test_the_command_says_what_it_joined(run: Path, tmp_path: Path) -> None:
    file = log(tmp_path, every(0.5, 450.0))
    found = CliRunner().invoke(attach_command, [str(run), str(file)], standalone_mode=False)
    assert found.exception is None
    assert found.output.startswith("900 J at the wall")
    assert "the total stays 600 J" in found.output
    wrong = CliRunner().invoke(attach_command, [str(run), str(file), "--time-zone", "Mars"], standalone_mode=False)
    assert "no zone is called 'Mars'" in str(wrong.exception)
