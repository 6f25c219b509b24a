"""Lines about where a measurement stands: held while something is measured, and harmless where nobody takes them."""

import logging
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher
from llenergymeasure.orchestration.status import HeldLines, file_handler
from tests.unit.orchestration.conftest import plan_of


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("llenergymeasure.x", logging.INFO, __file__, 1, text, None, None)


def test_lines_wait_until_the_window_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    lines = HeldLines(file_handler(path))
    lines.handle(record("before"))
    lines.hold(True)
    lines.handle(record("within"))
    assert path.read_text(encoding="utf-8").count("\n") == 1
    lines.hold(False)
    lines.handle(record("after"))
    lines.close()
    assert [line.split(": ")[-1] for line in path.read_text(encoding="utf-8").splitlines()] == [
        "before", "within", "after",
    ]  # fmt: skip


def test_lines_that_are_held_are_not_lost_when_the_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    lines = HeldLines(file_handler(path))
    lines.hold(True)
    lines.handle(record("within"))
    lines.close()
    assert "within" in path.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_had_costs_nothing(tmp_path: Path) -> None:
    file_handler(tmp_path / "nowhere" / "log.txt").handle(record("lost"))


def test_parts_of_a_plan_tell_once() -> None:
    plan = plan_of(log_level=logging.INFO)
    assert [plan.part(index).log_level for index in (0, 1)] == [logging.INFO, None]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, None])
def test_a_measuring_process_tells_as_much_as_was_asked_and_leaves_its_error_to_whoever_started_it(
    capfd: pytest.CaptureFixture[str], level: int | None
) -> None:
    config = ExperimentConfig(model="./no-such.gguf", backend="llamacpp", precision="bf16")
    with pytest.raises(BackendError, match=r"xllamacpp|no-such"):
        SubprocessLauncher().launch(plan_of(config=config, log_level=level))
    assert ("Traceback" in capfd.readouterr().err) == (level == logging.DEBUG)
