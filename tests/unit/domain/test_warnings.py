"""Warnings as values, and what follows from them for the energy."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import FLAGS, UNNAMED, MeasurementWarning, Validity, validity_of
from tests.unit.domain.conftest import MakeProcess, gpu


def test_a_warning_is_written_with_its_flag_and_what_to_do() -> None:
    plain = MeasurementWarning("aliasing", "in step with the sensor")
    assert str(plain) == "aliasing: in step with the sensor"
    full = MeasurementWarning("aliasing", "in step", "measure for longer", "GPU-1", "process 1")
    assert str(full) == "aliasing: in step; measure for longer [process 1]"


@pytest.mark.parametrize(
    ("text", "flag", "rest"),
    [
        ("aliasing: in step: with: it; do", "aliasing", "in step: with: it; do"),
        ("two_words: x\ny", "two_words", "x\ny"),
        ("Too hot: stop", UNNAMED, "Too hot: stop"),
        ("hot", UNNAMED, "hot"),
        ("", UNNAMED, ""),
        ("a__b: x", UNNAMED, "a__b: x"),
    ],
)
def test_a_text_from_elsewhere_is_taken_for_what_it_says(text: str, flag: str, rest: str) -> None:
    found = MeasurementWarning.of(text)
    assert (found.flag, found.text, found.advice, found.device) == (flag, rest, "", None)


@given(st.text())
def test_any_text_is_a_warning_and_a_value_is_itself(text: str) -> None:
    found = MeasurementWarning.of(text)
    assert MeasurementWarning.of(found) is found
    assert text in str(found)


@pytest.mark.parametrize(
    ("flags", "verdict", "decided_by"),
    [
        ([], "citable", ()),
        (["dormant_fields", "prompts_truncated", "nobody_knows_me"], "citable", ()),
        (["dormant_fields", "gpu_throttled"], "questionable", ("gpu_throttled",)),
        (
            ["short_measurement_duration", "foreign_load"],
            "questionable",
            ("short_measurement_duration", "foreign_load"),
        ),
        (["gpu_throttled", "energy_modelled", "absurd_power"], "not_citable", ("energy_modelled", "absurd_power")),
        (["foreign_load_high", "foreign_load_high"], "not_citable", ("foreign_load_high",)),
    ],
)
def test_the_worst_flags_decide(flags: list[str], verdict: str, decided_by: tuple[str, ...]) -> None:
    assert validity_of(flags) == Validity(verdict=verdict, decided_by=decided_by)  # type: ignore[arg-type]


# As the rule is written: no energy, a model, a lost or absurd sensor, much foreign load, too many failed requests; and
# throttling, too short a window, disagreement, drift, a wide interval, some foreign load.
NOT_CITABLE = {
    "energy_unavailable", "energy_modelled", "absurd_power", "foreign_load_high", "requests_failed_above_share",
}  # fmt: skip
QUESTIONABLE = {
    "gpu_throttled", "short_measurement_duration", "few_sensor_periods", "counter_disagreement", "baseline_drift",
    "thermal_drift_detected", "wide_energy_bound", "foreign_load",
}  # fmt: skip


def test_the_table_holds_the_rule() -> None:
    assert {FLAGS[flag].verdict for flag in NOT_CITABLE} == {"not_citable"}
    assert {FLAGS[flag].verdict for flag in QUESTIONABLE} == {"questionable"}


def result_of(process: MakeProcess, *flags: str, energy_j: float | None = 50.0, **more: float) -> ExperimentResult:
    warnings = tuple(MeasurementWarning(flag, "seen") for flag in flags)
    return ExperimentResult.from_processes(
        [process(devices=[gpu("A", energy_j, **more)], measurement_warnings=warnings)]
    )


def test_a_result_says_it_and_names_the_flags(process: MakeProcess) -> None:
    found = result_of(process, "foreign_load", "dormant_fields")
    assert (found.validity, found.validity_flags) == ("questionable", ["foreign_load"])
    assert result_of(process).validity == "citable"


def test_without_energy_nothing_is_citable_whatever_was_said(process: MakeProcess) -> None:
    found = result_of(process, energy_j=None)
    assert (found.validity, found.validity_flags) == ("not_citable", ["energy_unavailable"])


@pytest.mark.parametrize(("bound_j", "flags"), [(2.5, []), (2.6, ["wide_energy_bound"])])
def test_a_bound_over_five_percent_is_wide(process: MakeProcess, bound_j: float, flags: list[str]) -> None:
    found = result_of(process, uncertainty_j=bound_j)
    assert [warning.flag for warning in found.warnings] == found.validity_flags == flags


def test_no_file_is_believed_that_calls_itself_citable(process: MakeProcess) -> None:
    written = json.loads(result_of(process, "energy_modelled").model_dump_json())
    forged = {**written, "validity": "citable", "validity_flags": []}
    assert ExperimentResult.model_validate(forged).validity == "not_citable"
    old = {name: value for name, value in written.items() if not name.startswith("validity")}
    assert ExperimentResult.model_validate(old).validity_flags == ["energy_modelled"]


def test_joules_that_rest_on_a_model_are_not_citable_whoever_forgot_to_say_so(process: MakeProcess) -> None:
    found = result_of(process, source="modelled")  # type: ignore[arg-type]
    assert (found.validity, found.validity_flags) == ("not_citable", ["energy_modelled"])
    again = ExperimentResult.model_validate_json(found.model_dump_json())
    assert again.validity_flags == ["energy_modelled"]
