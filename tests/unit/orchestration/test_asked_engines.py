"""Engines of other distributions do what they will when they are asked; it costs their own experiment and no other."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig, StudyConfig
from llenergymeasure.exceptions import BackendError, PreFlightError
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.check import check, examine
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.importing import problem_of_importing
from llenergymeasure.orchestration.studies.execute import execute_study
from tests.fakes.asked import ASKED, METHODS
from tests.unit.conftest import Install

# Each method, and the process that it was asked in.
SAYING = """
def _say(method):
    with open(os.environ["SAID"], "a") as said:
        print(os.getpid(), method, file=said)

"""
WHO = "model 'any': the engine 'toy' of llem-toy 1.0 cannot be asked: "


@pytest.fixture(autouse=True)
def _asked(install: Install) -> None:
    install({"llem_toy": ASKED}, {"toy": "llem_toy:ToyEngine"})


def config_of(label: str | None, **fields: Any) -> ExperimentConfig:
    """An experiment in which the engine does what its label says."""
    given = {"model": "any", "backend": "toy", "n": 2, "energy": {"backend": None}, "name": label or "plain"}
    return ExperimentConfig.model_validate({**given, "toy": {"label": label}, **fields})


def lines_of(*experiments: ExperimentConfig) -> list[str]:
    """What preflight says of these."""
    with pytest.raises(PreFlightError) as caught:
        examine(experiments, None)
    return str(caught.value).splitlines()


def test_each_way_to_end_the_process_is_a_line_of_its_own_experiment() -> None:
    asked = METHODS[:-1]
    labels = [
        None,
        *(f"{method} exit {code}" for code, method in enumerate(asked, 3)),
        None,
        *(f"{method} raise {code}" for code, method in enumerate(asked, 3)),
        "problems fork 9",
    ]
    n = len(labels)
    of = {label: f"experiment {i} of {n} ({label})" for i, label in enumerate(labels, 1) if label}
    ended = WHO + "it ended its process, which ended with exit code"
    raised = "the engine 'toy' of llem-toy 1.0 failed when it was asked: SystemExit:"
    assert lines_of(*map(config_of, labels)) == [
        *(f"{of[f'{method} exit {code}']}: {ended} {code}" for code, method in enumerate(asked, 3)),
        *(f"{of[f'{method} raise {code}']}: {raised} {code}" for code, method in enumerate(asked, 3)),
        f"{of['problems fork 9']}: {ended} 9",
    ]


@pytest.mark.parametrize("way", ["hang", "close"])
def test_one_that_does_not_answer_is_waited_for_as_long_as_the_experiment_says(way: str) -> None:
    (line,) = lines_of(config_of(f"cautions {way}", execution={"stall_timeout_s": 0.5}))
    assert line.startswith(WHO)
    gave_none, closed = "gave no sign of life for 0.5 s", "it closed the streams of its process"
    assert (gave_none if way == "hang" else closed) in line or gave_none in line
    assert ("execution.stall_timeout_s says how long is waited" in line) == (gave_none in line)


def test_what_is_printed_goes_to_the_log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, "llenergymeasure"):
        (found,) = examine([config_of("cautions print")], None)
    assert found.lacking == ()
    assert [r.getMessage() for r in caplog.records if "printed" in r.getMessage()] == [
        "printed while it was asked: hello \x1b[31m red",
        "printed while it was asked: and by its descriptor",
    ]
    assert capfd.readouterr() == ("", "")


def test_what_is_found_there_is_what_is_found_here() -> None:
    (there,) = examine([config_of(None)], None)
    (here,) = examine([config_of(None, execution={"launcher": "in_process"})], None)
    assert (there.layout, there.devices, there.cautions) == (here.layout, here.devices, here.cautions)
    assert there.prompts == here.prompts
    assert there.prompts is not None


def test_what_is_left_to_the_machine_is_asked_there_too() -> None:
    with Asking() as asking:
        assert settled_before_a_run(config_of(None, precision="auto"), asking).config.precision == "fp16"
        auto = settled_before_a_run(config_of(None, backend="auto"), asking)
    assert (auto.config.backend, auto.as_given) == ("toy", {"backend": "auto"})
    told = "the engine 'toy' of llem-toy 1.0 cannot be asked: it ended its process, which ended with exit code 4"
    with Asking() as asking, pytest.raises(BackendError, match=told):
        settled_before_a_run(config_of("native_precision exit 4", precision="auto"), asking)


def test_one_process_is_asked_all_that_comes_before_a_run(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    telling = ASKED.replace("def _asked(method, config):", f"{SAYING}\ndef _asked(method, config):\n    _say(method)")
    install({"llem_telling": telling.replace('"toy"', '"telling"')}, {"telling": "llem_telling:ToyEngine"}, "llem-tell")
    monkeypatch.setenv("SAID", str(said))
    one = {"model": "any", "backend": "telling", "n": 2, "energy": {"backend": None}, "precision": "auto"}
    study = StudyConfig.model_validate({"experiments": [{**one, "name": name} for name in "ab"]})

    def enough(experiments: Sequence[ExperimentConfig], output_dir: Path | None, asking: Asking) -> Any:
        check(experiments, output_dir, asking)
        raise PreFlightError("enough")

    with pytest.raises(PreFlightError, match="enough"):
        execute_study(study, RunOptions(preflight=enough))
    answers = [line.split() for line in said.read_text("utf-8").splitlines()]
    assert [method for _, method in answers].count("native_precision") == 2
    assert [method for _, method in answers].count("problems") == 2
    assert len({pid for pid, _ in answers}) == 1


def test_experiments_of_a_study_are_asked_as_the_study_says() -> None:
    study = StudyConfig.model_validate(
        {"experiments": [{"model": "any"}], "execution": {"launcher": "in_process", "stall_timeout_s": 7}}
    )
    assert [each.execution for each in study.carried_out] == [ExecutionConfig(launcher="in_process", stall_timeout_s=7)]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import os; os._exit(0)", "importing it ends the process"),
        ("import os; os._exit(5)", "importing it ends the process, which ended with exit code 5"),
        ("import os; os.abort()", "importing it ends the process, which was killed by SIGABRT"),
        ("import time; time.sleep(100000)", "importing it does not end: its process gave no sign of life for 0.5 s"),
        ("raise SystemExit(3)", None),
        ("class Engine: pass", None),
    ],
)
def test_what_an_import_would_do_to_a_process_is_known_before(install: Install, module: str, said: str | None) -> None:
    install({"llem_odd": module}, {"odd": "llem_odd:Engine"}, "llem-odd")
    silence_s = 0.5 if "sleep" in module else 300.0
    found = problem_of_importing("llem_odd:Engine", silence_s)
    assert found is None if said is None else str(found).startswith(said)
