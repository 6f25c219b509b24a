"""Rows taken from the JSON of results say what the whole results say."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.persistence import as_written, load_result, result_of
from llenergymeasure.results.rows.columns import CIRCUMSTANCES, FIGURES, FIXED, SETTINGS
from llenergymeasure.results.rows.extraction import NoResultError, row_in, row_of
from tests.fakes.effort import examples
from tests.unit.results.conftest import values_of

GOLDEN = sorted((Path(__file__).parents[3] / "golden").glob("revision-*/*/result.json"))
SETTINGS_OF_ANY = {"model": "m", "backend": "b", "precision": "p"}


def told_by(result: ExperimentResult) -> dict[str, Any]:
    """What the fields and properties of a whole result say under the names of columns."""
    said: dict[str, Any] = {c.name: result.effective_config[c.name] for c in SETTINGS}
    for column in FIGURES:
        if hasattr(result, column.name):
            said[column.name] = getattr(result, column.name)
    said |= {name: getattr(result.model, name) for name in ("batch_size", "weights", "quantization", "adapter")}
    said |= {"engine": result.model.engine, "engine_version": result.model.engine_version}
    environment = result.environment_snapshot
    said |= {name: getattr(environment, name) for name in ("cpu_model", "driver_version", "tool_version")}
    said["start_time"] = result.start_time.isoformat()
    low_j, high_j = result.energy_interval_j or (None, None)
    said |= {"energy_interval_low_j": low_j, "energy_interval_high_j": high_j}
    said["validity_flags"] = "; ".join(result.validity_flags)
    said["warnings"] = "; ".join(warning.flag for warning in result.warnings)
    stats = result.latency_stats
    said["latency_counted_from"] = stats and stats.counted_from
    for kind in ("ttft", "tpot", "itl", "e2e"):
        of = getattr(stats, f"{kind}_s") if stats else None
        said |= {f"{kind}_{p}_s": of and getattr(of, p) for p in ("mean", "p50", "p90", "p95", "p99")}
        said |= {f"{kind}_{n}": of and getattr(of, n) for n in ("n", "n_independent")}
    quality = result.quality
    said |= {name: quality and getattr(quality, name) for name in ("perplexity", "bits_per_byte")}
    said |= {f"quality_{name}": quality and getattr(quality, name) for name in ("text", "why_not")}
    said |= told_of_the_load(result)
    names = [gpu.name for gpu in environment.gpus]
    said["gpus"] = ", ".join(
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )
    said["gpus"] = said["gpus"] if names else None
    return said


def told_of_the_load(result: ExperimentResult) -> dict[str, Any]:
    load = result.load
    slo, sending, overload = (load and getattr(load, name) for name in ("slo", "sending", "overload"))
    return {
        "load_kind": load and load.kind,
        "arrived_requests_per_second": load and load.arrived_requests_per_second,
        "in_flight_mean": load and load.in_flight.n_mean,
        "overloaded": overload and ("yes" if overload.overloaded else "no"),
        "sending_share_of_gap": sending and sending.share_of_gap,
        "token_energy_cv": load and load.token_energy_cv,
        "goodput": slo and slo.good_requests_per_second,
        "goodput_tokens_per_second": slo and slo.good_tokens_per_second,
        "good_share": slo and slo.good_share,
        "joules_per_good_token": slo and slo.joules_per_good_token,
        "slo_met": slo and {True: "yes", False: "no"}.get(slo.met),
    }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}")
def test_of_every_revision_a_row_says_what_the_whole_result_says(path: Path) -> None:
    row = row_in(path.read_bytes(), "somewhere")
    assert row.values == told_by(load_result(path))
    assert set(row.values) == {c.name for c in (*SETTINGS, *FIGURES)}
    assert row.folder == "somewhere"


@given(values_of(ExperimentResult))
@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck), deadline=None)
def test_a_row_says_what_the_whole_result_says_whatever_that_is(made: ExperimentResult) -> None:
    config = {**made.effective_config, **SETTINGS_OF_ANY}
    content = as_written(made.model_copy(update={"effective_config": config})).encode()
    # As the file has it: what cannot be written is null there.
    read = result_of(content, Path("result.json"))
    try:
        row = row_in(content, None)
    except NoResultError as error:
        pytest.fail(str(error))
    assert row.values == told_by(read)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) |
                    st.dictionaries(st.text(), inner), max_leaves=3), st.data())  # fmt: skip
@settings(max_examples=examples(1000), suppress_health_check=list(HealthCheck), deadline=None)
def test_whatever_stands_in_a_field_is_a_row_or_a_reason(value: Any, data: st.DataObject) -> None:
    written = json.loads(GOLDEN[0].read_bytes())
    place: Any = written
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    # Anything else would be a traceback.
    with contextlib.suppress(NoResultError):
        row_in(json.dumps(written), None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": "3.0"}, "its schema_version is '3.0', and this version reads '2.0'"),
        ({"schema_version": None}, "its schema_version is None"),
        ({"n_requests": None}, "n_requests: it is missing"),
        ({"n_requests": "8"}, "n_requests: it is no whole number"),
        ({"n_requests": True}, "n_requests: it is no whole number"),
        ({"total_energy_j": "12"}, "total_energy_j: it is no number"),
        ({"total_energy_j": False}, "total_energy_j: it is no number"),
        ({"start_time": "yesterday"}, "start_time: it is no time"),
        ({"start_time": "0001-01-01T00:00:00+14:00"}, "start_time: it is no time"),
        ({"effective_config": [1]}, "effective_config: it is no object"),
        ({"effective_config": {"backend": "b", "precision": "p"}}, "effective_config.model: it is missing"),
        ({"measurement_warnings": "none"}, "measurement_warnings: it is no list of texts"),
        ({"energy_devices": [{"device": "GPU-0"}]}, "energy_devices: it cannot be understood"),
        ({"energy_interval_j": [1.0]}, "energy_interval_j: it is no pair of numbers"),
        ({"latency_stats": {"ttft_s": [1]}}, "latency_stats.ttft_s: it is no object"),
    ],
)
def test_what_is_no_result_says_why(change: dict[str, Any], said: str) -> None:
    written = json.loads(GOLDEN[0].read_bytes())
    with pytest.raises(NoResultError) as caught:
        row_in(json.dumps({**written, **change}), None)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is no JSON"),
        (b"\xff", "this is no JSON"),
        (b'{"schema_version": "2.0"', "this is no JSON"),
        (b"[" * 100_000, "this is no JSON"),
        (b"[1]", "it is no object"),
        (GOLDEN[0].read_bytes().replace(b'"total_energy_j": 1200.0', b'"total_energy_j": NaN'), "this is no JSON"),
        (GOLDEN[0].read_bytes().replace(b'"total_energy_j": 1200.0', b'"total_energy_j": 1e999'), "no finite number"),
    ],
    ids=["empty", "no UTF-8", "torn", "deep", "a list", "NaN", "infinite"],
)
def test_what_is_torn_says_so(content: bytes, said: str) -> None:
    with pytest.raises(NoResultError, match=said):
        row_in(content, None)


def test_no_file_is_believed_that_calls_itself_citable() -> None:
    written = json.loads(next(p for p in GOLDEN if "revision-2" in str(p)).read_bytes())
    row = row_in(json.dumps({**written, "validity": "citable", "validity_flags": []}), None)
    assert row.values["validity"] == "not_citable"
    assert "energy_modelled" in str(row.values["validity_flags"])


def test_a_later_revision_is_read_as_far_as_it_is_known() -> None:
    written = json.loads(GOLDEN[0].read_bytes())
    written["energy_devices"][0]["colour"] = "green"
    row = row_in(json.dumps({**written, "schema_revision": 99, "something": 1}), None)
    assert (row.values["schema_revision"], row.values["total_energy_j"]) == (99, 1200.0)


def test_settings_have_dotted_names_and_none_takes_the_place_of_a_figure(result: ExperimentResult) -> None:
    config = {**result.effective_config, "total_energy_j": 7, "pytorch": {"batch_size": 4, "list": [1]}}
    row = row_of(result.model_copy(update={"effective_config": config}))
    assert row.values["total_energy_j"] is None
    assert row.settings["effective_config.total_energy_j"] == 7
    assert (row.settings["pytorch.batch_size"], row.settings["pytorch.list"]) == (4, [1])
    assert not {"model", "name", "output_dir"} & row.settings.keys()


def test_no_two_columns_have_one_name_and_units_are_those_of_the_names() -> None:
    names = [column.name for column in FIXED]
    assert len(names) == len(set(names))
    assert {column.name for column in CIRCUMSTANCES} <= set(names)
    units = {"_j": "J", "_s": "s", "_w": "W", "_mb": "MB", "_pct": "%"}
    for column in FIXED:
        for end, unit in units.items():
            assert column.unit.partition("/")[0] == unit or not column.name.endswith(end), column.name
