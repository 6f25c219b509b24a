"""Results as Python shows them: so that they fit a screen."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.domain.study.summary import MetricSummary, StudySummary, SummaryRow
from llenergymeasure.testing import fake_process_result


def measured(**fields: object) -> ExperimentResult:
    """80 J over one request of 4 output tokens in 2 s."""
    device = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=80.0, source="counter", uncertainty_j=1.5)
    energy = EnergyMeasurement(80.0, 2.0, 2, devices=(device,))
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m", name="a run")))
    known = {"energy": energy, "energy_backend": "nvml", "measurement_warnings": ()}
    return ExperimentResult.from_processes([raw.model_copy(update={**known, **fields})])


def test_a_result_is_four_lines() -> None:
    result = measured().kept_in(Path("results/a-run"))
    assert repr(result) == str(result)
    assert repr(result).splitlines() == [
        "<ExperimentResult a run: 1 requests",
        "  80.0 J, 20.0 J per output token, sensed: citable",
        "  4 output tokens in 2.00 s, 2.00 per s",
        "  in results/a-run>",
    ]


def test_without_energy_and_folder_that_is_said() -> None:
    said = repr(measured(energy=None, energy_backend=None)).splitlines()
    assert said[1] == "  no energy: not citable (energy_unavailable)"
    assert said[3] == "  in no folder>"


def test_whatever_a_name_is_a_result_has_four_lines_of_a_screen() -> None:
    lines = repr(measured(name="x\n" * 5000)).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 104


def study_of(n: int) -> StudyResult:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    results = [measured(name=f"run {i}") for i in range(n)]
    return StudyResult(name="s", start_time=now, end_time=now, experiments=results, failures=[])


def test_a_study_of_hundreds_fits_a_screen() -> None:
    lines = repr(study_of(300)).splitlines()
    assert len(lines) == 23
    assert lines[0] == "<StudyResult s: 300 results, 0 failed"
    assert lines[1] == "  run 0: 80.0 J, 20.0 J per output token, sensed, 2.00 tok/s"
    assert lines[-2:] == ["  and 280 more", "  in no folder>"]


def test_a_small_study_is_shown_whole() -> None:
    assert len(repr(study_of(2)).splitlines()) == 4


def test_repeats_are_a_line_for_each_configuration() -> None:
    metrics = {
        "energy_per_output_token_j": MetricSummary(n=5, value=20.0, low=19.5, high=20.5),
        "tokens_per_second": MetricSummary(n=5, value=2.0),
    }
    none = {name: MetricSummary(n=0) for name in metrics}
    row = SummaryRow(
        number=1, configuration=0, config_hash="0" * 16, name="a run", is_named=False,
        settings={"pytorch.batch_size": 4}, machine=None, n_planned=5, n_finished=5, n_failed=0, metrics=metrics,
    )  # fmt: skip
    failed = replace(row, number=2, settings={}, n_finished=0, n_failed=5, metrics=none)
    summary = StudySummary(name="s", reference=0, n_planned=150, n_finished=5, n_failed=5, rows=(row, failed))
    lines = repr(study_of(2).model_copy(update={"summary": summary})).splitlines()
    assert lines[1:3] == [
        "  batch_size 4: 20.0 +- 0.5 J per output token, 2.00 tok/s (n=5)",
        "  a run: no figures (n=0)",
    ]
    many = replace(summary, rows=(row,) * 300)
    assert len(repr(study_of(2).model_copy(update={"summary": many})).splitlines()) == 23
