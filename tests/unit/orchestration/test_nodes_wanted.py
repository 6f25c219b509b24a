"""Places among the nodes of an experiment: each is had once, and by who is meant."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from llenergymeasure._host import this_host
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.nodes.layout import over_nodes
from llenergymeasure.orchestration.nodes.wanted import WANTED_FILE, place_in, told_in, wanted
from llenergymeasure.orchestration.processes.handover import PEERS_DIR
from llenergymeasure.results.persistence import STATE_DIR

CONFIG = ExperimentConfig.model_validate({"model": "any", "nodes": {"n": 3}})
PLAN = ExperimentPlan.of(CONFIG, layout=ProcessLayout(n_processes=3, parallelism="tensor"), devices=("GPU-a",))


def attempt_of(folder: Path) -> tuple[Path, Path]:
    state_dir = folder / STATE_DIR
    state_dir.mkdir()
    return folder, state_dir


def other_gpu() -> tuple[str, ...]:
    return ("GPU-b",)


def test_each_place_is_had_once_and_none_when_it_is_over(tmp_path: Path) -> None:
    attempt, state_dir = attempt_of(tmp_path)
    assert place_in(attempt, "", other_gpu) is None
    with wanted(PLAN, state_dir):
        found = [place_in(attempt, "", other_gpu) for _ in range(3)]
        assert [place and place.index for place in found] == [1, 2, None]
        assert place_in(attempt, "another job", other_gpu) is None
    assert place_in(attempt, "", other_gpu) is None
    assert not (state_dir / PEERS_DIR).exists()


def test_who_sees_the_gpus_of_the_first_node_or_none_does_not_attend_on_its_machine(tmp_path: Path) -> None:
    attempt, state_dir = attempt_of(tmp_path)
    with wanted(PLAN, state_dir):
        assert place_in(attempt, "", lambda: ("GPU-a", "GPU-b")) is None
        assert place_in(attempt, "", lambda: ()) is None
        told = told_in(state_dir)
    assert told is not None
    # On another machine cards have other names, or there are none.
    elsewhere = replace(this_host(), boot_id="another")
    assert told.is_for(elsewhere, ())
    assert told.is_for(elsewhere, ("GPU-a",))


@pytest.mark.parametrize(
    "text",
    ["", "[" * 3000, '{"n_nodes": "4", "first": "n1", "group": ""}', '{"n_nodes": 1, "first": "n1", "group": ""}'],
)
def test_what_is_no_word_wants_nobody(tmp_path: Path, text: str) -> None:
    attempt, state_dir = attempt_of(tmp_path)
    (state_dir / WANTED_FILE).write_text(text)
    assert told_in(state_dir) is None
    assert place_in(attempt, "", other_gpu) is None


def test_word_of_one_that_was_killed_is_nobodys(tmp_path: Path) -> None:
    attempt, state_dir = attempt_of(tmp_path)
    with wanted(PLAN, state_dir):
        old_s = (state_dir / WANTED_FILE).stat().st_mtime - 3600
        os.utime(state_dir / WANTED_FILE, (old_s, old_s))
        assert place_in(attempt, "", other_gpu) is None
        # It lives: its last sign is new.
        (state_dir / PEERS_DIR / "alive_0").touch()
        assert place_in(attempt, "", other_gpu) is not None


def test_what_one_node_starts_as_several_processes_is_refused() -> None:
    assert over_nodes(CONFIG, ProcessLayout()) == ProcessLayout(n_processes=3, parallelism="tensor")
    with pytest.raises(ConfigError, match=r"nodes\.n: 3 cannot go with 2 processes"):
        over_nodes(CONFIG, ProcessLayout(n_processes=2, parallelism="tensor"))
    assert over_nodes(ExperimentConfig(model="any"), ProcessLayout()) == ProcessLayout()
