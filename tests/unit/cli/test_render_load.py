"""What people see of a load: in 80 columns, with three digits, and with a word where a point is none."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.cli.render_load import load_rows
from llenergymeasure.cli.render_result import experiment
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.under_load.load_result import LoadResult, OverloadResult
from llenergymeasure.results.persistence import load_result
from tests.unit.results.recorded import GOLDEN

RESULT = load_result(GOLDEN / "revision-7" / "load")


def of(result: ExperimentResult) -> dict[str, str]:
    return dict(load_rows(result))


def changed(**values: Any) -> dict[str, str]:
    assert RESULT.load is not None
    return of(RESULT.model_copy(update={"load": replace(RESULT.load, **values)}))


def load() -> LoadResult:
    assert RESULT.load is not None
    return RESULT.load


def test_a_run_says_what_came_and_what_was_kept() -> None:
    said = of(RESULT)
    assert said["under load"] == ("1.50 requests/s asked for, 1.55 requests/s came (31 in the window, 39 in all)")
    assert said["measured"] == "from the end of the ramp that was asked for until the time was over"
    assert said["in flight"] == "1.11 on average, 3 at most; 1 at the start, 1 at the end"
    assert said["overload"].startswith("no (grown by 0.409 in flight")
    assert said["sent late by"] == "4.26 ms mean, 10.0 ms at most; the mean is 0.660 % of the time between arrivals"
    assert said["our own sending"] == "0.250 s of processor time, 1.25 % of a core"
    assert said["SLO"] == "met: TTFT p95 0.375 s <= 0.5 s, TPOT p95 0.125 s <= 0.25 s, E2E p95 1.12 s <= 2 s"
    assert said["goodput"] == "1.50 req/s, 7.15 output tok/s; 30 of 31 requests were good (96.77 %)"
    assert said["J per good token"] == "15.4 J"
    assert said["J per output token"] == "varies by 41.1 % (CV) over 10 parts of the window"
    assert said["failed requests"] == "1 timeout"
    assert said["tokens counted by"] == "tokens (20 requests), usage (10 requests)"
    assert said["from a cache"] == "22 of 146 input tokens were not computed"


def test_it_fits_a_terminal_and_is_a_group_of_its_own() -> None:
    table = experiment(RESULT, None)
    assert max(map(len, table.splitlines())) <= 80
    groups = table.split("\n\n")
    assert sum(group.startswith("under load") for group in groups) == 1


def test_a_result_without_a_load_says_nothing_of_one() -> None:
    assert load_rows(load_result(GOLDEN / "revision-7" / "gpus")) == []


def test_overload_and_broken_promises_are_loud() -> None:
    grown = OverloadResult(overloaded=True, n_grown=200.0, share_of_arrivals=0.2, p_value=0.0)
    said = changed(overload=grown)
    assert said["overload"] == "OVERLOADED: grown by 200 in flight, 20.0 % of what came; no figure is of a steady state"
    slo = load().slo
    assert slo is not None
    ttft, *others = slo.promised
    late = replace(ttft, p95_s=None, met=False)
    said = changed(slo=replace(slo, met=False, promised=(late, *others)))
    assert said["SLO"].startswith("NOT met: TTFT p95 - > 0.5 s, TPOT p95 0.125 s <= 0.25 s")
    few = tuple(replace(each, met=None) for each in slo.promised)
    assert changed(slo=replace(slo, met=None, promised=few))["SLO"].startswith(
        "not known whether met: TTFT p95 0.375 s of"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "concurrency", "n_asked_in_flight": 16}, "16 at a time, 1.55 requests/s came"),
        ({"kind": "trace"}, "arrivals of a trace, 1.55 requests/s came"),
        ({"kind": "max"}, "all requests at once, 1.55 requests/s came"),
    ],
)
def test_each_kind_of_load_says_what_was_asked(values: dict[str, Any], said: str) -> None:
    assert changed(**values)["under load"].startswith(said)


def test_what_is_not_known_has_its_reason() -> None:
    said = changed(token_energy_cv=None, why_no_cv="no token came in one of the parts", overload=None, sending=None)
    assert said["J per output token"] == "not told in parts of the window: no token came in one of the parts"
    assert not {"overload", "sent late by", "TTFT from sending"} & set(said)
    classes = load().request_energy
    assert classes is not None
    short, long = classes.classes
    why = "nothing parts them"
    none = tuple(replace(each, status="unresolved", per_request_j=None, why_not=why) for each in (short, long))
    said = changed(request_energy=replace(classes, classes=none))
    assert said["J per request"] == "UNRESOLVED for short and long answers: nothing parts them"
    said = changed(request_energy=replace(classes, classes=(replace(short, status="unresolved", why_not="why"), long)))
    assert said["J per request"].startswith("short 27.5 (19.8 to 35.2) UNRESOLVED: why; long 42.1 (30.3 to 53.8)")
