"""The command line, run in this process and put back as it was."""

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llenergymeasure.cli import main


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    path = tmp_path / "cwd"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def plain_llem(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ran]]:
    """Runs ``llem`` with the arguments given, and puts back what it set for its process."""
    loggers = {
        name: logging.getLogger(name)
        for name in ("llenergymeasure", "transformers", "huggingface_hub", "accelerate", "torch")
    }
    on_signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {name: (logger.level, list(logger.handlers), logger.propagate) for name, logger in loggers.items()}

    def run(*args: str | Path) -> Ran:
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in args])
        for number, on_signal in on_signals.items():
            signal.signal(number, on_signal)
        assert isinstance(caught.value.code, int)
        said = capsys.readouterr()
        return Ran(caught.value.code, said.out, said.err)

    yield run
    for name, (level, handlers, propagate) in before.items():
        loggers[name].setLevel(level)
        loggers[name].handlers[:] = handlers
        loggers[name].propagate = propagate


@pytest.fixture
def llem(folder: Path, monkeypatch: pytest.MonkeyPatch, plain_llem: Callable[..., Ran]) -> Callable[..., Ran]:
    """The same in an empty folder; it measures in this process unless the arguments say otherwise."""
    monkeypatch.setenv("LLEM_EXECUTION__LAUNCHER", "in_process")
    return plain_llem
