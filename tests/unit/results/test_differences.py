"""What two runs differ in."""

from pathlib import Path
from typing import Any

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.differences import SettingDifference, differing_settings
from tests.unit.results.test_outputs import run_with


def run(folder: Path, **fields: Any) -> ExperimentResult:
    """A run with these fields."""
    return ExperimentResult.from_json(run_with(folder, ((1,),))).model_copy(update=fields)


def test_settings_are_named_by_their_place_with_both_values(tmp_path: Path) -> None:
    one = {"model": "m", "n": 1, "name": "a", "output_dir": "a", "warmup": {"enabled": True, "window_size": 5}}
    other = {"model": "m", "n": 2, "name": "b", "output_dir": None, "warmup": {"enabled": 1, "window_size": 5}}
    found = differing_settings(run(tmp_path / "a", effective_config=one), run(tmp_path / "b", effective_config=other))
    assert found == [
        SettingDifference(name="n", first=1, second=2),
        SettingDifference(name="warmup.enabled", first=True, second=1),
    ]


def test_a_section_that_only_one_has_is_told_by_what_is_set_in_it(tmp_path: Path) -> None:
    one = {"backend": "x", "x": {"batch_size": 1, "threads": None}}
    other = {"backend": "y", "y": {"eager": False, "threads": None}}
    found = differing_settings(run(tmp_path / "a", effective_config=one), run(tmp_path / "b", effective_config=other))
    assert [(s.name, s.first, s.second) for s in found] == [
        ("backend", "x", "y"),
        ("x.batch_size", 1, None),
        ("y.eager", None, False),
    ]


def test_other_weights_under_the_same_name_are_told(tmp_path: Path) -> None:
    one = run(tmp_path / "a", weights_digest="sha256:aa", draft_digest="sha256:cc")
    other = run(tmp_path / "b", weights_digest="sha256:bb", draft_digest="sha256:cc")
    assert differing_settings(one, other) == [
        SettingDifference(name="weights_digest", first="sha256:aa", second="sha256:bb")
    ]
