"""The process that code of others is asked in: questions come in and answers go out, in lines of JSON.

The first line is ``{"path", "level"}``: where else modules lie, and from which level on lines are wanted. Each further
one has a ``question`` and what it is about. It is answered with ``{"answer"}`` or ``{"error": [kind, text]}``; before
that there may be lines ``{"log": [level, logger, text]}``. ``asking`` starts it, through ``lifeline``.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.calibration.store import CALIBRATION
from llenergymeasure.core.energy_backends import SensorContext, probe_sensors, read_briefly
from llenergymeasure.core.settling import AskedHere
from llenergymeasure.exceptions import ForeignExitError, LLEMError, contained, in_one_line
from llenergymeasure.orchestration.calibrating import GPU, calibrated_here, load_problem
from llenergymeasure.orchestration.inspection import engine_status
from llenergymeasure.orchestration.preflight.engine import examined_here
from llenergymeasure.orchestration.preflight.examined import EXAMINED, VISIBLE
from llenergymeasure.orchestration.preflight.prompt_check import PromptChecks
from llenergymeasure.orchestration.quiet import keep_quiet, quieten_others


class Answers:
    """What goes out; threads of a library may log at any time."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to, self._lock = to, threading.Lock()

    def say(self, what: Mapping[str, Any]) -> None:
        """One line."""
        line = json.dumps(what).encode() + b"\n"
        with self._lock:
            self._to.write(line)
            self._to.flush()


class _Sending(logging.Handler):
    """Hands lines over to whoever asks, which has handlers for them."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        self._answers.say({"log": [record.levelno, record.name, self.format(record)]})


class _Questions:
    """Answers each by its name; what several experiments share is read once."""

    def __init__(self) -> None:
        self._prompts = PromptChecks()

    def examine(self, about: Mapping[str, Any]) -> str:
        config = in_use(ExperimentConfig.model_validate_json(about["config"]))
        self._keep_quiet(config.backend)
        found = examined_here(config, self._prompts, VISIBLE.validate_json(about["visible"]))
        return EXAMINED.dump_json(found).decode()

    def installation_problem(self, about: Mapping[str, Any]) -> str | None:
        self._keep_quiet(about["name"])
        return AskedHere().installation_problem(about["name"])

    def native_precision(self, about: Mapping[str, Any]) -> str:
        config = ExperimentConfig.model_validate_json(about["config"])
        self._keep_quiet(config.backend)
        return AskedHere().native_precision(config)

    def engine(self, about: Mapping[str, Any]) -> tuple[str | None, bool | None, bool, str | None]:
        self._keep_quiet(about["name"])
        status = engine_status(about["name"], about["visible"])
        return status.problem, status.uses_gpus, status.proven, status.version

    def sensor(self, about: Mapping[str, Any]) -> tuple[str | None, bool, str, float | None, str]:
        devices = about["devices"]
        context = SensorContext(devices=None if devices is None else tuple(devices))
        (status,) = probe_sensors(context, [about["name"]])
        if about["read_s"]:
            status = read_briefly(status, about["read_s"])
        return status.problem, bool(status.modelled), status.advice, status.read_w, status.command

    def load_problem(self, about: Mapping[str, Any]) -> str | None:
        self._keep_quiet(about["name"])
        return load_problem(about["name"])

    def calibration(self, about: Mapping[str, Any]) -> str:
        self._keep_quiet(about["engine"])
        found = calibrated_here(GPU.validate_json(about["gpu"]), about["engine"], about["seconds"])
        return CALIBRATION.dump_json(found).decode()

    @staticmethod
    def _keep_quiet(name: str) -> None:
        try:
            with contained():
                keep_quiet(get_backend(name), os.environ)
        except Exception as error:  # noqa: BLE001 - an engine raises what it will, and is asked again for its answer
            logging.getLogger(__name__).debug("its libraries are not kept quiet: %s", in_one_line(error))


def answered(ask: Callable[[Mapping[str, Any]], Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """What a question is answered with; whatever it raises is an answer too."""
    try:
        with contained():
            return {"answer": ask(about)}
    except LLEMError as error:
        return {"error": [type(error).__name__, str(error)]}
    except Exception as error:  # noqa: BLE001 - engines and their libraries raise what they will
        return {"error": [ForeignExitError.__name__, in_one_line(error)]}


def main() -> None:
    """Answer until nothing more comes."""
    # What code of others prints is no answer, and what it reads no question.
    questions, answers = os.fdopen(os.dup(0), "rb"), Answers(os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    given = json.loads(questions.readline())
    # Behind this process's own, so that nothing there takes the place of a module that it has.
    sys.path.extend(place for place in given["path"] if place not in sys.path)
    logger = logging.getLogger("llenergymeasure")
    logger.propagate = False
    logger.setLevel(given["level"])
    logger.addHandler(_Sending(answers))
    quieten_others(given["level"])
    known = _Questions()
    for line in questions:
        about = json.loads(line)
        answers.say(answered(getattr(known, about["question"]), about))


if __name__ == "__main__":
    main()
