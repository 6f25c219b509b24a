"""Columns of tables, and metrics of comparisons, have the units that a result's fields have."""

import pytest

from llenergymeasure.domain.meaning.fields import FIELDS
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.persistence import load_result
from llenergymeasure.results.rows.columns import FIXED
from llenergymeasure.results.rows.extraction import row_of
from tests.unit.results.recorded import GOLDEN

_UNITS = {name: meaning.unit for name, meaning in FIELDS["ExperimentResult"].items()}


def test_a_column_has_the_unit_of_its_field() -> None:
    units = {column.name: column.unit for column in FIXED if column.path == (column.name,) and column.unit}
    assert len(units) > 15
    assert units == {name: _UNITS[name] for name in units}


def test_a_metric_has_the_unit_of_its_field() -> None:
    units = {name: metric.unit for name, metric in METRICS.items() if name in _UNITS}
    assert len(units) > 10
    assert units == {name: _UNITS[name] for name in units}


def test_what_is_compared_of_a_load_stands_in_it() -> None:
    result, without = (load_result(GOLDEN / "revision-7" / name) for name in ("load", "gpus"))
    row, columns = row_of(result).values, {column.name: column.unit for column in FIXED}
    # 31 came in 20 s, 30 were good, and of 2202.1 J there are 143 good tokens.
    found = {"arrived_requests_per_second": 1.55, "goodput": 1.5, "joules_per_good_token": 2202.1 / 143}
    for name, value in found.items():
        assert METRICS[name].read(result) == row[name] == pytest.approx(value)
        assert METRICS[name].unit == columns[name]
        assert METRICS[name].read(without) is None
    assert METRICS["in_flight_mean"].read(result) == row["in_flight_mean"]
    promised = METRICS["goodput"].counted_by(result)
    assert (
        promised == METRICS["joules_per_good_token"].counted_by(result) == "promised TTFT 0.5 s, TPOT 0.25 s, E2E 2 s"
    )
    assert METRICS["goodput"].counted_by(without) is None
    assert METRICS["joules_per_good_token"].bound_pct(result) == pytest.approx(100 * 4 / 2202.1)
    assert (row["overloaded"], row["slo_met"], row["load_kind"]) == ("no", "yes", "rate")


def test_what_is_said_of_a_text_has_the_units_of_its_fields() -> None:
    of_a_text = {name: meaning.unit for name, meaning in FIELDS["QualityResult"].items()}
    columns = {column.name: column.unit for column in FIXED}
    for name in ("perplexity", "bits_per_byte"):
        assert columns[name] == METRICS[name].unit == of_a_text[name]
