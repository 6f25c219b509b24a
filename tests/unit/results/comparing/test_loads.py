"""Runs under load beside each other: goodput of one promise, and no mean over a queue that grows."""

from dataclasses import replace

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.under_load.load_result import LoadResult, OverloadResult, PromisesResult
from llenergymeasure.results.comparing.comparison import compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.persistence import load_result
from tests.unit.results.comparing.conftest import MakeGroup
from tests.unit.results.comparing.test_comparison import against
from tests.unit.results.recorded import GOLDEN


def recorded() -> LoadResult:
    load = load_result(GOLDEN / "revision-7" / "load").load
    assert load is not None
    return load


LOAD = recorded()
GROWN = OverloadResult(overloaded=True, n_grown=200.0, share_of_arrivals=0.2, p_value=0.0)


def slo_of(result: ExperimentResult) -> PromisesResult:
    assert result.load is not None
    assert result.load.slo is not None
    return result.load.slo


def under_load(group: Group, *overloaded: bool) -> Group:
    loads = [replace(LOAD, overload=GROWN) if over else LOAD for over in overloaded]
    results = [result.model_copy(update={"load": load}) for result, load in zip(group.results, loads, strict=True)]
    return Group(label=group.label, results=tuple(results), runs=group.runs)


def promised(group: Group, limit_s: float) -> Group:
    """The same with another first promise."""
    results = []
    for result in group.results:
        slo = slo_of(result)
        first = replace(slo.promised[0], limit_s=limit_s)
        load = replace(LOAD, slo=replace(slo, promised=(first, *slo.promised[1:])))
        results.append(result.model_copy(update={"load": load}))
    return Group(label=group.label, results=tuple(results), runs=group.runs)


def test_a_group_of_which_some_were_overloaded_has_no_mean(make_group: MakeGroup) -> None:
    a = under_load(make_group("A", 80.0, 80.0, 80.0), False, False, False)
    b = under_load(make_group("B", 88.0, 88.0, 88.0), False, True, False)
    found = compare([a, b])
    row = found.row("energy_per_output_token_j")
    assert row is not None
    assert row.values[0].summary is not None
    why = "of its own runs, 1 of 3 were overloaded, and of a queue that grows there is no mean"
    assert (row.values[1].summary, row.values[1].why_none) == (None, why)
    assert against(found).ratio is None


def test_a_group_that_was_overloaded_each_time_is_compared(make_group: MakeGroup) -> None:
    a = under_load(make_group("A", 80.0, 80.0, 80.0), False, False, False)
    b = under_load(make_group("B", 88.0, 88.0, 88.0), True, True, True)
    ratio = against(compare([a, b])).ratio
    assert ratio is not None


def test_goodput_of_another_promise_is_another_thing(make_group: MakeGroup) -> None:
    a = under_load(make_group("A", 80.0, 80.0, 80.0), False, False, False)
    b = under_load(make_group("B", 80.0, 80.0, 80.0), False, False, False)
    for metric in ("goodput", "joules_per_good_token", "in_flight_mean"):
        assert against(compare([a, b]), metric).ratio is not None
    for metric, other in (("goodput", True), ("joules_per_good_token", True), ("in_flight_mean", False)):
        assert (against(compare([a, promised(b, 0.3)]), metric).ratio is None) is other
