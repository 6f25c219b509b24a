"""``llem show`` of a study that varies the load."""

from collections.abc import Callable
from pathlib import Path

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.window import InFlight
from tests.fakes.command import Ran
from tests.fakes.studies import Study, of_batches
from tests.unit.results.loads.made import at_rates


def requests(rate: float) -> tuple[RequestOutput, ...]:
    """So many in each of ten seconds from 10 s on, of half a second."""
    came = [10 + (i + 0.5) / rate for i in range(int(10 * rate))]
    return tuple(
        RequestOutput(
            index=i, input_tokens=3, output_tokens=2, finish_reason="stop", output_digest="", due_s=t, sent_s=t,
            end_s=t + 0.5, token_times_s=(t + 0.25, t + 0.5),
        )
        for i, t in enumerate(came)
    )  # fmt: skip


def test_a_curve_stands_beneath_the_table_of_a_study(tmp_path: Path, plain_llem: Callable[..., Ran]) -> None:
    rates = (4.0, 8.0, 16.0)
    study = Study.of(tmp_path / "s", at_rates(*rates, slo={"e2e_p95_s": 1.0}))
    for slot in study.plan.slots:
        rate = rates[slot.configuration]
        record = LoadRecord(
            kind="rate", began_s=10.0, ended_s=20.0, n_arrived=int(10 * rate), rate_per_s=rate, began_by="ramp",
            ended_by="duration",
        )  # fmt: skip
        # 100 W and 25 W for each request per second, over ten seconds.
        study.finish(
            slot, 1000 + 250 * rate, duration_s=10.0, requests=requests(rate), load=record,
            in_flight=InFlight(n_at_start=0, n_at_end=1),
        )  # fmt: skip
    ran = plain_llem("show", str(study.directory.path))
    assert (ran.code, ran.err) == (0, "")
    table, _, curve = ran.out.partition("\n\n")
    assert "good req/s" in table
    assert curve.startswith("over load.rate\n")
    assert "highest load within the SLO: 16, the highest that was tried" in curve
    assert "one more request/s: 25.0 (25.0 to 25.0) W, by a line through all runs" in curve
    assert max(map(len, ran.out.splitlines())) <= 80


def test_a_study_without_loads_is_as_before(tmp_path: Path, plain_llem: Callable[..., Ran]) -> None:
    study = Study.of(tmp_path / "s", of_batches(1, 4))
    study.finish_all([80.0], [40.0])
    ran = plain_llem("show", str(study.directory.path))
    assert "over load" not in ran.out
    assert "\n\n" not in ran.out
