"""Engines of other distributions, in processes of their own."""

import logging
import os
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher, create_launcher
from llenergymeasure.orchestration.processes.torchrun_agent import main, read_ends
from llenergymeasure.orchestration.quiet import keep_quiet
from llenergymeasure.testing import FakeClock, FakeEngine, FakeModel
from tests.fakes.distributions import TOY, lay_down
from tests.unit.conftest import Install

# Asks for two processes, of which the second fails.
PAIR = (
    TOY.replace('name = "toy"', 'name = "pair"')
    + """
    def processes(self, config):
        from llenergymeasure.domain.plan import ProcessLayout
        return ProcessLayout.of(2, "data")

    def start_processes(self, command, n_processes, folder):
        from llenergymeasure.domain.process import ProcessEnd
        assert command[0] == "-m" and "llenergymeasure.orchestration.processes.worker" in command and n_processes == 2
        assert folder.parent.joinpath("plan.json").exists() and not folder.exists()
        return [ProcessEnd(process_index=1, exit_code=-9, time_s=5.0)]
"""
)


def config_of(name: str) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "any", "backend": name, "n": 2, "energy": {"backend": None}})


@pytest.mark.parametrize("loggers", ['("toy.library",)', "None"])
def test_a_fresh_process_finds_the_engine_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: None, loggers: str
) -> None:
    # Loggers that cannot be had are no one's burden there either.
    module = TOY.replace('loggers = ("toy.library",)', f"loggers = {loggers}")
    folder = lay_down(tmp_path / "again", {"llem_toy": module}, {"toy": "llem_toy:ToyEngine"})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    launcher = create_launcher("subprocess", ProcessLayout())
    assert isinstance(launcher, SubprocessLauncher)
    [raw] = launcher.launch(ExperimentPlan.of(config_of("toy")))
    assert raw.effective_config["toy"] == {"n_tokens": 4, "label": None}
    assert [r.output_tokens for r in raw.requests] == [4, 4]


def test_an_engine_starts_its_own_processes_and_how_they_failed_is_kept(install: Install, tmp_path: Path) -> None:
    from pydantic import TypeAdapter

    install({"llem_pair": PAIR}, {"pair": "llem_pair:ToyEngine"}, "llem-pair")
    plan = TypeAdapter(ExperimentPlan).dump_json(ExperimentPlan.of(config_of("pair")))
    (tmp_path / "plan.json").write_bytes(plan)
    assert main(tmp_path, 2) == 1
    assert [(end.process_index, end.exit_code) for end in read_ends(tmp_path)] == [(1, -9)]


def test_one_that_asks_for_processes_and_cannot_start_them_says_so(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="the fake engine asks for 3 processes and cannot start them"):
        FakeEngine(FakeModel(FakeClock())).start_processes(["-m", "x"], 3, tmp_path)


def test_one_that_cannot_be_made_is_an_error_of_the_engine(install: Install) -> None:
    install({"llem_shy": "class Engine:\n def __init__(self): raise OSError('not today')"}, {"shy": "llem_shy:Engine"})
    with pytest.raises(BackendError, match=r"the engine 'shy' of llem-toy 1\.0 cannot be made: OSError: not today"):
        get_backend("shy")


def test_libraries_are_kept_quiet_unless_the_user_wants_to_hear_them() -> None:
    class Talkative(FakeEngine):
        loggers = ("talkative.library",)
        variables = {"TALKATIVE": "0", "CHATTY": "0"}  # noqa: RUF012 - as an engine writes it

    environ = {"CHATTY": "9"}
    keep_quiet(Talkative(FakeModel(FakeClock())), environ)
    assert environ == {"CHATTY": "9", "TALKATIVE": "0"}
    assert logging.getLogger("talkative.library").level == logging.ERROR
