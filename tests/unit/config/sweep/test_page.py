"""What docs/studies.md shows is what it says."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from llenergymeasure.config.loader import load_study_config, study_config
from llenergymeasure.config.sweep.chosen import reference_of, sentinel_of
from llenergymeasure.config.sweep.left_out import counted
from llenergymeasure.config.sweep.ranges import values_of
from llenergymeasure.domain.study.plan import slots_in_order, with_sentinel
from tests.unit.config.conftest import WriteConfig

PAGE = (Path(__file__).parents[4] / "docs" / "studies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
# Of each block of the page, worked out by hand.
N_EXPERIMENTS = [6, 6, 5, 4, 5, 2, 12, 1, 4, 2, 2]


@pytest.mark.parametrize(("number", "n"), [*enumerate(N_EXPERIMENTS)])
def test_each_example_is_a_study_of_so_many_configurations(write_config: WriteConfig, number: int, n: int) -> None:
    assert len(BLOCKS) == len(N_EXPERIMENTS)
    assert len(load_study_config(write_config(BLOCKS[number])).experiments) == n


def test_the_example_with_something_left_out_leaves_out_what_it_says() -> None:
    # 24 combinations: fp32 with 2 of 3 batch sizes has 4 each, and of the other 4 pairs each is greedy twice.
    assert counted(study_config(yaml.safe_load(BLOCKS[6])).left_out) == "12 (8 excluded, 4 equal to another)"


def test_the_example_with_a_sentinel_has_as_many_runs_as_it_says() -> None:
    study = study_config(yaml.safe_load(BLOCKS[8]))
    sentinel = sentinel_of(study)
    assert sentinel is not None
    assert (sentinel.n, sentinel.precision, reference_of(study)) == (8, "bf16", 2)
    slots = with_sentinel(slots_in_order(4, study.most_cycles, study.order, 42), 4)
    assert [sum(slot.sentinel == is_it for slot in slots) for is_it in (False, True)] == [20, 6]


def test_each_range_has_the_values_beside_it() -> None:
    rows = re.findall(r"^\| `(\{from.*?\})` \| (.*?) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for given, numbers in rows:
        assert values_of(yaml.safe_load(given)) == [float(number) for number in numbers.split(", ")]


def test_the_example_in_python_is_a_study() -> None:
    (given,) = re.findall(r"^run_study\((.*)\)$", PAGE, re.MULTILINE)
    assert len(study_config(ast.literal_eval(given)).experiments) == 4
