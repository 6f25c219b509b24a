"""What may be said of how requests arrive, and what not."""

from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.models import ExperimentConfig


def config_of(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", **fields})


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ({}, "load: Value error, say how requests arrive: concurrency"),
        ({"duration_s": 5.0}, "load: Value error, say how requests arrive"),
        ({"rate": 1, "concurrency": 2}, "load.rate: Value error, rate cannot go with concurrency: 2; give one of them"),
        ({"max": True, "trace": "a.csv"}, "load.max: Value error, max cannot go with trace: a.csv; give one of them"),
        ({"rate": 1, "n": 5, "duration_s": 5}, "load.n: Value error, n cannot go with duration_s: 5.0; either ends"),
        ({"max": True, "duration_s": 5}, "load: duration_s cannot go with max: true"),
        ({"rate": 1, "duration_s": 5, "ramp_s": 5}, "load: ramp_s: 5 leaves nothing of duration_s: 5"),
        ({"rate": 1, "n": 5, "until_cv": 0.05}, "load.until_cv: Value error, until_cv cannot go with n: 5"),
        ({"rate": 0}, "load.rate: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(load: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config_of(load=load)
    told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in caught.value.errors()]
    assert any(each.startswith(said) for each in told), told


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"load": {"rate": 1}, "measurement": {"methodology": "windowed"}}, "load cannot go with measurement"),
        ({"load": {"rate": 1}, "phases": True}, "enabled: true cannot go with load"),
        ({"load": {"rate": 1}, "measurement": {"dither_s": 0.1}}, "load cannot go with measurement.dither_s"),
        ({"slo": {"e2e_p95_s": 1}}, "slo needs load"),
        ({"load": {"rate": 1}, "slo": {}}, "give at least one of ttft_p95_s, tpot_p95_s and e2e_p95_s"),
    ],
)
def test_what_does_not_go_with_a_load(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config_of(**fields)


def test_a_load_is_in_the_identity_and_a_promise_is_not() -> None:
    plain, loaded = config_of(), config_of(load={"rate": 2})
    assert "load" not in plain.identity()
    assert loaded.identity()["load"]["rate"] == 2
    assert not plain.equivalent_to(loaded)
    assert loaded.equivalent_to(config_of(load={"rate": 2}, slo={"ttft_p95_s": 0.5}))


def test_what_changes_nothing_is_told() -> None:
    found = config_of(load={"rate": 2, "burstiness": 0.5, "trace_speed": 2}).dormant_fields()
    assert found == {
        "load.burstiness": "it needs arrival: gamma",
        "load.trace_speed": "it needs trace",
    }


def test_a_seed_matters_where_arrivals_are_drawn() -> None:
    fields = {"dataset": {"order": "as_is"}, "random_seed": 7}
    for load, matters in (
        ({"rate": 2}, True),
        ({"rate": 2, "arrival": "constant"}, False),
        ({"concurrency": 2}, False),
    ):
        assert ("random_seed" not in config_of(load=load, **fields).dormant_fields()) is matters
