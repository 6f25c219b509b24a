"""Renders the chat template of a model in a process of its own; run by its path, with nothing of this package.

A template is a program of somebody else. In here it has no files, a limit of memory, and a limit of time that the
kernel holds it to: loops can be nested so that they never end, in one call or in many. It knows no time of day.

Lines of JSON come in and go out. The first is ``{"path", "template", "variables", "seconds", "memory", "characters",
"date"}``, answered with ``{}``; each further one is a list of messages, answered with ``{"text", "clock"}``. What
fails is answered with ``{"error"}``, and ``"own_words"`` where the template itself refuses.
"""

import json
import signal
import sys
from datetime import datetime
from typing import Any


def main() -> None:
    """Answer until nothing more comes."""
    lines = iter(sys.stdin.readline, "")
    job = json.loads(next(lines))
    sys.path[:] = job["path"]
    _limit_memory(job["memory"])
    clock = Clock(datetime.fromisoformat(job["date"]))
    template, answer = _answered(job["seconds"], lambda: compiled(job["template"], clock))
    _say(answer or {})
    for line in lines:
        messages = json.loads(line)
        clock.was_read = False
        text, answer = _answered(
            job["seconds"],
            lambda messages=messages: _rendered(template, messages, job),
        )
        _say(answer or {"text": text, "clock": clock.was_read})


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


def _limit_memory(n_bytes: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
    except (ImportError, ValueError, OSError):
        pass  # a system that has no such limit still has that of time


def _answered(seconds: float, work: Any) -> tuple[Any, dict[str, Any] | None]:
    """What ``work`` gives, or the answer that says why it failed; past its time the kernel ends this process."""
    import jinja2

    signal.setitimer(signal.ITIMER_REAL, seconds)
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
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


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


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
