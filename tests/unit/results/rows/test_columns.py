"""Columns of tables, and metrics of comparisons, have the units that a result's fields have."""

from llenergymeasure.domain.meaning.fields import FIELDS
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.rows.columns import FIXED

_UNITS = {name: meaning.unit for name, meaning in FIELDS["ExperimentResult"].items()}


def test_a_column_has_the_unit_of_its_field() -> None:
    units = {column.name: column.unit for column in FIXED if column.path == (column.name,) and column.unit}
    assert len(units) > 15
    assert units == {name: _UNITS[name] for name in units}


def test_a_metric_has_the_unit_of_its_field() -> None:
    units = {name: metric.unit for name, metric in METRICS.items() if name in _UNITS}
    assert len(units) > 10
    assert units == {name: _UNITS[name] for name in units}


def test_what_is_said_of_a_text_has_the_units_of_its_fields() -> None:
    of_a_text = {name: meaning.unit for name, meaning in FIELDS["QualityResult"].items()}
    columns = {column.name: column.unit for column in FIXED}
    for name in ("perplexity", "bits_per_byte"):
        assert columns[name] == METRICS[name].unit == of_a_text[name]
