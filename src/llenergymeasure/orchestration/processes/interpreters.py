"""Which Python an engine's code is run by: this one, or that of an environment of its own.

Engines whose dependencies exclude each other cannot be installed side by side. The user's file names the interpreter of
such an environment, which has to have this package in the same version, for what goes from process to process is
understood by no other.
"""

import contextlib
import functools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from llenergymeasure._telling import in_a_line
from llenergymeasure._version import __version__
from llenergymeasure.config.reading.sources import ENGINE_VARIABLES, engine_pythons, user_file_path
from llenergymeasure.exceptions import ConfigError, PreFlightError, first_line
from llenergymeasure.orchestration.processes.process_group import leading_a_group, safe_environment

_log = logging.getLogger(__name__)

# An interpreter that has only to import a package of few lines, on a disk far away.
_LIMIT_S = 60.0
# What would make another interpreter import the libraries of this one.
_OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV")
_ASK = "import json, llenergymeasure; print(json.dumps(llenergymeasure.__version__))"
_MOST_SHOWN = 200


@dataclass(frozen=True)
class Interpreter:
    """A Python; ``is_own`` where it is the one that runs this."""

    python: str
    is_own: bool = False

    def command(self, *arguments: str) -> list[str]:
        """A command line for it; ``tied`` gives arguments that become a module."""
        return [self.python, "-P", *arguments]

    def environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of its processes: nothing in it leads to the libraries of another one.

        Args:
            environ: what else is in it; None is this process's own.
        """
        safe = safe_environment(environ)
        return safe if self.is_own else {name: value for name, value in safe.items() if name not in _OF_THIS_PYTHON}


OWN = Interpreter(sys.executable, is_own=True)


def has_its_own(engine: str) -> bool:
    """Whether the user's file names another Python for an engine; nothing is started."""
    return _named(engine) is not None


def interpreter_of(engine: str) -> Interpreter:
    """The Python of an engine.

    Raises:
        PreFlightError: the one that the user's file names cannot be run, or has not this package in this version.
    """
    python = _named(engine)
    if python is None:
        return OWN
    problem = _problem(str(python))
    if problem is not None:
        raise PreFlightError(f"engines.{engine}.python: {python}: {problem}")
    return Interpreter(str(python))


def _named(engine: str) -> Path | None:
    """Another Python than this one, by the user's file; a file that cannot be read names none, which is said once."""
    said = tuple(sorted(item for item in os.environ.items() if item[0].startswith(ENGINE_VARIABLES)))
    python = _all_named(user_file_path(), said).get(engine)
    return None if python is None or _is_this(python) else python


@functools.cache
def _all_named(file: Path, variables: tuple[tuple[str, str], ...]) -> Mapping[str, Path]:  # noqa: ARG001 - they are read below
    """What file and variables said when they were first asked for: all runs of a study are made by one Python."""
    try:
        return engine_pythons()
    except (ConfigError, ValidationError) as error:
        why = first_line(error)
        _log.warning("every engine is run by this Python, for what names others cannot be read: %s", why)
        return {}


def _is_this(python: Path) -> bool:
    # A virtual environment is told by the path of its link, and not by where that leads.
    return os.path.abspath(python) == os.path.abspath(sys.executable)  # noqa: PTH100


@functools.cache
def _problem(python: str) -> str | None:
    """What is wrong with an interpreter; it is asked once."""
    command, env = [python, "-P", "-c", _ASK], Interpreter(python).environment()
    try:
        code, said, complained = _answered(command, env)
    except OSError as error:
        return f"cannot be run: {error.strerror or error}; name the Python of the engine's environment"
    except subprocess.TimeoutExpired:
        return f"gave no answer within {_LIMIT_S:g} s; name the Python of the engine's environment"
    if code != 0:
        lines = complained.decode("utf-8", "replace").strip().splitlines()
        why = in_a_line(lines[-1])[:_MOST_SHOWN] if lines else f"exit code {code}"
        return f"it has not this package ({why}); install llenergymeasure {__version__} there"
    try:
        version = json.loads(said)
    except ValueError:
        return "it answered what is no answer; name the Python of the engine's environment"
    if version != __version__:
        there = in_a_line(str(version))[:_MOST_SHOWN]
        return f"it has llenergymeasure {there}, and this is {__version__}; install the same"
    return None


def _answered(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """The exit code of a command and what it wrote to stdout and stderr; nothing that it started lives on.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it takes longer than ``_LIMIT_S``.
    """
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as streams, leading_a_group(command, stdout=pipe, stderr=pipe, env=env) as process:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                streams.enter_context(stream)
        said, complained = process.communicate(timeout=_LIMIT_S)
        return process.returncode, said, complained
