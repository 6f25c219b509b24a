"""Card is a factor: what a study over several cards says."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from llenergymeasure.results.study.files import as_json, as_rows
from llenergymeasure.results.study.rows import SlotRow
from llenergymeasure.results.study.shown import markdown, text
from tests.fakes.studies import of_batches
from tests.unit.results.study.conftest import Summed

JOULES = "energy_per_output_token_j"
UP = math.log(1.08)


def on_card(number: Callable[[SlotRow], int]) -> Callable[[SlotRow], dict[str, Any]]:
    """The card that each run was on."""
    return lambda row: {"circumstances": {"devices": (uuid := f"GPU-{number(row)}",), "gpu_uuids": (uuid,)}}


def joules(*logarithms: float) -> list[float]:
    return [80 * math.exp(y) for y in logarithms]


def mostly_on_one(row: SlotRow) -> int:
    """The first configuration has its last run on card 1, the second all but its first."""
    return int(row.repeat == 3) if row.configuration == 0 else int(row.repeat != 0)


def test_runs_in_no_pairs_are_compared_within_cards(summed: Summed) -> None:
    # The second takes 3 % more, and card 1 takes 8 % more: together it seems to take 7 % more.
    more = math.log(1.03)
    first = joules(0.0, 0.001, -0.001, UP)
    second = joules(more, more + UP, more + UP + 0.001, more + UP - 0.001)
    found = summed(of_batches(1, 4), [first, second], order="shuffled", behind=on_card(mostly_on_one))
    ratio = found.rows[1].ratios[JOULES]
    assert (ratio.method, ratio.n, ratio.verdict) == ("stratified", (4, 4), "different")
    assert ratio.value == pytest.approx(1.03, abs=1e-6)
    assert ratio.notes == ("within each of 2 cards",)
    # The run on the other card is not far off, for it is the only one there.
    assert [row.metrics[JOULES].outliers for row in found.rows] == [(), ()]
    # By hand: squares of 2e-6 over 2 degrees of freedom of each, and 3 and 1 runs on either card.
    half = 2.776445 * math.sqrt(1e-6 * (1 + 1 / 3) / 2)
    assert ratio.low == pytest.approx(1.03 * math.exp(-half), rel=1e-6)
    alone = summed(of_batches(1, 4), [first, second], order="shuffled", behind=on_card(lambda _: 0))
    assert alone.rows[1].ratios[JOULES].method == "welch"
    assert alone.rows[1].ratios[JOULES].value == pytest.approx(1.03 * math.exp(UP / 2))


def test_configurations_on_a_card_each_are_not_compared(summed: Summed) -> None:
    found = summed(of_batches(1, 4), [joules(0, 0.01, 0.02), joules(0.1, 0.11, 0.12)], order="shuffled",
                   behind=on_card(lambda row: row.configuration))  # fmt: skip
    ratio = found.rows[1].ratios[JOULES]
    assert (ratio.value, ratio.verdict) == (None, "inconclusive")
    assert ratio.reason is not None
    assert ratio.reason.startswith("confounded with the card: no card has runs of both")
    (said,) = (caution for caution in found.cautions if "confounded" in caution)
    assert said.startswith("row 2 is not compared with the reference: confounded with the card")
    assert found.spreads == ()


def test_processors_of_two_hosts_are_two_cards(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        host = {"host": f"n{row.configuration}", "boot_id": f"boot-{row.configuration}"}
        return {"circumstances": {"devices": ("package-0 of a CPU",), "gpu_uuids": (), **host}}

    totals_j = [joules(0, 0.01, 0.02), joules(0.1, 0.11, 0.12)]
    found = summed(of_batches(1, 4), totals_j, order="shuffled", behind=behind)
    assert str(found.rows[1].ratios[JOULES].reason).startswith("confounded with the card")
    in_blocks = summed(of_batches(1, 4), totals_j, behind=behind)
    assert in_blocks.rows[1].ratios[JOULES].reason == "no block has a run of both on the same card"
    assert "row 2 is not compared with the reference: no block has a run of both on the same card" in in_blocks.cautions


def in_two_halves(row: SlotRow) -> int:
    return row.block // 3


def test_the_spread_between_cards_is_told_apart(summed: Summed) -> None:
    # In pairs: 3 % between configurations, 8 % between cards, a scatter of 0.1 % that is the same in each half.
    of_block = [0.0, 0.001, -0.001]
    more = math.log(1.03)
    totals_j = [joules(*of_block, *(y + UP for y in of_block)),
                joules(*(more - y for y in of_block), *(more + UP - y for y in of_block))]  # fmt: skip
    found = summed(of_batches(1, 4), totals_j, behind=on_card(in_two_halves))
    (spread,) = (each for each in found.spreads if each.metric == JOULES)
    assert spread.value == pytest.approx(1.08)
    assert (spread.highest, spread.lowest, spread.n_cards, spread.n_runs) == ("GPU-1", "GPU-0", 2, 12)
    # Squares of 2e-6 four times, over 12 - 2 - 1 degrees of freedom; six runs on each card.
    half = 2.262157 * math.sqrt(8e-6 / 9 / 3)
    assert spread.low == pytest.approx(1.08 * math.exp(-half), rel=1e-6)
    assert [row.n_cards for row in found.rows] == [2, 2]
    assert found.rows[0].card_ratios[JOULES] == pytest.approx(1.08)
    assert found.rows[1].ratios[JOULES].verdict == "different"
    assert spread.exceeds == (2,)
    (said,) = (caution for caution in found.cautions if caution.startswith("cards differ"))
    assert said.startswith(f"cards differ by 8.0 % in {JOULES}, more than row 2 is off the reference")


def test_a_spread_that_is_smaller_than_what_is_claimed_is_told_without_a_warning(summed: Summed) -> None:
    totals_j = [joules(*[0.0] * 3, *[UP] * 3), joules(*[0.5] * 3, *[0.5 + UP] * 3)]
    found = summed(of_batches(1, 4), totals_j, behind=on_card(in_two_halves))
    assert found.spreads[0].exceeds == ()
    assert not any(caution.startswith("cards differ") for caution in found.cautions)


def test_kinds_of_cards_have_rows_and_spreads_of_their_own(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        # Two cards of one kind in the first three blocks, one of another in the others.
        uuid, name = (f"A-{row.block % 2}", "GPU A") if row.block < 3 else ("B", "GPU B")
        return {"values": {"gpus": name}, "circumstances": {"devices": (uuid,), "gpu_uuids": (uuid,)}}

    totals_j = [joules(0, UP, 0, 2, 2, 2), joules(0.2, 0.2 + UP, 0.2, 3, 3, 3)]
    found = summed(of_batches(1, 4), totals_j, behind=behind)
    assert [(row.machine, row.n_cards) for row in found.rows] == [
        ("GPU A", 2), ("GPU B", 1), ("GPU A", 2), ("GPU B", 1),
    ]  # fmt: skip
    assert [(each.machine, each.metric) for each in found.spreads] == [
        ("GPU A", JOULES), ("GPU A", "tokens_per_second"),
    ]  # fmt: skip
    assert found.rows[2].ratios[JOULES].value == pytest.approx(math.exp(0.2))
    assert found.rows[3].ratios[JOULES].value == pytest.approx(math.exp(1))


def test_tables_and_files_have_the_cards(summed: Summed) -> None:
    totals_j = [joules(*[0.0] * 3, *[UP] * 3), joules(*[0.02] * 3, *[0.02 + UP] * 3)]
    found = summed(of_batches(1, 4), totals_j, behind=on_card(in_two_halves))
    shown = " ".join(text(found).split())
    assert "J/out tok x1.080 (1.080 to 1.080, 95 %) of 2 cards, GPU-1 over GPU-0" in shown
    assert "of every row are over up to 2 cards; +- is of runs, and not of cards" in shown
    assert "cards differ by 8.0 %" in shown
    assert "- cards: J/out tok x1.080" in markdown(found)
    written = json.loads(as_json(found, None))
    assert written["card_spreads"][0]["n_cards"] == 2
    assert written["card_spreads"][0]["exceeds"] == [2]
    assert [row["n_cards"] for row in as_rows(found)] == [2, 2]
    assert as_rows(found)[0][f"{JOULES}_card_ratio"] == pytest.approx(1.08)
    one = summed(of_batches(1, 4), totals_j, behind=on_card(lambda _: 0))
    assert one.spreads == ()
    assert as_rows(one)[0][f"{JOULES}_card_ratio"] is None


def test_a_session_is_as_long_as_one_clock_says(summed: Summed) -> None:
    # A host whose clock is a day behind did the second half: nothing changes with time on either.
    def behind(row: SlotRow) -> dict[str, Any]:
        half = row.block // 3
        where = {
            "host": f"n{half}",
            "boot_id": f"boot-{half}",
            "devices": (f"GPU-{half}",),
            "gpu_uuids": (f"GPU-{half}",),
        }
        day = 2 - half
        time = f"2026-01-0{day}T{10 + 2 * (row.block % 3) + row.configuration:02d}:00:00+00:00"
        return {"values": {"start_time": time}, "circumstances": where}

    # 2 % an hour on each, of a session of five hours.
    totals_j = [joules(*(0.04 * (block % 3) for block in range(6))),
                joules(*(0.04 * (block % 3) + 0.02 for block in range(6)))]  # fmt: skip
    (said,) = (each for each in summed(of_batches(1, 4), totals_j, behind=behind).cautions if JOULES in each)
    assert said.startswith(f"{JOULES} changed by +10.5 % over 5.0 h")
