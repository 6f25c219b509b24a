"""What stands beside the figures of a row."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.results.study.notes import output_letters
from llenergymeasure.results.study.rows import SlotRow, row_of_result
from tests.fakes.studies import of_batches, plan_of, result_of

Summed = Callable[..., StudySummary]


def saying(*said: tuple[str, str] | dict[str, Any]) -> list[str]:
    """The letters of runs with these prompts and tokens."""
    plan = plan_of(of_batches(1), len(said))
    row = row_of_result(result_of(plan, plan.slots[0]), plan, plan.slots[0])
    runs: list[SlotRow] = []
    for number, one in enumerate(said):
        values = one if isinstance(one, dict) else {"prompts_digest": one[0], "outputs_digest": one[1]}
        runs.append(replace(row, slot=number, values={**row.values, **values}))
    letters = output_letters(runs)
    return [letters.get(number, "-") for number in range(len(said))]


def test_a_letter_says_which_runs_said_the_same() -> None:
    assert saying(("p", "1"), ("p", "2"), ("p", "1")) == ["A", "B", "A"]
    assert saying(("p", "1"), ("q", "1")) == ["-", "-"]
    assert saying(("p", "1"), ("q", "1"), ("p", "2"), ("q", "1"), ("r", "1")) == ["A1", "A2", "B1", "A2", "-"]
    assert saying({}, {"n_requests_excluded": 1, "n_requests": 3}) == ["-", "-"]
    assert saying({}, {"inputs_digest": "another vocabulary"}) == ["-", "-"]
    assert saying(*(("p", str(n)) for n in range(28)))[24:] == ["Y", "Z", "AA", "AB"]


def test_a_row_has_the_letters_of_all_of_its_runs(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        return {"values": {"outputs_digest": f"{row.configuration}{row.repeat == 2}"}}

    found = summed(of_batches(1, 4), [[80.0] * 3] * 2, "sequential", behind=behind)
    assert [row.outputs for row in found.rows] == [("A", "B"), ("C", "D")]


def test_a_flag_of_some_runs_says_of_how_many(summed: Summed) -> None:
    def behind(row: SlotRow) -> dict[str, Any]:
        short = {"warnings": "short_measurement_duration", "validity": "questionable",
                 "validity_flags": "short_measurement_duration"}  # fmt: skip
        return {"values": short if row.repeat else {"warnings": "one_of_an_engine"}}

    row = summed(of_batches(1), [[80.0] * 3], behind=behind).rows[0]
    assert row.notes == (
        "the energy is questionable in 2 of 3 runs (short_measurement_duration)",
        "one_of_an_engine in 1 of 3 runs",
        "short_measurement_duration in 2 of 3 runs: the window is under 10 s",
    )
    assert row.n_warned == {"one_of_an_engine": 1, "short_measurement_duration": 2}
    assert (row.validity, row.validity_flags) == ("questionable", ("short_measurement_duration",))


def test_a_part_of_a_run_is_told(summed: Summed) -> None:
    behind = lambda row: {"values": {"measurement_methodology": "windowed"}}  # noqa: E731
    row = summed(of_batches(1), [[80.0]], behind=behind).rows[0]
    assert row.notes == ("the window is a part of the run: windowed",)
