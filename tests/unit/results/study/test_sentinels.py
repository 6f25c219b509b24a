"""What a sentinel tells, and what it is kept out of."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.summary import DriftSummary, StudySummary
from llenergymeasure.results.study.rows import SlotRow, StudyRows, row_of_result
from llenergymeasure.results.study.shown import markdown, text
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.study.writer import SummaryWriter
from tests.fakes.studies import Study, failure_of, of_batches, plan_of, result_of

JOULES = "energy_per_output_token_j"
(SENTINEL,) = of_batches(1, n=7, name="sentinel")
CONFIGS = of_batches(1, 4)


def guarded(
    totals_j: Sequence[float], sentinel: ExperimentConfig = SENTINEL,
    behind: Callable[[SlotRow], dict[str, Any]] = lambda _: {}, n_cycles: int = 2,
) -> StudySummary:  # fmt: skip
    """Two configurations of 80 and 40 J, one run in each hour, with these energies of the sentinel's runs."""
    plan = plan_of(CONFIGS, n_cycles, sentinel=sentinel)
    return Summing(plan).of(rows_of(plan, totals_j, behind))


def rows_of(
    plan: StudyPlan, totals_j: Sequence[float], behind: Callable[[SlotRow], dict[str, Any]] = lambda _: {}
) -> StudyRows:
    found = {}
    for slot in plan.slots:
        if slot.sentinel and slot.repeat >= len(totals_j):
            continue
        joules = totals_j[slot.repeat] if slot.sentinel else (80.0, 40.0)[slot.configuration]
        row = row_of_result(result_of(plan, slot, joules), plan, slot)
        found[slot.slot] = SlotRow(**{**{name: getattr(row, name) for name in row.__slots__},
                                      "values": {**row.values, **behind(row)}})  # fmt: skip
    return StudyRows(rows=found)


# Slots 0, 3 and 6 are the sentinel's, each three hours after the one before. The middle one is off by 0.001 from the
# line between the others, which are 0.1 apart: see the test of the drift of three runs for its interval.
RISING = [80 * math.exp(x) for x in (0, 0.051, 0.1)]


def test_a_drift_is_told_with_its_interval_and_what_it_is_of() -> None:
    (sentinel,) = guarded(RISING).sentinels
    assert (sentinel.row.number, sentinel.row.n_finished, sentinel.row.n_planned) == (0, 3, 3)
    assert sentinel.row.settings == {"pytorch.batch_size": 1, "n": 7}
    found = sentinel.drifts[JOULES]
    assert (found.n, found.session_s, found.warns, found.why_none) == (3, 6 * 3600, True, None)
    # e^0.1 = 1.10517; ln +- 0.0146719 makes 1.08908 to 1.12150.
    assert found.change_pct == pytest.approx(10.517, abs=1e-3)
    assert (found.low_pct, found.high_pct) == pytest.approx((8.908, 12.150), abs=1e-3)
    assert found.p == pytest.approx(0.00735, abs=1e-5)
    # Every run took as long.
    still = sentinel.drifts["tokens_per_second"]
    assert (still.n, still.change_pct, still.p, still.warns) == (3, 0.0, 1.0, False)


def test_of_two_runs_nothing_is_claimed() -> None:
    (sentinel,) = guarded(RISING[:2]).sentinels
    found = sentinel.drifts[JOULES]
    assert (found.n, found.change_pct, found.low_pct, found.p, found.warns) == (2, None, None, None, False)
    assert found.why_none == "2 runs, and a drift takes 3"


def test_runs_that_are_not_the_same_thing_have_no_drift() -> None:
    behind = lambda row: {"measurement_methodology": "windowed"} if row.slot == 0 else {}  # noqa: E731
    found = guarded(RISING, behind=behind).sentinels[0].drifts[JOULES]
    assert (found.n, found.change_pct) == (3, None)
    assert found.why_none == "their windows are different parts of a run: total / windowed"


def test_it_is_in_nothing_else() -> None:
    # The best of all by far, with another output, and no reason to say so.
    alone = plan_of(CONFIGS, 3)
    plain = Summing(alone).of(rows_of(alone, []))
    beside = guarded([1.0, 3.0, 1.0, 2.0], n_cycles=3)
    for ours, theirs in zip(beside.rows, plain.rows, strict=True):
        assert ours == theirs
    assert (beside.cautions, beside.latency_counted_from) == (plain.cautions, plain.latency_counted_from)
    assert (plain.sentinels, plain.n_finished, beside.n_finished) == ((), 6, 10)


def test_one_like_the_reference_is_not_counted_with_it() -> None:
    found = guarded(RISING, sentinel=of_batches(1, name="sentinel")[0])
    assert found.rows[0].config_hash == found.sentinels[0].row.config_hash
    assert [row.n_finished for row in found.rows] == [2, 2]
    assert found.rows[0].metrics[JOULES].value == 20.0


def test_each_kind_of_machine_has_its_own() -> None:
    behind = lambda row: {"gpus": "GPU B" if row.block else "GPU A"}  # noqa: E731
    plan = plan_of(CONFIGS, 2, sentinel=SENTINEL)
    failures = {0: (failure_of(plan, plan.slots[0]), None)}
    rows = {number: row for number, row in rows_of(plan, RISING, behind).rows.items() if number != 0}
    found = Summing(plan).of(StudyRows(rows=rows, failures=failures))
    assert [(s.row.machine, s.row.n_finished, s.row.n_failed) for s in found.sentinels] == [("GPU B", 2, 1)]
    two = guarded(RISING, behind=behind)
    assert [(s.row.machine, s.row.n_finished) for s in two.sentinels] == [("GPU A", 1), ("GPU B", 2)]


SAID = """\
sentinel: 3 of 3 runs, in no comparison; pytorch.batch_size 1, n 7
   drift: J/out tok 21.0 (n=3): +10.52 % (+8.91 to +12.15 %, 95 %) over 6 h, p
        0.0074: beyond 1 % and no chance
   drift: out tok/s 2.00 (n=3): +0.00 % (+0.00 to +0.00 %, 95 %) over 6 h, p 1"""


def test_it_is_said_beneath_the_table_and_in_markdown() -> None:
    # 20 J/token times e^(0.151 / 3) = 21.03.
    found = guarded(RISING)
    assert SAID in text(found)
    assert SAID in (Path(__file__).parents[4] / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [line.split("  ")[0] for line in text(found).splitlines()[2:4]] == ["1", "2"]
    said = markdown(found)
    assert "- sentinel: 3 of 3 runs, in no comparison; pytorch.batch_size 1, n 7\n" in said
    assert "- drift: J/out tok 21.0 (n=3): +10.52 % (+8.91 to +12.15 %, 95 %) over 6 h, p 0.0074: " in said
    there = text(guarded(RISING, behind=lambda row: {"gpus": "GPU B" if row.block else "GPU A"}))
    assert "sentinel on GPU A: 1 of 3 runs, " in there
    assert "sentinel on GPU B: 2 of 3 runs, " in there
    few = " ".join(text(guarded(RISING[:2])).split())
    assert "drift: J/out tok 20.5 (n=2): nothing is said of it: 2 runs, and a drift takes 3" in few
    assert "sentinel: 2 of 3 runs, in no comparison; pytorch.batch_size 1, n 7; 1 of 3 runs are not in it" in few


def test_the_files_have_rows_of_configurations_only_and_come_back_the_same(tmp_path: Path) -> None:
    plan = plan_of(CONFIGS, 2, sentinel=SENTINEL, reference=1)
    study = Study.of(tmp_path / "s", CONFIGS)
    study.plan = plan
    for slot in plan.slots:
        study.finish(slot, RISING[slot.repeat] if slot.sentinel else (80.0, 40.0)[slot.configuration])
    found = SummaryWriter(study.directory, plan).finish()
    table = pq.read_table(study.directory.path / "summary.parquet").to_pylist()
    assert [(row["row"], row["n_finished"]) for row in table] == [(1, 2), (2, 2)]
    assert [row[f"{JOULES}_ratio"] for row in table] == [pytest.approx(2), None]
    assert found.sentinels[0].drifts[JOULES].n == 3
    assert SAID.splitlines()[0] in (study.directory.path / "summary.md").read_text(encoding="utf-8")


def test_what_two_cards_differ_by_is_no_drift() -> None:
    # Of five runs in twelve hours the first three were on one card, the others on one that takes a tenth more.
    plan = plan_of(CONFIGS, 4, sentinel=SENTINEL)
    cards = ["GPU-0", "GPU-0", "GPU-0", "GPU-1", "GPU-1"]

    def drift_of(totals_j: Sequence[float]) -> DriftSummary:
        rows = {
            slot.slot: row_of_result(
                result_of(plan, slot, totals_j[slot.repeat], device={"device": cards[slot.repeat]}), plan, slot
            )
            for slot in plan.slots
            if slot.sentinel and slot.repeat < len(totals_j)
        }
        return Summing(plan).of(StudyRows(rows=rows)).sentinels[0].drifts[JOULES]

    found = drift_of([80.0, 80.0, 80.0, 88.0, 88.0])
    assert (found.n, found.change_pct, found.p, found.warns) == (5, 0.0, 1.0, False)
    # A drift on each of them is one still: a hundredth in logarithms in three hours makes four in twelve.
    rising = drift_of([80 * math.exp(x / 100) * (1.1 if x > 2 else 1.0) for x in range(5)])
    assert rising.change_pct == pytest.approx(100 * math.expm1(0.04), rel=1e-6)
    assert drift_of([80.0, 80.0, 80.0, 88.0]).n == 4
    cards[2] = "GPU-1"
    assert drift_of([80.0, 80.0, 88.0]).why_none == "3 runs on 2 different cards, and a drift takes 4 on as many"
