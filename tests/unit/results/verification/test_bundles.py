"""Whole folders of results worked out again, and what is said of those that cannot be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.energy_backends.hwmon import HwmonBackend
from llenergymeasure.core.energy_backends.rapl import RAPLBackend
from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.domain.machine.place import Job
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import FLAGS, MeasurementWarning
from llenergymeasure.results.verification import schema, validity
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.verify import in_lines, verify
from llenergymeasure.testing import FakeClock, fake_process_result
from tests.fakes import hwmon, rapl
from tests.fakes.bundles import bundle_of
from tests.fakes.damages import sums_written
from tests.unit.core.window.test_run import Bench

PLAN = ExperimentPlan.of(ExperimentConfig(model="m"))
GOLDEN = Path(__file__).parents[3] / "golden"
SHORT = MeasurementWarning("short_measurement_duration", "2 s")


def raw_of(**fields: Any) -> RawProcessResult:
    """Two seconds of one process; what it took in time of day is what its own clock says."""
    raw = fake_process_result(PLAN)
    ended = raw.start_time.replace(second=raw.start_time.second + 2)
    warnings = (*raw.measurement_warnings, SHORT)
    warmup = replace(raw.warmup_result, latencies_ms=(2000.0,))
    update = {"end_time": ended, "measurement_warnings": warnings, "warmup_result": warmup, **fields}
    return raw.model_copy(update=update)


def wrong(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings if finding.kind != "not verifiable"]


def unverifiable(report: Report) -> set[str]:
    return {finding.name for finding in report.findings if finding.kind == "not verifiable"}


def test_a_result_without_any_sensor_agrees_and_says_what_nobody_can_tell(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_of()])
    report = verify(tmp_path)
    assert wrong(report) == []
    assert unverifiable(report) == {"reproducibility_notes"}
    assert report.n_agreed > 100
    assert list(in_lines(report))[-1].endswith(f"agrees: {report.n_agreed} figures derived again, 1 not verifiable")


@pytest.mark.parametrize("parallelism", ["data", "tensor"])
def test_several_processes_agree(parallelism: str, tmp_path: Path) -> None:
    raws = []
    for index in range(2):
        raw = raw_of(process_index=index, n_processes=2, parallelism=parallelism)
        request = raw.requests[0]
        if parallelism == "data":
            request = replace(request, index=index)
        raws.append(raw.model_copy(update={"requests": (request,)}))
    result = bundle_of(tmp_path, raws)
    assert result.n_requests == (2 if parallelism == "data" else 1)
    assert wrong(verify(tmp_path)) == []


@pytest.mark.parametrize(
    "measurement", [{}, {"methodology": "windowed", "window_start_s": 2.0, "window_length_s": 4.0}]
)
def test_a_window_that_cuts_through_requests_has_the_tokens_that_came_in_it(
    measurement: dict[str, Any], tmp_path: Path
) -> None:
    result = bundle_of(tmp_path, [Bench().run(**measurement)])
    # A second a step, two at a time: all 16 tokens, or those of the four seconds from 3 s on.
    assert result.output_tokens == (8 if measurement else 16)
    report = verify(tmp_path)
    assert wrong(report) == []
    # The sensor keeps no readings.
    assert unverifiable(report) == {"reproducibility_notes", "energy_devices[0].energy_j"}


def measured_by(sensor: Any, clock: FakeClock, during: Any) -> EnergyMeasurement:
    """Two seconds of a sensor's window; what it watches in between is the test's."""
    with Tracking(sensor) as tracking:
        tracking.begin_now()
        during(clock)
        tracking.end_now()
    return tracking.measurement


def with_energy(energy: EnergyMeasurement, name: str) -> RawProcessResult:
    seconds = energy.duration_sec
    raw = raw_of(energy=energy, energy_backend=name, measurement_warnings=(SHORT, *energy.warnings))
    return raw.model_copy(update={"window_end_s": raw.window_start_s + seconds})


def test_a_counter_of_a_package_is_unwound_where_it_goes_round(tmp_path: Path) -> None:
    root = tmp_path / "powercap"
    root.mkdir()
    # 5 J before it goes round.
    zone = rapl.Zone(root, "intel-rapl:0", "package-0", energy_uj=rapl.RANGE_UJ - 5_000_000)
    zone.limit(100.0)
    clock = FakeClock(10.0)

    def work(clock: FakeClock) -> None:
        clock.time_s += 2.0
        zone.use(60.0)

    energy = measured_by(RAPLBackend(root, clock=clock), clock, work)
    assert energy.total_j == pytest.approx(60.0)
    folder = tmp_path / "bundle"
    result = bundle_of(folder, [with_energy(energy, "rapl")])
    assert result.trace == "trace.parquet"
    assert wrong(verify(folder)) == []
    assert "energy_devices[0].energy_j" not in unverifiable(verify(folder))
    # A figure that is another in all of its places is no longer what was read.
    scaled = replace(
        energy,
        total_j=66.0,
        uncertainty_j=None,
        devices=tuple(replace(row, energy_j=66.0, uncertainty_j=None) for row in energy.devices),
    )
    bundle_of(folder, [with_energy(scaled, "rapl")])
    (found, bound) = (line for line in wrong(verify(folder)) if "energy_devices[0]" in line)
    assert found == "differs: energy_devices[0].energy_j: the file says 66, derived 60"
    assert "uncertainty_j" in bound


@pytest.mark.parametrize("wrong_uj", ["900000000", "262000000000"])
def test_a_read_of_a_counter_that_cannot_be_is_passed_over(wrong_uj: str, tmp_path: Path) -> None:
    root = tmp_path / "powercap"
    root.mkdir()
    zone = rapl.Zone(root, "intel-rapl:0", "package-0", energy_uj=1_000_000_000)
    zone.limit(100.0)
    clock = FakeClock(10.0)
    sensor = RAPLBackend(root, clock=clock)
    tracker = sensor.start_tracking()
    for joules in (50.0, None, 50.0):
        clock.time_s += 1.0
        if joules is None:
            zone.say(wrong_uj)
        else:
            zone.use(joules)
        tracker.watch.look()
    found = sensor.stop_tracking(tracker)
    assert found.total_j == pytest.approx(100.0)
    rows = tuple(replace(row, sensor="rapl", duration_sec=found.duration_sec, headline=True) for row in found.devices)
    raw = with_energy(replace(found, devices=rows), "rapl")
    ended = raw.start_time.replace(second=raw.start_time.second + 3)
    bundle_of(tmp_path / "b", [raw.model_copy(update={"end_time": ended})])
    report = verify(tmp_path / "b")
    assert [line for line in wrong(report) if "energy" in line] == []
    assert "energy_devices[0].energy_j" not in unverifiable(report)


def test_power_of_a_meter_is_integrated_again(tmp_path: Path) -> None:
    root = tmp_path / "hwmon"
    meter = hwmon.Meter(root, "hwmon0", "Grace Power Socket 0", 80.0)
    clock = FakeClock(10.0)
    sensor = HwmonBackend(root, clock=clock)
    tracker = sensor.start_tracking()
    for watts in (80.0, 80.0, 80.0):
        clock.time_s += 1.0
        meter.show(watts)
        tracker.watch.look()
    energy = sensor.stop_tracking(tracker)
    rows = tuple(
        replace(row, sensor="hwmon", duration_sec=energy.duration_sec, headline=True) for row in energy.devices
    )
    energy = replace(energy, devices=rows)
    assert energy.total_j == pytest.approx(240.0)
    raw = with_energy(energy, "hwmon")
    ended = raw.start_time.replace(second=raw.start_time.second + 3)
    bundle_of(tmp_path / "b", [raw.model_copy(update={"end_time": ended})])
    report = verify(tmp_path / "b")
    assert [line for line in wrong(report) if "energy" in line] == []
    assert "energy_devices[0].energy_j" not in unverifiable(report)


def test_a_recorded_run_of_a_real_model_agrees() -> None:
    assert wrong(verify(GOLDEN / "revision-5" / "quickstart")) == []


def test_of_a_recorded_result_that_was_made_by_hand_what_does_not_hang_together_is_found() -> None:
    found = wrong(verify(GOLDEN / "revision-5" / "gpus"))
    assert len(found) == 7
    assert "differs: flops_result.value: the file says 16000000, derived 126000" in found


@pytest.mark.parametrize("folder", sorted(GOLDEN.glob("revision-[1-4]/*/")), ids=lambda f: f"{f.parent.name}-{f.name}")
def test_results_of_earlier_revisions_agree_as_far_as_they_can(folder: Path) -> None:
    report = verify(folder)
    assert wrong(report) == []
    assert {"DONE", ".state", "validity"} <= unverifiable(report)


def test_a_newer_result_is_not_judged(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_of()])
    written = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**written, "schema_revision": 9}))
    sums_written(tmp_path)
    assert wrong(verify(tmp_path)) == ["damaged: schema_revision: it is 9, and 8 is the last one known here"]


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("output_tokens", 5, "differs: output_tokens: the file says 5, derived 4"),
        ("validity", "citable", "differs: validity: the file says citable, derived not_citable"),
        ("duration_sec", 4.0, "differs: duration_sec: the file says 4, derived 2"),
        ("total_energy_j", 9.0, "differs: total_energy_j: the file says 9, derived None"),
        ("requests", "../other.parquet", "damaged: requests.parquet: result.json calls the file ../other.parquet"),
        ("n_requests", True, "damaged: n_requests: it is True, which is of another kind than it should be"),
    ],
)
def test_a_figure_that_was_edited_is_named(field: str, value: object, line: str, tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_of()])
    written = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**written, field: value}))
    assert "damaged: result.json: it is not what it was when DONE was written (SHA-256)" in wrong(verify(tmp_path))
    sums_written(tmp_path)
    assert line in wrong(verify(tmp_path))


def test_a_warning_that_is_taken_out_everywhere_is_missed_where_figures_ask_for_it(tmp_path: Path) -> None:
    bundle_of(tmp_path, [raw_of(measurement_warnings=fake_process_result(PLAN).measurement_warnings)])
    said = "there should be short_measurement_duration, by the figures of the file"
    assert any(said in line for line in wrong(verify(tmp_path)))


def test_what_is_no_result_is_told(tmp_path: Path) -> None:
    assert wrong(verify(tmp_path)) == ["damaged: result.json: there is no such file"]
    (tmp_path / "result.json").write_text("[1]")
    assert wrong(verify(tmp_path)) == ["damaged: result.json: it is no JSON object"]


def test_every_field_of_a_result_is_known_here() -> None:
    known = {**schema.FIELDS, **schema.LATER}
    # One that comes has to be derived, or held against the raw results.
    assert set(ExperimentResult.model_fields) <= set(known)
    required = {name for name, field in ExperimentResult.model_fields.items() if field.is_required()}
    assert required == set(schema.FIELDS)


def test_flags_have_the_verdicts_of_those_who_tell_them() -> None:
    by_verdict = {
        verdict: {flag for flag, of in FLAGS.items() if of.verdict == verdict}
        for verdict in ("not_citable", "questionable")
    }
    assert by_verdict == {"not_citable": set(validity.NOT_CITABLE), "questionable": set(validity.QUESTIONABLE)}


def in_a_job(flagged: bool, n_cpus: int | None = 2, **fields: Any) -> RawProcessResult:
    """80 J of a package of a host of four processors, measured by a job, with the flag or without."""
    row = DeviceEnergy(device="package-0", kind="cpu", energy_j=80.0, source="counter", uncertainty_j=1.0,
                       duration_sec=2.0, sensor="rapl", scope="package", **fields)  # fmt: skip
    told = [MeasurementWarning("neighbours_in_energy", "the work was given 2 CPUs")] if flagged else []
    energy = EnergyMeasurement(80.0, 2.0, 9, devices=(row,), uncertainty_j=1.0)
    raw = raw_of(energy=energy, energy_backend="rapl", measurement_warnings=(SHORT, *told))
    job = Job(scheduler="slurm", job_id="7", n_cpus=n_cpus)
    return raw.model_copy(update={"environment_snapshot": replace(raw.environment_snapshot, host="n1", job=job)})


@pytest.mark.parametrize("n_cpus", [2, None])
def test_a_job_that_has_a_part_of_its_host_has_a_flag_where_the_host_is_measured(
    tmp_path: Path, n_cpus: int | None
) -> None:
    result = bundle_of(tmp_path, [in_a_job(flagged=True, n_cpus=n_cpus)])
    assert (result.validity, "neighbours_in_energy" in result.validity_flags) == ("questionable", True)
    assert wrong(verify(tmp_path)) == []
    bundle_of(tmp_path / "without", [in_a_job(flagged=False, n_cpus=n_cpus)])
    found = wrong(verify(tmp_path / "without"))
    assert any("there should be neighbours_in_energy" in line for line in found)


def test_a_job_that_has_all_of_its_host_has_no_neighbours(tmp_path: Path) -> None:
    bundle_of(tmp_path, [in_a_job(flagged=False, n_cpus=4)])
    assert wrong(verify(tmp_path)) == []
    bundle_of(tmp_path / "with", [in_a_job(flagged=True, n_cpus=4)])
    told = "differs: measurement_warnings: neighbours_in_energy is told, and no figure of the file shows it"
    assert told in wrong(verify(tmp_path / "with"))


def test_a_file_of_before_says_nothing_of_its_place(tmp_path: Path) -> None:
    bundle_of(tmp_path, [in_a_job(flagged=True)])
    written = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**written, "schema_revision": 7}))
    sums_written(tmp_path)
    (said,) = (line for line in wrong(verify(tmp_path)) if "schema_revision" in line)
    assert said == "damaged: schema_revision: it is 7, and environment_snapshot.host came with 8"
