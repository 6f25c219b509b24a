"""What fields mean is written for each of them, once, and the schema of results says it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.meaning.fields import FIELDS, FORMULAS, definitions_in, rests_on
from llenergymeasure.domain.meaning.schema import classes_of, places_of, result_schema
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.results.persistence import as_written
from llenergymeasure.testing import fake_process_result
from tests.fakes.effort import examples
from tests.unit.results.conftest import values_of

SCHEMA = result_schema()
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
CLASSES = classes_of(SCHEMA)
# By the end of a name, the unit that it says; a longer end wins.
UNITS = {
    "_j": "J", "_w": "W", "_s": "s", "_sec": "s", "_ms": "ms", "_mb": "MB", "_pct": "%", "_c": "C",
    "_token_j": "J/token", "_request_j": "J/request", "_per_tflop": "J/TFLOP", "_per_second": "/s",
    "input_tokens": "tokens", "output_tokens": "tokens", "total_tokens": "tokens", "tokens_per_second": "tokens/s",
    "requests_per_second": "requests/s",
}  # fmt: skip


def test_every_field_has_a_meaning_and_nothing_else_has() -> None:
    assert {kind: list(fields) for kind, fields in FIELDS.items()} == {
        kind: sorted(part["properties"], key=list(FIELDS.get(kind, [])).index) for kind, part in CLASSES.items()
    }


@pytest.mark.parametrize("kind", FIELDS)
def test_a_meaning_is_a_sentence_and_its_unit_is_that_of_the_name(kind: str) -> None:
    for name, meaning in FIELDS[kind].items():
        assert meaning.text[0] in "`*[" or meaning.text[0].isupper() or meaning.text[0].isdigit(), name
        assert meaning.text.endswith("."), name
        assert "|" not in meaning.text, name
        ends = [end for end in UNITS if f"_{name}".endswith(end)]
        if ends:
            assert meaning.unit == UNITS[max(ends, key=len)], name


def test_a_formula_has_one_place_in_a_result() -> None:
    places = places_of(SCHEMA)
    with_formulas = {kind for kind, fields in FIELDS.items() if any(m.formula for m in fields.values())}
    found = {
        f"{place}.{name}" if place else name
        for kind in with_formulas
        for place in places.get(kind, [""])
        for name, meaning in FIELDS[kind].items()
        if meaning.formula
    }
    assert found == set(FORMULAS)


def test_versions_count_the_revisions_in_which_a_formula_changed() -> None:
    for place, formula in FORMULAS.items():
        assert list(formula.since) == sorted(set(formula.since)), place
        assert 1 <= formula.since[0] <= formula.since[-1] <= SCHEMA_REVISION, place
    bound = FORMULAS["energy_uncertainty_j"]
    assert (bound.since, bound.version) == ((1, 5), 2)
    assert [bound.version_in(revision) for revision in (0, 1, 4, 5, 6)] == [None, 1, 1, 2, 2]


def test_the_primary_figure_in_the_schema() -> None:
    assert SCHEMA["properties"]["energy_per_output_token_j"] == {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "description": "The primary figure.",
        "unit": "J/token",
        "formula": "`total_energy_j` / `output_tokens`; `null` without output tokens",
        "definition": 1,
    }
    assert "](" not in json.dumps(SCHEMA)


@pytest.fixture
def written() -> dict[str, Any]:
    """What is in the file of a small result."""
    raw = fake_process_result(ExperimentPlan.of(ExperimentConfig(model="m")))
    values: dict[str, Any] = json.loads(as_written(ExperimentResult.from_processes([raw])))
    return values


def test_a_result_names_the_definitions_it_was_made_with(written: dict[str, Any]) -> None:
    assert written["definitions"] == {place: formula.version for place, formula in FORMULAS.items()}
    VALIDATOR.validate(written)


@settings(max_examples=examples(60), deadline=None)
@given(values_of(ExperimentResult), st.integers(1, SCHEMA_REVISION))
def test_whatever_is_written_is_what_the_schema_says(result: ExperimentResult, revision: int) -> None:
    # Of a result of before to which something was joined the definitions are those of before.
    assert_valid(
        result.model_copy(update={"schema_revision": SCHEMA_REVISION, "definitions": definitions_in(revision)})
    )


def assert_valid(result: ExperimentResult) -> None:
    VALIDATOR.validate(json.loads(as_written(result)))


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "2.1"}, {"schema_revision": SCHEMA_REVISION + 1}, {"schema_revision": None},
        {"total_energy_j": "12"}, {"n_requests": 1.5}, {"energy_interval_j": [1.0]}, {"of_nobody_j": 1.0},
        {"definitions": {"total_energy_j": 0}}, {"definitions": {"total_energy_j": 2}}, {"definitions": {"x_j": 1}},
        {"energy_devices": [{"device": "GPU-0"}]}, {"validity": "fine"},
    ],
)  # fmt: skip
def test_what_is_no_result_is_none_by_the_schema(change: dict[str, Any], written: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(written)
    assert not VALIDATOR.is_valid(written | change)


@pytest.mark.parametrize("gone", ["energy_uncertainty_j", "definitions", "validity"])
def test_a_field_that_is_not_there_is_missed(gone: str, written: dict[str, Any]) -> None:
    del written[gone]
    assert not VALIDATOR.is_valid(written)


_TOTAL = {"total_energy_j", "energy_devices.energy_j"}
_FLOPS = {"flops_result.prefill", "flops_result.decode"}
_LATENCIES = {"latency_stats.ttft_s", "latency_stats.e2e_s"}


@pytest.mark.parametrize(
    ("place", "others"),
    [
        ("energy_per_output_token_j", _TOTAL),
        ("energy_adjusted_j", {"energy_breakdown.adjusted_j", "energy_breakdown.raw_j", *_TOTAL}),
        ("energy_host_j", {"energy_devices.energy_j"}),
        ("energy_host_uncertainty_j", {"energy_devices.uncertainty_j"}),
        ("joules_per_tflop", _TOTAL | _FLOPS),
        ("mfu", {"duration_sec", *_FLOPS}),
        ("tokens_per_second", {"duration_sec"}),
        ("baseline_power_w", {"energy_breakdown.baseline_power_w"}),
        ("phases.decode", {"phases.prefill"}),
        ("latency_stats.tpot_s", _LATENCIES),
        ("latency_stats.itl_s", set()),
    ],
)
def test_a_figure_rests_on_the_formulas_of_all_that_is_in_its_own(place: str, others: set[str]) -> None:
    assert rests_on(place) == {place, *others}


def test_what_is_read_rests_on_no_formula() -> None:
    assert rests_on("output_tokens") == rests_on("energy_devices.device") == frozenset()
