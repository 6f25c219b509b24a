"""Engines in environments of their own: which Python runs them, and what is wrong with one that cannot."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import llenergymeasure
from llenergymeasure import __version__
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.sources import engine_pythons, environment_source
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.asked_elsewhere import Looking, settled_before_a_run
from llenergymeasure.orchestration.preflight.check import examine
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.interpreters import OWN, has_its_own, interpreter_of
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher
from tests.fakes.command import Ran, folder, llem, plain_llem
from tests.fakes.distributions import TOY, lay_down
from tests.unit.conftest import WriteUserFile

__all__ = ["folder", "llem", "plain_llem"]

SOURCE = Path(llenergymeasure.__file__).parent.parent
# The same engine as another release of it would be: built otherwise, and native in another precision.
THERE = TOY.replace('{"toy build": "plain"}', '{"toy build": "tuned"}').replace('return "fp16"', 'return "fp32"')


def script(path: Path, text: str) -> Path:
    """Something that can be started."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, write_user_file: WriteUserFile) -> Path:
    """A Python that has this package and another build of the toy, named in the user's file."""
    folder = lay_down(tmp_path / "there", {"llem_toy": THERE}, {"toy": "llem_toy:ToyEngine"})
    path = os.pathsep.join([str(folder), str(SOURCE)])
    python = script(tmp_path / "python-there", f'PYTHONPATH="{path}" exec "{sys.executable}" "$@"')
    write_user_file(f"engines:\n  toy: {{python: {python}}}\n")
    return python


def config_of(**fields: object) -> ExperimentConfig:
    given = {"model": "any", "backend": "toy", "n": 2, "energy": {"backend": None}}
    return ExperimentConfig.model_validate({**given, **fields})


@pytest.mark.usefixtures("toy")
def test_one_that_is_not_named_is_run_by_this_python() -> None:
    assert interpreter_of("toy") is OWN
    assert not has_its_own("toy")


@pytest.mark.usefixtures("toy")
def test_this_python_by_its_path_is_this_python(write_user_file: WriteUserFile) -> None:
    write_user_file(f"engines: {{toy: {{python: {sys.executable}}}}}\n")
    assert interpreter_of("toy") is OWN


@pytest.mark.usefixtures("toy")
def test_it_is_asked_examined_and_run_there(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/this/python")
    assert interpreter_of("toy").python == str(elsewhere)
    with Asking() as asking:
        chosen = settled_before_a_run(config_of(precision="auto"), asking)
        (found,) = examine([chosen.config], None, asking)
        status = Looking(asking).engine("toy", ())
    # Here it would be fp16.
    assert chosen.config.precision == "fp32"
    assert found.devices == ()
    assert (status.problem, status.python) == (None, str(elsewhere))
    [raw] = SubprocessLauncher().launch(ExperimentPlan.of(chosen.config))
    assert raw.environment_snapshot.engine["toy build"] == "tuned"
    assert [request.output_tokens for request in raw.requests] == [4, 4]


@pytest.mark.usefixtures("toy", "elsewhere")
def test_it_cannot_be_run_in_this_process() -> None:
    with pytest.raises(ConfigError, match=r"in_process cannot go with backend: toy, which lives in an environment of"):
        examine([config_of(execution={"launcher": "in_process"})], None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be run: No such file or directory"),
        (
            f"exec '{sys.executable}' -S -I \"$@\"",
            "it has not this package (ModuleNotFoundError: No module named 'llen",
        ),
        ("echo '\"0.0.1\"'", f"it has llenergymeasure 0.0.1, and this is {__version__}; install the same"),
        ("echo Python 3", "it answered what is no answer"),
        ("exit 3", "it has not this package (exit code 3)"),
    ],
)
@pytest.mark.usefixtures("toy")
def test_one_that_is_of_no_use_is_a_line_that_names_it(
    tmp_path: Path, write_user_file: WriteUserFile, text: str | None, problem: str
) -> None:
    python = tmp_path / "python"
    if text is not None:
        script(python, text)
    write_user_file(f"engines: {{toy: {{python: {python}}}}}\n")
    line = f"engines.toy.python: {python}: {problem}"
    with pytest.raises(PreFlightError) as caught:
        interpreter_of("toy")
    assert str(caught.value).startswith(line)
    with pytest.raises(PreFlightError) as caught:
        examine([config_of()], None)
    assert line in str(caught.value)
    with Asking() as asking:
        assert (Looking(asking).engine("toy", ()).problem or "").startswith(line)


@pytest.mark.usefixtures("toy")
def test_the_list_of_engines_says_where_it_lives(elsewhere: Path, llem: Callable[..., Ran]) -> None:
    ran = llem("config")
    assert ran.code == 0
    lines = " ".join(ran.out.split())
    assert f"engine toy usable (in an environment of its own: {elsewhere})" in lines


@pytest.mark.usefixtures("toy")
def test_a_broken_file_of_the_user_stops_nothing_from_python_and_is_told(
    write_user_file: WriteUserFile, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_user_file("engines: [\n")
    assert interpreter_of("toy") is OWN
    assert f"for what names others cannot be read: {path}:" in caplog.text


@pytest.mark.usefixtures("toy")
def test_all_runs_of_a_process_are_made_by_the_python_that_was_named_first(
    elsewhere: Path, write_user_file: WriteUserFile
) -> None:
    assert interpreter_of("toy").python == str(elsewhere)
    # Such as by somebody who edits the file while a study goes on.
    write_user_file("engines: [\n")
    assert interpreter_of("toy").python == str(elsewhere)


@pytest.mark.usefixtures("toy")
def test_a_variable_wins_over_the_file(write_user_file: WriteUserFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write_user_file("engines: {toy: {python: /from/file}, vllm: {python: ~/vllm/bin/python}}\n")
    assert engine_pythons({}) == {"toy": Path("/from/file"), "vllm": Path.home() / "vllm/bin/python"}
    found = engine_pythons({"LLEM_ENGINES__TOY__PYTHON": "/from/variable"})
    assert found["toy"] == Path("/from/variable")
    # It is no field of an experiment.
    assert environment_source({"LLEM_ENGINES__TOY__PYTHON": "/from/variable"}).values == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("engines: {vlm: {python: /x}}", "there is no engine 'vlm'"),
        ("engines: {vllm: {python: bin/python}}", "a default must not depend on the working directory"),
        ("engines: {vllm: {python: '${HOME}/python'}}", "no variable is put in place here"),
        ("engines: {vllm: {path: /x}}", "path"),
    ],
)
def test_what_is_wrong_in_the_users_file_is_told_with_its_line(
    write_user_file: WriteUserFile, llem: Callable[..., Ran], text: str, problem: str
) -> None:
    path = write_user_file(f"# mine\n{text}\n")
    ran = llem("config")
    said = " ".join(ran.out.split())
    # Everything else is still told.
    assert (ran.code, "energy auto" in said) == (0, True)
    assert problem in said
    assert f"{path}:2" in said
