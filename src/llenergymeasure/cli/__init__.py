"""The command line: the only place that prints or exits."""

import importlib
import io
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure._version import __version__
from llenergymeasure.cli import streams
from llenergymeasure.config.entry_points import tried_first
from llenergymeasure.orchestration.interruptions import CAME, come_again, held_back

# Below the working directory.
DEFAULT_OUTPUT = Path("results")
# What a signal that ended a program adds its number to, in the exit code.
_BY_A_SIGNAL = 128
_COMMANDS = {
    "run": "Measure an experiment or a study.",
    "studies": "Show where studies stand, and how to go on.",
    "worker": "Help to run a study.",
    "submit": "Hand a study to a cluster.",
    "cancel": "End the jobs of a study on a cluster.",
    "results": "Put saved results into a table.",
    "show": "Print a result, or the table of a study, again as after its run.",
    "compare": "Show by how much results differ, and whether that is more than chance.",
    "report": "Write a page that shows results, in one file.",
    "plot": "Draw two columns of results against each other.",
    "attach": "Join the log of a meter at the wall to a result.",
    "verify": "Work a result out again from its files alone.",
    "config": "Show what this machine can measure with.",
    "calibrate": "Find out what the sensors of a GPU see.",
    "cite": "Print how to cite the tool, and how a result came about.",
    "footprint": "Work out carbon and cost of results.",
    "pack": "Write a result or a study as one archive.",
    "completion": "Print what makes a shell complete commands and options.",
}
# Commands whose module is in a room.
_ROOMS = {
    "cancel": "cluster.",
    "cite": "publishing.",
    "completion": "completing.",
    "footprint": "publishing.",
    "pack": "publishing.",
    "studies": "studies.",
    "submit": "cluster.",
    "worker": "studies.",
}


class _InterruptedError(BaseException):
    """Made of a Ctrl-C, which is its cause."""


class _LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that --help and --version stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # So a shell asks, at each press of a key.
        if ctx.resilient_parsing:
            # Imported here because nobody else needs it.
            from llenergymeasure.cli.completing.words import stand_in

            return stand_in(cmd_name, _COMMANDS[cmd_name])
        # An interruption in the middle of it would be an error of whatever is being imported.
        with held_back():
            module = importlib.import_module(f"llenergymeasure.cli.{_ROOMS.get(cmd_name, '')}{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click would answer Ctrl-C with an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llem")
def cli() -> None:
    """Measure the energy, throughput, latency and compute of LLM inference."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted, 128 and the signal's number ended by another.
    """
    streams.make_usable()
    # A scheduler's SIGTERM, and a terminal that is closed, have to clean up as Ctrl-C does; nohup has SIGHUP ignored.
    CAME.clear()
    for number, handler in {signal.SIGINT: _interrupt, signal.SIGTERM: _terminate, signal.SIGHUP: _terminate}.items():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    sys.unraisablehook = _lost
    code = _exit_code(args)
    # All is said and done: what comes now changes no exit code.
    _let_signals_pass()
    sys.exit(code if streams.settle() else code or 1)


# What is raised by Ctrl-C, and by others.
_RAISES: Mapping[bool, type[BaseException]] = {True: KeyboardInterrupt, False: SystemExit}


def _lost(what: "sys.UnraisableHookArgs") -> None:
    """Python drops what a signal raises while an object is given back, as in the ``__del__`` of a lock."""
    # The latest of its kind; only in this thread does a signal raise anything.
    kinds = [number for number in CAME if isinstance(what.exc_value, _RAISES[number is signal.SIGINT])]
    if not kinds or threading.current_thread() is not threading.main_thread():
        sys.__unraisablehook__(what)
        return
    number = kinds[-1]
    CAME.remove(number)
    # It was to come once only.
    signal.signal(number, _interrupt if number is signal.SIGINT else _terminate)
    come_again(number)


def _let_signals_pass() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _: FrameType | None) -> None:
    CAME.append(signal.Signals(number))
    raise KeyboardInterrupt


def _terminate(number: int, _: FrameType | None) -> None:
    CAME.append(signal.Signals(number))
    # Cleaning up is not to be interrupted by the same once more.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(_BY_A_SIGNAL + number)


def _exit_code(args: list[str] | None) -> int:
    try:
        with tried_first(_tried):
            value: Any = cli.main(args, prog_name="llem", standalone_mode=False)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(file=said)
        # What was given stands in it.
        streams.tell(said.getvalue().replace(error.message, in_a_line(error.message)).rstrip("\n"))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, _InterruptedError) as error:
        return _ended_by(signal.SIGINT, error)
    except SystemExit as end:
        if CAME:
            return _ended_by(CAME[0], end)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        streams.abandon(1)
        return 1
    except Exception as error:  # noqa: BLE001 - the one handler of the program: every error ends here, as text and a code
        return _report(error) if not CAME else _ended_by(CAME[0], error)
    return value if isinstance(value, int) else 0


def _tried(value: str) -> str | None:
    # Imported here because only what comes from elsewhere needs it.
    from llenergymeasure.orchestration.processes.importing import problem_of_importing

    return problem_of_importing(value)


def _ended_by(number: signal.Signals, error: BaseException) -> int:
    """Say what ended the program and what was kept; a library may have made an error of its own of it."""
    # Whoever presses Ctrl-C twice is told once.
    _let_signals_pass()
    what = "interrupted" if number is signal.SIGINT else f"ended by {number.name}"
    streams.begin_a_line()
    streams.tell(f"llem: {'; '.join([what, *_notes(error)])}")
    return _BY_A_SIGNAL + number


def _notes(error: BaseException) -> list[str]:
    """What whoever was interrupted left word of, the whole before its parts."""
    of = error.__cause__ or error
    return list(reversed(getattr(of, "__notes__", [])))


def _report(error: Exception) -> int:
    # Imported here because only an error needs them.
    from llenergymeasure.cli.errors import describe

    text, code = describe(error)
    for line in text.split("\n"):
        streams.tell(f"llem: {line}")
    return code
