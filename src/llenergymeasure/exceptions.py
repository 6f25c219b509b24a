"""Every error this package raises on purpose, with the exit code ``llem`` ends with.

LLEMError                  1
+-- ConfigError            2  the configuration, or the way the command was called
+-- ComparisonRefusedError 2  results that measure different things were to be compared
+-- PreFlightError         1  the machine lacks something the plan needs; nothing was run
+-- BackendError           1  an inference engine or a model could not be had
+-- ExperimentError        1  inference failed in the middle of an experiment
|   +-- TimedOutError      1  it took too long, or showed no sign of life, and was ended
+-- StudyError             1  a study as a whole could not go on
"""

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, MethodType

from llenergymeasure._telling import in_a_line, told


class LLEMError(Exception):
    """Base of all errors of this package; the message says what, which value, and what to do.

    It says so as others may read it, for it is kept with results: ``~`` for the home directory, names for secrets.
    """

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(told(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(LLEMError):
    """The configuration is wrong."""

    exit_code = 2


class BackendError(LLEMError):
    """An inference engine or its model cannot be used."""


class ComparisonRefusedError(LLEMError):
    """Results that measure different things were to be compared."""

    exit_code = 2


class PreFlightError(LLEMError):
    """The machine lacks something the plan needs; found before anything ran."""


class ExperimentError(LLEMError):
    """Inference failed while an experiment ran."""


class TimedOutError(ExperimentError):
    """An experiment took longer than it may, or showed no sign of life, and was ended."""


class NodeMissingError(ExperimentError):
    """A node that was to take part in an experiment never came, or is gone; it can be run when the node is back."""


class StudyError(LLEMError):
    """A study could not be carried out as a whole."""


class ForeignExitError(Exception):
    """Code of others tried to end the process, or raised what is no ``Exception``."""


@contextmanager
def contained() -> Iterator[None]:
    """Whatever code of others raises in it is an ``Exception``; only interruptions pass as they are.

    ``sys.exit`` in a library, or a panic of one that is written in Rust, would end this process otherwise. Ctrl-C, and
    what the handler of a signal raises, such as ``sys.exit`` at a scheduler's SIGTERM, are meant to end it.

    Raises:
        ForeignExitError: in place of what is no ``Exception``.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if _comes_from_a_signal(error):
            raise
        raise ForeignExitError(f"{type(error).__name__}: {error}") from error


def _comes_from_a_signal(error: BaseException) -> bool:
    """Whether a handler of a signal raised it, or it was made of a Ctrl-C."""
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, KeyboardInterrupt) or any(
            f.f_code in codes for f, _ in traceback.walk_tb(chain.__traceback__)
        ):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _code_of(handler: object) -> CodeType | None:
    """The code that runs when a handler is called: of a function, a method, a partial, a wrapped or callable object."""
    while (inner := getattr(handler, "func", None) or getattr(handler, "__wrapped__", None)) is not None:
        handler = inner
    if isinstance(handler, FunctionType | MethodType):
        return handler.__code__
    # An object of a class of its own; the system's own handlers are none.
    method = vars(type(handler)).get("__call__") if callable(handler) else None
    return method.__code__ if isinstance(method, FunctionType) else None


def config_error(text: str) -> ConfigError:
    """The error of a configuration, or of what a command was given, in one line whatever names are in it."""
    return ConfigError(in_a_line(told(text)))


def first_line(error: BaseException) -> str:
    """What an error says, in one line of 300 characters at most; its kind where it says nothing.

    A line that ends with a colon is no more than a heading, so the next one is added to it.
    """
    lines = [line.strip() for line in told(str(error)).splitlines() if line.strip()]
    n_headings = next((i for i, line in enumerate(lines) if not line.endswith(":")), 0)
    return " ".join(lines[: n_headings + 1])[:300] or type(error).__name__


def in_one_line(error: BaseException) -> str:
    """The kind of an error and what it says."""
    said, kind = first_line(error), type(error).__name__
    return said if said == kind or isinstance(error, ForeignExitError) else f"{kind}: {said}"
