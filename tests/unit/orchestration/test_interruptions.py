"""What ends a study that runs in this process: a signal, and nothing that an engine raises by itself."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from llenergymeasure.config.models import StudyConfig
from llenergymeasure.orchestration.interruptions import (
    CAME,
    come_again,
    held_back,
    noted_when_interrupted,
    signals_noted,
)
from llenergymeasure.orchestration.studies.execute import execute_study
from tests.fakes.distributions import TOY
from tests.unit.conftest import Install
from tests.unit.orchestration.conftest import Bench


def engine_that(does: str) -> str:
    """The toy, which does this instead of a request."""
    loop = "        for request in requests:\n"
    return TOY.replace(loop, f"        {does}\n{loop}", 1)


def study_in_this_process(output_dir: Path | None = None) -> StudyConfig:
    one = {"backend": "toy", "model": "any", "n": 2, "energy": {"backend": None}, "warmup": {"enabled": False}}
    experiments = [{**one, "name": name} for name in "ab"]
    given = {"experiments": experiments, "execution": {"launcher": "in_process"}, "output_dir": output_dir}
    return StudyConfig.model_validate(given)


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "GeneratorExit", "KeyboardInterrupt('stop')"])
def test_an_engine_that_raises_what_an_interruption_would_is_a_failed_experiment(
    install: Install, bench: Bench, raised: str
) -> None:
    install({"llem_toy": engine_that(f"raise {raised}")}, {"toy": "llem_toy:ToyEngine"})
    study = execute_study(study_in_this_process(), bench.options(launcher=None))
    assert [failure.name for failure in study.failures] == ["a", "b"]
    for failure in study.failures:
        assert failure.error_type == "ExperimentError"
        assert raised.partition("(")[0] in failure.message
        assert failure.message.endswith(", which no signal has raised")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_study(install: Install, bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    module = engine_that(f"import os; os.kill(os.getpid(), {int(number)}); time.sleep(60)")
    install({"llem_toy": module}, {"toy": "llem_toy:ToyEngine"})

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
            execute_study(study_in_this_process(tmp_path), bench.options(launcher=None))
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.type is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    assert caught.value.__notes__[-1].startswith("0 of 2 experiments had finished; only the plan is kept in ")


def test_handlers_are_called_as_they_were_and_put_back() -> None:
    seen: list[int] = []

    def handler(number: int, _: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with signals_noted() as came:
            assert not came()
            os.kill(os.getpid(), signal.SIGUSR1)
            assert came()
        assert signal.getsignal(signal.SIGUSR1) is handler
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_handlers_that_somebody_else_sets_meanwhile_stay_and_may_have_had_one() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with signals_noted() as came:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            assert came()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_beside_the_main_thread_none_comes() -> None:
    found: list[bool] = []

    def body() -> None:
        with signals_noted() as came:
            found.append(came())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_signal_that_waits_leaves_the_handlers_of_the_others_as_they_were() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_signal_comes_once_more_to_whoever_sleeps() -> None:
    began_s = time.monotonic()
    come_again(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(60)
    assert time.monotonic() - began_s < 30


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_an_error_that_was_made_of_an_interruption_is_one_and_says_what_is_kept(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    CAME.append(number)
    try:
        with pytest.raises(kind) as caught, noted_when_interrupted(lambda: "all of it is kept"):
            raise ImportError("initialization of a library failed")
    finally:
        CAME.clear()
    assert caught.value.__notes__ == ["all of it is kept"]
    assert isinstance(caught.value.__context__, ImportError)


def test_an_error_without_an_interruption_is_itself() -> None:
    with pytest.raises(ImportError), noted_when_interrupted(lambda: "all of it is kept"):
        raise ImportError("no such library")
