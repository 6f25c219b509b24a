"""The states of a measurement."""

import itertools

import pytest

from llenergymeasure.core.state import ExperimentState, StateMachine

INITIALISING, MEASURING, DONE, FAILED = ExperimentState
ALLOWED = {(INITIALISING, MEASURING), (INITIALISING, FAILED), (MEASURING, DONE), (MEASURING, FAILED)}
WAY_TO: dict[ExperimentState, list[ExperimentState]] = {
    INITIALISING: [],
    MEASURING: [MEASURING],
    DONE: [MEASURING, DONE],
    FAILED: [FAILED],
}


def _fail_after(states: list[ExperimentState], machine: StateMachine, error: type[BaseException]) -> None:
    with machine:
        for state in states:
            machine.advance(state)
        raise error


def test_the_names_are_those_that_files_hold() -> None:
    assert [str(s) for s in ExperimentState] == ["initialising", "measuring", "done", "failed"]


@pytest.mark.parametrize(("now", "then"), list(itertools.product(ExperimentState, repeat=2)))
def test_states_only_move_forward(now: ExperimentState, then: ExperimentState) -> None:
    machine = StateMachine()
    for state in WAY_TO[now]:
        machine.advance(state)
    if (now, then) in ALLOWED:
        machine.advance(then)
        assert machine.state == then
    else:
        with pytest.raises(ValueError, match=f"{now} cannot become {then}"):
            machine.advance(then)
        assert machine.state == now


def test_a_listener_hears_every_state_once_the_first_included() -> None:
    heard: list[str] = []
    with StateMachine(heard.append) as machine:
        machine.advance(MEASURING)
        machine.advance(DONE)
    assert heard == ["initialising", "measuring", "done"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("reached", [INITIALISING, MEASURING])
def test_an_exception_inside_is_a_failure_and_goes_on(error: type[BaseException], reached: ExperimentState) -> None:
    heard: list[ExperimentState] = []
    with pytest.raises(error):
        _fail_after(WAY_TO[reached], StateMachine(heard.append), error)
    assert heard == [INITIALISING, *WAY_TO[reached], FAILED]


def test_what_is_done_stays_done() -> None:
    machine = StateMachine()
    with pytest.raises(RuntimeError):
        _fail_after(WAY_TO[DONE], machine, RuntimeError)
    assert machine.state == DONE
