"""Columns as points."""

from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.report.points import Points, points_within
from tests.fakes.studies import Study, of_batches

JOULES, SPEED, BATCH = "energy_per_output_token_j", "tokens_per_second", "pytorch.batch_size"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Batch sizes 8 and 16, three runs each."""
    study = Study.of(tmp_path / "a-study", of_batches(8, 16), 3)
    study.finish_all([78.0, 80.0, 82.0], [40.0] * 3)
    return study


def points_of(study: Study, x: str, y: str, by: str | None = None, **more: Any) -> Points:
    """The points of the study's folder."""
    return points_within([study.directory.path], (x, y, by), lambda _: None, **more)


def test_a_point_is_a_configuration_with_the_interval_of_its_mean(study: Study) -> None:
    found = points_of(study, BATCH, JOULES)
    assert found.told == "2 points, each a configuration; bars are 95 % intervals"
    assert (found.x, found.y) == ("pytorch.batch_size", "energy per output token (J/token)")
    first, second = found.points
    assert (first.x.value, first.x.low) == (8.0, None)
    # The geometric mean of 19.5, 20 and 20.5.
    assert first.y.value == pytest.approx((19.5 * 20 * 20.5) ** (1 / 3))
    assert first.y.low is not None
    assert first.y.low < 19.5
    assert second.y.value == pytest.approx(10.0)


def test_what_has_no_mean_makes_a_point_of_each_run(study: Study) -> None:
    assert points_of(study, BATCH, "ttft_mean_s").told == "2 points, each a configuration"
    found = points_of(study, "energy_interval_low_j", "total_energy_j", BATCH)
    assert found.told.startswith("6 points, each a run")
    assert found.series == ("8", "16")


def test_runs_are_drawn_where_that_is_asked_for(study: Study) -> None:
    found = points_of(study, SPEED, JOULES, each_run=True)
    assert sorted(point.y.value for point in found.points) == [10.0, 10.0, 10.0, 19.5, 20.0, 20.5]


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ("energy_per_output_tokens_j", SPEED, "energy_per_output_token_j"),
        ("batch_siz", SPEED, "batch_size"),
        ("validity", SPEED, r"--x validity: an axis takes numbers, and this has 'citable'"),
        (SPEED, "mfu", "--y mfu: no result has a value there"),
    ],
)
def test_a_column_that_cannot_be_drawn_is_refused(study: Study, x: str, y: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        points_of(study, x, y)


def test_joules_that_nobody_may_cite_are_doubted_and_other_figures_are_not(tmp_path: Path) -> None:
    study = Study.of(tmp_path / "modelled", of_batches(8))
    study.finish(study.slot(0), 80.0, device={"source": "modelled", "basis": "load", "kind": "cpu"})
    assert points_of(study, SPEED, JOULES).points[0].doubt == "modelled, not citable"
    assert points_of(study, SPEED, BATCH).points[0].doubt == ""
