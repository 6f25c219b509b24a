"""What energy is made of, by hand."""

import pytest

from llenergymeasure.domain.phases import Estimate, PhaseResult, PhasesResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.report.energy import parts_of, phases_of
from tests.fakes.studies import of_batches, plan_of, result_of


@pytest.mark.parametrize(
    ("total_j", "adjusted_j", "net_j", "parts"),
    [
        # 100 J, of which 30 go into idling, and 10 more with the model loaded.
        (100.0, 70.0, 60.0, (30.0, 10.0, 60.0)),
        (100.0, 70.0, None, (30.0, None, 70.0)),
        (100.0, None, 60.0, (None, 40.0, 60.0)),
        (100.0, None, None, (None, None, 100.0)),
        (None, None, None, None),
    ],
)
def test_the_parts_add_up_to_the_whole(
    total_j: float | None, adjusted_j: float | None, net_j: float | None, parts: tuple[float | None, ...] | None
) -> None:
    assert parts_of(total_j, adjusted_j, net_j) == parts


def phase(energy_j: float, duration_s: float) -> PhaseResult:
    """A phase of which only these are asked."""
    return PhaseResult(
        status="resolved",
        n_tokens=4,
        duration_sec=Estimate(value=duration_s, low=None, high=None),
        energy_j=Estimate(value=energy_j, low=energy_j - 1, high=energy_j + 1),
        power_w=None,
        tokens_per_second=None,
        energy_per_token_j=None,
    )


def run(slot: int, prefill_j: float, idle_w: float | None) -> ExperimentResult:
    """A run whose prefill took 2 s and decode 100 J in 5 s."""
    plan = plan_of(of_batches(1), 2)
    phases = PhasesResult(n_pairs=3, n_requests=1, prefill=phase(prefill_j, 2.0), decode=phase(100.0, 5.0))
    return result_of(plan, plan.slots[slot]).model_copy(update={"phases": phases, "idle_loaded_power_w": idle_w})


def test_net_is_without_idling_for_as_long_as_the_phase_took() -> None:
    found = phases_of([run(0, 30.0, 4.0)])
    assert found is not None
    # 30 J less 2 s of 4 W, and 100 J less 5 s of 4 W.
    assert (found["prefill"]["gross"], found["prefill"]["net"]) == (30.0, 22.0)
    assert (found["decode"]["gross"], found["decode"]["net"]) == (100.0, 80.0)
    assert (found["prefill"]["low"], found["prefill"]["high"]) == (29.0, 31.0)


def test_of_several_runs_it_is_their_mean_without_an_interval_that_nobody_worked_out() -> None:
    found = phases_of([run(0, 30.0, 4.0), run(1, 40.0, 4.0)])
    assert found is not None
    assert (found["n"], found["prefill"]["gross"], found["prefill"]["low"]) == (2, 35.0, None)


def test_without_idle_power_there_is_no_net() -> None:
    found = phases_of([run(0, 30.0, None)])
    assert found is not None
    assert found["decode"]["net"] is None


def test_where_no_run_has_phases_there_are_none() -> None:
    plan = plan_of(of_batches(1))
    assert phases_of([result_of(plan, plan.slots[0])]) is None
