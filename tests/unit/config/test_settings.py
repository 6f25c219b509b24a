"""Single settings from the command line."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.settings import parse_settings, with_axes
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import calm


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], {}),
        (["n=3"], {"n": 3}),
        (["precision=fp32", "precision=fp16"], {"precision": "fp16"}),
        (["a.b=1.5", "a.c=true", "d=null"], {"a": {"b": 1.5, "c": True}, "d": None}),
        (["a.b.c=[1, x]"], {"a": {"b": {"c": [1, "x"]}}}),
        (["model='5'"], {"model": "5"}),
        (["model=a=b"], {"model": "a=b"}),
        (["name="], {"name": None}),
        (["a={b: 1}", "a.c=2"], {"a": {"b": 1, "c": 2}}),
        (["phases=true", "phases.n_pairs=3"], {"phases": {"enabled": True, "n_pairs": 3}}),
        (["phases.n_pairs=3", "phases=false"], {"phases": {"enabled": False, "n_pairs": 3}}),
        (["quality=true", "quality.n_scored_tokens=9"], {"quality": {"text": None, "n_scored_tokens": 9}}),
        (["quality.n_scored_tokens=9", "quality=a.txt"], {"quality": {"text": "a.txt", "n_scored_tokens": 9}}),
        (["quality.text=a.txt", "quality=false"], {"quality": False}),
    ],
)
def test_a_setting_is_a_field_with_a_value_as_yaml_reads_it(settings: list[str], expected: dict[str, Any]) -> None:
    assert parse_settings(settings) == expected


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["n"], "write it as field=value"),
        (["=3"], "write it as field=value"),
        (["a..b=3"], "write it as field=value"),
        (["n=[1"], "cannot be read"),
        (["n=!!python/object:os.system x"], "cannot be read"),
        (["n=!!int x"], "cannot be read"),
        (["a=1", "a.b=2"], "a was set to a value before"),
    ],
)
def test_what_is_no_setting_is_refused_with_what_to_do(settings: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_settings(settings)


@calm
@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_text_is_a_mapping_or_a_config_error(settings: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_settings(settings), dict)


@calm
@given(
    st.lists(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), min_size=1, max_size=4),
    st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=20)),
)
def test_a_value_comes_back_at_its_place(parts: list[str], value: Any) -> None:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    found: Any = parse_settings([f"{'.'.join(parts)}={text}"])
    for part in parts:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("settings", "single", "axes"),
    [
        (["n=1,2"], [], {"n": [1, 2]}),
        (["n=3", "precision=fp32, bf16"], ["n=3"], {"precision": ["fp32", "bf16"]}),
        (["n=1,2", "n=3"], ["n=3"], {}),
        (["n=3", "n=1,2"], [], {"n": [1, 2]}),
        (["dataset={name: mixed, order: as_is}"], ["dataset={name: mixed, order: as_is}"], {}),
        (["decoder={top_k: 1},{top_p: 0.5}"], [], {"decoder": [{"top_k": 1}, {"top_p": 0.5}]}),
        (["pytorch.cache_implementation=null,static"], [], {"pytorch.cache_implementation": [None, "static"]}),
        # One value each: in quotes, of a field that is a list, of a key of one's own, of the study, of no field.
        (["model='a,b'"], ["model='a,b'"], {}),
        (["pytorch.suppress_tokens=1,2"], ["pytorch.suppress_tokens=1,2"], {}),
        (["passthrough_kwargs.a=1,2"], ["passthrough_kwargs.a=1,2"], {}),
        (["name=a,b", "output_dir=a,b"], ["name=a,b", "output_dir=a,b"], {}),
        (["nn=1,2"], ["nn=1,2"], {}),
        (["n=1,", "n=,", "n=1,,2"], ["n=1,", "n=,", "n=1,,2"], {}),
    ],
    ids=str,
)
def test_commas_stand_between_values_of_a_field_that_is_no_list(
    settings: list[str], single: list[str], axes: dict[str, list[Any]]
) -> None:
    assert with_axes(settings) == (single, axes)


def test_the_name_of_a_file_that_is_there_is_one_value(tmp_path: Path) -> None:
    name = str(tmp_path / "a,b")
    assert with_axes([f"model={name}"])[1] == {"model": [str(tmp_path / "a"), "b"]}
    (tmp_path / "a,b").touch()
    assert with_axes([f"model={name}"]) == ([f"model={name}"], {})


@calm
@given(
    st.lists(st.text(max_size=30) | st.from_regex(r"(n|decoder\.top_k)=[0-9,\[\]'{}]{0,9}", fullmatch=True), max_size=4)
)
def test_any_setting_is_single_or_several_or_a_config_error(settings: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        single, axes = with_axes(settings)
        assert set(single) <= set(settings)
        assert all(len(values) > 1 for values in axes.values())


def test_a_section_inside_of_a_section_lies_over_that_of_its_own_name() -> None:
    below = {"execution": {"cycles": 3, "stop": {"max_cycles": 9, "target_pct": 2}}}
    over = parse_settings(["execution.stop.target_pct=1", "execution.sentinel.n=8"])
    assert merged(below, over) == {
        "execution": {"cycles": 3, "stop": {"max_cycles": 9, "target_pct": 1}, "sentinel": {"n": 8}}
    }
