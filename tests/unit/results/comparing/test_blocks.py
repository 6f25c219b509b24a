"""Runs of one study: which of them are compared in pairs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.comparing.comparison import Against, Comparison, compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.reading import read_groups
from tests.fakes.repeats import run
from tests.fakes.studies import Study, of_batches, plan_of

JOULES = "energy_per_output_token_j"


def in_blocks(label: str, totals_j: Sequence[float], cards: Sequence[str], **fields: Any) -> Group:
    """A run in each block of one study, an hour after the other, each on one of these cards."""
    results = [
        run(total_j, at_h=block, device={"device": card}, **fields).model_copy(
            update={"run_key": RunKey(study_id="s", slot=block, block=block, repeat=block, order="blocks")}
        )
        for block, (total_j, card) in enumerate(zip(totals_j, cards, strict=True))
    ]
    return Group(label=label, results=tuple(results))


def against(found: Comparison) -> Against:
    row = found.row(JOULES)
    assert row is not None
    return row.against[0]


def test_a_block_on_two_cards_is_no_pair() -> None:
    # Each block takes ten times as much as the one before, and the second 0.10 to 0.12 more in logarithms. Of the last
    # block another worker made the second run, on a card that takes more.
    first = [1.0, 10.0, 100.0, 1000.0]
    second = [joules * math.exp(more) for joules, more in zip(first, (0.10, 0.11, 0.12, 0.5), strict=True)]
    here = ["GPU-0"] * 4
    found = against(compare([in_blocks("A", first, here), in_blocks("B", second, [*here[:3], "GPU-1"], n=7)]))
    assert found.ratio is not None
    assert (found.ratio.method, found.ratio.n) == ("paired", (3, 3))
    assert found.ratio.value == pytest.approx(math.exp(0.11))
    assert [f"1 of {label} without a partner in their block are not in the ratio" for label in "AB"] == [
        note for note in found.notes if "partner" in note
    ]
    all_four = against(compare([in_blocks("A", first, here), in_blocks("B", second, here, n=7)]))
    assert all_four.ratio is not None
    assert all_four.ratio.n == (4, 4)


def test_where_every_block_is_on_two_cards_there_is_no_ratio() -> None:
    groups = [in_blocks("A", [80.0] * 3, ["GPU-0"] * 3), in_blocks("B", [88.0] * 3, ["GPU-1"] * 3, n=7)]
    found = against(compare(groups))
    assert (found.ratio, found.judgement.reason) == (None, "no block has a run of both on the same card")
    # Whoever says what a block is knows what is in it.
    own = against(compare(groups, block_of=lambda result: result.run_key and result.run_key.block))
    assert own.ratio is not None
    assert own.ratio.value == pytest.approx(1.1)


def test_what_two_cards_differ_by_is_no_change_with_time() -> None:
    totals_j = [80.0] * 3 + [88.0] * 3
    of = {
        second: compare(
            [in_blocks(label, totals_j, ["GPU-0"] * 3 + [second] * 3, n=n) for label, n in (("A", 9), ("B", 7))]
        )
        for second in ("GPU-0", "GPU-1")
    }
    told = [any("whatever was run" in caution for caution in found.cautions) for found in of.values()]
    assert told == [True, False]


@pytest.fixture
def guarded(tmp_path: Path) -> Study:
    """Two configurations in three blocks, and a sentinel with the configuration of the first."""
    configs = of_batches(1, 4)
    found = Study.of(tmp_path / "s", configs)
    found.plan = plan_of(configs, 3, sentinel=of_batches(1, name="sentinel")[0])
    for slot in found.plan.slots:
        # Each block takes ten times as much as the one before, and the second 0.10, 0.11 and 0.12 more in logarithms.
        more = 0.10 + 0.01 * slot.block if slot.configuration == 1 else 0.0
        total_j = 7.0 if slot.sentinel else 10.0**slot.block * math.exp(more)
        found.finish(slot, total_j, run_key=found.plan.key_of(slot))
    return found


def test_a_sentinel_like_the_reference_is_in_no_group_with_it(guarded: Study) -> None:
    study = guarded.directory.path
    first, second = (f"{study}/runs/*-{each.config_hash}" for each in guarded.plan.compared)
    read = read_groups([first, second])
    assert [r.total_energy_j for r in read.groups[0].results] == [1, 10, 100]
    # It is said once, in a line.
    assert [str(each) for each in read.left_out] == [
        f"{first}: 4 runs of the sentinel of a study, which is in no comparison"
    ]
    found = against(compare(read.groups))
    assert found.ratio is not None
    assert (found.ratio.method, found.ratio.n) == ("paired", (3, 3))
    assert found.ratio.value == pytest.approx(math.exp(0.11))
    whole = read_groups([first, study])
    assert [len(group.results) for group in whole.groups] == [3, 3, 3]


def test_a_run_of_a_sentinel_is_told_wherever_its_folder_lies(guarded: Study, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    # Without its study, of which nothing else is there: those of the first two blocks.
    for slot in guarded.plan.slots:
        if slot.configuration != 1 and slot.block < 2:
            attempt = guarded.directory.folder(guarded.plan, slot) / "attempt-1"
            attempt.rename(alone / f"run {slot.slot}")
    (group,) = read_groups([alone]).groups
    assert [r.total_energy_j for r in group.results] == [1, 10]


def test_runs_of_a_sentinel_alone_are_what_was_asked_for(guarded: Study) -> None:
    slot = next(slot for slot in guarded.plan.slots if slot.sentinel)
    read = read_groups([guarded.directory.folder(guarded.plan, slot)])
    assert ([len(group.results) for group in read.groups], read.left_out) == ([1], [])


def test_a_group_by_hand_has_no_runs_of_a_sentinel_among_others() -> None:
    first, second, last = in_blocks("A", [80.0] * 3, ["GPU-0"] * 3).results
    with pytest.raises(ConfigError, match="A: 1 of its 3 runs are of the sentinel of their study, and no repeats of"):
        Group(label="A", results=(first, second, last.model_copy(update={"name": "sentinel"})))
