"""What a page has of a study over loads."""

from pathlib import Path

from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.report.loads import loads_of
from llenergymeasure.results.study.rows import StudyRows
from llenergymeasure.results.study.summary import Summing
from tests.fakes.studies import plan_of
from tests.unit.results.loads.made import Values, at_rates, rows_of, run


def gathered_of(rates: tuple[float, ...], runs: list[list[Values]], **fields: object) -> Gathered:
    plan = plan_of(at_rates(*rates, **fields), len(runs[0]))
    found = StudyRows(rows={row.slot: row for row in rows_of(plan, runs)})
    return Gathered(
        title="a study",
        given=(Path("study"),),
        plan=plan,
        is_planned=True,
        found=found,
        summary=Summing(plan).of(found),
        folder_of=lambda _: None,
    )


def test_a_curve_has_its_points_lines_and_promises() -> None:
    at = {
        rate: run(rate, 100 + 50 * rate, energy_per_output_token_j=10 / rate, ttft_p95_s=0.1 * rate)
        for rate in (1.0, 2.0, 4.0)
    }
    over = run(7.0, 500.0, energy_per_output_token_j=1.0, ttft_p95_s=9.0, overloaded="yes", slo_met="no")
    runs: list[list[Values]] = [[at[rate]] for rate in at]
    (curve,) = loads_of(gathered_of((1, 2, 4, 9), [*runs, [over]], slo={"ttft_p95_s": 0.5}))
    assert (curve["axis"], curve["unit"], curve["told"]) == ("load.rate", "requests per second", "")
    assert [(p["asked"], p["came"], p["overloaded"]) for p in curve["points"]] == [
        (1.0, 1.0, False), (2.0, 2.0, False), (4.0, 4.0, False), (9.0, 7.0, True),
    ]  # fmt: skip
    (energy,) = [line for line in curve["energy"] if line["name"] == "energy_per_output_token_j"]
    assert energy["values"] == [10.0, 5.0, 2.5, 1.0]
    (latency,) = [line for line in curve["latency"] if line["name"] == "ttft_p95_s"]
    assert (latency["values"], latency["promised"]) == ([0.1, 0.2, 0.4, 9.0], 0.5)
    assert curve["highest_kept"] == 4.0
    assert any(remark.startswith("one more request/s: 50.0") for remark in curve["remarks"])


def test_a_study_that_varies_something_else_has_none() -> None:
    assert loads_of(gathered_of((2,), [[run(2.0, 100.0)]])) == []
