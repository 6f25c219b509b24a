"""Several processes of which one fails or is killed, or whose launching process is: it is told, and nothing stays."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from llenergymeasure import ExperimentConfig, run_experiment, run_study
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.execute import execute_study
from tests.fakes.effort import PATIENCE_S
from tests.integration.conftest import save_tiny_llama
from tests.integration.test_processes import SHARED, SPLIT, a_model_hub_that_is_not_asked, config_of

__all__ = ["a_model_hub_that_is_not_asked"]


def test_the_error_of_one_process_is_told_as_it_was_and_nothing_stays(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path / "model")
    settings = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = (
        "{% if 'odd' in messages[0].content %}{{ raise_exception('an odd prompt') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        (model / name).write_text(
            template if name.endswith("jinja") else json.dumps({**settings, "chat_template": template}),
            encoding="utf-8",
        )
    prompts = [{"messages": [{"role": "user", "content": word}]} for word in ("even", "odd", "even", "even")]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    dataset = {"path": str(tmp_path / "p.jsonl"), "order": "as_is"}
    experiment = config_of(model, SHARED, n=4, dataset=dataset)
    told = "row 2 of the dataset: the model's chat template cannot write it: an odd prompt; "
    with pytest.raises(ConfigError, match=told):
        run_study(StudyConfig(experiments=[experiment]))
    # Of the four prompts the second goes to process 1, and process 0 waits for it.
    options = RunOptions(preflight=lambda experiments, *_: [unchecked(each) for each in experiments])
    study = execute_study(StudyConfig(experiments=[experiment], output_dir=tmp_path / "out"), options)
    (failure,) = study.failures
    assert failure.error_type == "ConfigError"
    assert failure.message.startswith(told)
    assert workers() == []


def unchecked(config: ExperimentConfig) -> ExaminedExperiment:
    """As preflight finds an experiment that it has nothing against."""
    return ExaminedExperiment(layout=PyTorchBackend().processes(config), devices=())


def workers(of: int | None = None) -> list[psutil.Process]:
    """The measuring processes below a process, by default this one, or those that it has left behind."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if "llenergymeasure.orchestration.processes.worker" in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    mine = psutil.Process(of).children(recursive=True) if of is not None else psutil.Process().children(recursive=True)
    return [process for process in found if process in mine]


def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, "this did not come true in time"
        time.sleep(0.02)
    return found


def says(path: Path, state: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == f"{state}\n"


def test_a_process_killed_in_the_middle_takes_the_others_with_it_and_is_named(tiny_llama: Path, tmp_path: Path) -> None:
    # Long enough to be in the middle of it.
    experiment = config_of(tiny_llama, SPLIT, n=150, max_output_tokens=200, output_dir=tmp_path)
    errors: list[BaseException] = []

    def measure() -> None:
        try:
            run_experiment(experiment)
        except ExperimentError as error:
            errors.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    until(lambda: [p for p in tmp_path.glob(".*/.state/state_1") if says(p, "measuring")])
    (victim,) = [p for p in workers() if p.environ()["RANK"] == "1"]
    others = [p for p in workers() if p != victim]
    assert len(others) == 1
    victim.kill()
    thread.join(PATIENCE_S)
    assert [str(error).partition(" without")[0] for error in errors] == ["process 1 of 2 was killed by SIGKILL"]
    assert not any(p.is_running() for p in (victim, *others))
    assert list(tmp_path.iterdir()) == []


_LAUNCH = """
import sys
from pathlib import Path
from llenergymeasure import ExperimentConfig, run_experiment
run_experiment(ExperimentConfig.model_validate_json(Path(sys.argv[1]).read_text()))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_outlives_the_launching_process(tiny_llama: Path, tmp_path: Path, how: signal.Signals) -> None:
    experiment = config_of(tiny_llama, SHARED, n=150, max_output_tokens=200, output_dir=tmp_path / "out")
    (tmp_path / "config.json").write_text(experiment.model_dump_json(exclude_unset=True), encoding="utf-8")
    command = [sys.executable, "-c", _LAUNCH, str(tmp_path / "config.json")]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    parent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        states = until(lambda: len(found := list(tmp_path.glob("out/.*/.state/state_*"))) == 2 and found)
        running = psutil.Process(parent.pid).children(recursive=True)
        assert (len(states), len(workers(parent.pid))) == (2, 2)
        parent.send_signal(how)
        parent.wait(PATIENCE_S)
        until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in running))
    finally:
        if parent.poll() is None:
            parent.kill()
    if how == signal.SIGINT:
        assert list((tmp_path / "out").iterdir()) == []
    # What torchrun has for itself lies in the run's own folder, which the next run removes.
    assert list(temporary.iterdir()) == []
    assert bool(list((tmp_path / "out").glob(".*/.state/starting/*"))) == (how == signal.SIGKILL)
