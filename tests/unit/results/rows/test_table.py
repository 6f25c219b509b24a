"""Rows of results, and the columns that tell them apart."""

from typing import Any

import pytest

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.rows.columns import FIGURES, SETTINGS
from llenergymeasure.results.rows.extraction import ResultRow
from llenergymeasure.results.rows.settings import flat_settings
from llenergymeasure.results.rows.table import ResultTable

CONFIG: dict[str, Any] = {"n": 10, "pytorch.batch_size": 1, "decoder.top_k": None}


def row(name: str, *, settings: dict[str, Any] | None = None, **values: Any) -> ResultRow:
    """A row whose values are null but for those given."""
    all_values = dict.fromkeys(column.name for column in (*SETTINGS, *FIGURES)) | {"name": name} | values
    return ResultRow(all_values, CONFIG | (settings or {}), f"in/{name}")


def test_a_knob_of_the_card_has_a_column_where_it_differs() -> None:
    def capped(limit_w: float | None) -> ResultRow:
        knobs = None if limit_w is None else {"power_limit_w": limit_w, "sm_clock_mhz": None, "memory_clock_mhz": None}
        return row("a", settings=flat_settings({"device": knobs}))

    table = ResultTable([capped(None), capped(250.0), capped(300.0)])
    assert table.differing_settings() == ["device.power_limit_w"]
    assert table.values("device.power_limit_w") == [None, 250.0, 300.0]
    assert "device.power_limit_w" in table.usual_columns()
    assert ResultTable([capped(250.0), capped(250.0)]).differing_settings() == []


def test_what_was_asked_for_of_a_text_is_shown_where_a_result_has_it() -> None:
    assert not {"perplexity", "bits_per_byte"} & set(ResultTable([row("a")]).usual_columns())
    table = ResultTable([row("a"), row("b", perplexity=20.0)])
    assert "perplexity" in table.usual_columns()
    assert "bits_per_byte" not in table.usual_columns()
    assert table.values("perplexity") == [None, 20.0]


def test_a_setting_that_differs_has_a_column_and_no_other_has() -> None:
    table = ResultTable([row("a"), row("b", settings={"pytorch.batch_size": 2}), row("c")])
    assert table.differing_settings() == ["pytorch.batch_size"]
    assert table.values("pytorch.batch_size") == [1, 2, 1]
    assert table.values("n") == [10, 10, 10]
    assert "pytorch.batch_size" in table.usual_columns()
    assert table.all_columns()[:5] == ["model", "backend", "precision", "pytorch.batch_size", "experiment_id"]
    assert table.all_columns()[-1] == "folder"


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        (1, True, True),
        (0, False, True),
        (1, 1.0, False),
        (0.7, 0.7000000000000001, True),
        ("1", 1, True),
        (None, "null", True),
        ([1], [1], False),
        ([1], [2], True),
    ],
)
def test_values_are_told_apart_as_their_settings_are(first: Any, second: Any, differ: bool) -> None:
    for one, other in ((first, second), (second, first)):
        table = ResultTable([row("a", settings={"x": one}), row("b", settings={"x": other})])
        assert table.differing_settings() == (["x"] if differ else [])


def test_a_setting_that_only_some_have_is_not_set_in_the_others() -> None:
    table = ResultTable([row("a", settings={"vllm.x": 3}), row("b", settings={"vllm.y": None})])
    table_of_others = ResultTable([row("b"), row("a", settings={"vllm.x": 3})])
    assert table.differing_settings() == table_of_others.differing_settings() == ["vllm.x"]
    first = ResultRow(row("c").values, {"n": 10}, None)
    assert ResultTable([row("a"), first]).values("pytorch.batch_size") == [1, None]


def test_what_does_not_differ_among_the_rows_that_are_left_has_no_column() -> None:
    rows = [row("a"), row("b", settings={"n": 7}), row("c", settings={"n": 7})]
    table = ResultTable(rows, lambda value: value("n") == 7)
    assert (len(table), table.n_read, table.differing_settings()) == (2, 3, [])
    assert table.values("name") == ["b", "c"]
    # And one that no row has that is left can still be asked for.
    assert ResultTable([*rows, row("d", settings={"x": 1})], lambda value: value("name") == "a").values("x") == [None]


def test_what_a_run_really_had_is_shown_where_it_differs_and_no_setting_says_it() -> None:
    settings = [{"pytorch.batch_size": n} for n in (1, 2)]
    said = ResultTable([row("a", settings=settings[0], batch_size=1), row("b", settings=settings[1], batch_size=2)])
    assert "batch_size" not in said.usual_columns()
    other = ResultTable([row("a", batch_size=1, gpus="A100"), row("b", batch_size=2, gpus="H100")])
    assert [name for name in other.usual_columns() if name in ("batch_size", "gpus", "engine")] == [
        "batch_size",
        "gpus",
    ]
    assert "model" in ResultTable([row("a", model="m"), row("b", model="k")]).usual_columns()


def test_rows_are_sorted_by_several_columns_and_what_is_absent_comes_last() -> None:
    rows = [
        row("a", total_energy_j=3.0, output_tokens=1),
        row("b", total_energy_j=None, output_tokens=1),
        row("c", total_energy_j=9.0, output_tokens=2),
        row("d", total_energy_j=1.0, output_tokens=2),
    ]
    table = ResultTable(rows)
    table.sort(["output_tokens", "-total_energy_j"])
    assert table.values("name") == ["a", "b", "c", "d"]
    table.sort(["-total_energy_j"])
    assert table.values("name") == ["c", "a", "d", "b"]
    table.sort(["total_energy_j"])
    assert table.values("name") == ["d", "a", "c", "b"]


def test_times_are_sorted_by_when_they_are() -> None:
    # 01:30, 01:00 and 02:00 of UTC.
    times = ("2026-01-01T02:30:00+01:00", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z")
    table = ResultTable([row(str(n), start_time=time) for n, time in enumerate(times)])
    table.sort(["start_time"])
    assert table.values("name") == ["1", "0", "2"]


def test_numbers_are_sorted_as_numbers_and_before_texts() -> None:
    rows = [row(str(value), settings={"x": value}) for value in (10, "a", 9.5, True)]
    table = ResultTable(rows)
    table.sort(["x"])
    assert table.values("x") == [True, 9.5, 10, "a"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batch_siz", "did you mean 'batch_size'?"),
        ("top_k", "did you mean 'decoder.top_k'?"),
        ("total_energy", "did you mean 'total_energy_j'?"),
        ("zzz", "--format csv"),
    ],
)
def test_a_column_that_nothing_has_is_refused_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ResultTable([row("a")]).sort([name])
    assert said in str(caught.value)
