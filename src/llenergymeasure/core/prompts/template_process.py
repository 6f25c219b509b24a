"""Renders the chat template of a model in a process of its own; run by its path, with nothing of this package.

A template is a program of somebody else. In here it has no files, a limit of memory, and a limit of processor time
that the kernel holds it to: loops can be nested so that they never end, in one call or in many. A template only
computes, so on a busy machine it has as much as on an idle one. It knows no time of day.

Its arguments are the pid of who started it, which it does not outlive, and the limit of processor time in seconds.

Lines of JSON come in and go out. The first is ``{"path", "template", "variables", "memory", "characters", "date"}``,
answered with ``{}``; each further one is a list of messages, answered with ``{"text", "clock"}``. What fails is
answered with ``{"error"}``, and ``"own_words"`` where the template itself refuses.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, seconds: float) -> None:
    """Answer until nothing more comes.

    Args:
        parent: the pid of who started this process.
        seconds: the limit of processor time for reading, rendering and writing one conversation. Importing jinja2 has
            none in here: that is no fault of a template.
    """
    _tie_to(parent)
    # What was ignored or blocked where this process was started would be here too.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    lines = iter(sys.stdin.readline, "")
    with _limited(seconds):
        job = json.loads(next(lines, "null"))
    if job is None:
        return
    sys.path[:] = job["path"]
    _limit_memory(job["memory"])
    clock = Clock(datetime.fromisoformat(job["date"]))
    import jinja2  # noqa: F401 - before the limit, from the path that was handed over

    with _limited(seconds):
        template, failed = _answered(lambda: compiled(job["template"], clock))
    _say(json.dumps(failed or {}))
    for line in lines:
        with _limited(seconds):
            clock.was_read = False
            text, failed = _answered(lambda line=line: _rendered(template, json.loads(line), job))
            said = json.dumps(failed or {"text": text, "clock": clock.was_read})
        _say(said)


class Clock:
    """A clock that stands still, and knows whether anybody looked."""

    def __init__(self, date: datetime) -> None:
        self._date, self.was_read = date, False

    def strftime_now(self, form: str) -> str:
        """The date in a form of ``strftime``."""
        self.was_read = True
        return self._date.strftime(form)


class _OwnDict:
    """``dict`` without what leads out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _tie_to(parent: int) -> None:
    """End this process when its parent does, also while it renders; where no kernel helps, once nothing comes in."""
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before the kernel was told.
    if os.getppid() != parent:
        sys.exit(1)


def _limit_memory(n_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    except (ImportError, ValueError, OSError):
        pass  # a system that has no such limit still has that of time


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """A body that the kernel ends this process in, past its time on processors."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _answered(work: Any) -> tuple[Any, dict[str, Any] | None]:
    """What ``work`` gives, or the answer that says why it failed."""
    import jinja2

    try:
        return work(), None
    except jinja2.TemplateError as error:
        if type(error) is jinja2.TemplateError:  # what raise_exception raises
            return None, {"error": str(error), "own_words": True}
        return None, {"error": f"{type(error).__name__}: {error}"}
    except MemoryError:
        return None, {"error": "it takes too much memory"}
    except Exception as error:  # noqa: BLE001 - a template can raise everything that Python can
        return None, {"error": f"{type(error).__name__}: {error}"}


def _rendered(template: Any, messages: list[Any], job: dict[str, Any]) -> str:
    text: str = template.render(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **job["variables"]
    )
    if len(text) > job["characters"]:
        raise ValueError(f"it makes {len(text):,} characters of them, and at most {job['characters']:,} are read")
    return text


def compiled(source: str, clock: Clock) -> Any:
    """The template in an environment with what transformers' has; a test holds the two together."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    class Generation(Extension):
        """``{% generation %}``, with which transformers marks answers for training; here it writes what is in it."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own form

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

        def _write(self, caller: Any) -> Any:
            return caller()

    class OwnNamespace(Namespace):
        """Without the names that lead out of the sandbox."""

        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"a namespace cannot have {name!r}")
            super().__setitem__(name, value)

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        # jinja2's own is for HTML.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = clock.strftime_now
    environment.globals["dict"] = _OwnDict()
    environment.globals["namespace"] = OwnNamespace
    return environment.from_string(source)


def _say(answer: str) -> None:
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
