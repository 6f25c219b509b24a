"""The chat template of a model, rendered under limits of time and memory, and at a fixed date."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from llenergymeasure.core.prompts import template_process
from llenergymeasure.core.prompts.messages import MOST_CHARACTERS
from llenergymeasure.exceptions import ExperimentError, first_line

# What a template is told that asks for the time, so that two runs of one hash have the same tokens.
TEMPLATE_DATE = datetime(2025, 1, 1, 12)
# Of a processor, for one conversation: ordinary ones take a thousandth of a second.
RENDER_LIMIT_S = 10.0
RENDER_LIMIT_BYTES = 2**29
# Longer than that by the clock, on a machine that is busy with other things too, the process is not waited for.
_PATIENCE_S = 120.0


class TemplateFailedError(Exception):
    """A template gave no text; ``own_words`` says that it refused the messages itself."""

    def __init__(self, message: str, *, own_words: bool = False) -> None:
        super().__init__(message)
        self.own_words = own_words


@dataclass(frozen=True)
class Rendered:
    """What a template wrote, and whether it asked for the time."""

    text: str
    read_clock: bool


class TemplateRenderer:
    """A process that renders one template; it starts at once, so that starting it costs nobody any time.

    A template that does not end in ``RENDER_LIMIT_S`` of processor time ends the process, and each further conversation
    fails at once. The kernel sees to that; a process that it does not end, such as one that was
    stopped, is ended from here.
    """

    def __init__(self, limit_s: float = RENDER_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._gave_up = False
        # Isolated and without site-packages it is ready in a tenth of a second; the search path is handed over.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-I", "-S", str(template_process.__file__), str(os.getpid()), str(limit_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()

    def compile(self, template: str, variables: Mapping[str, Any]) -> None:
        """Take the template that is rendered from now on.

        Args:
            template: in Jinja.
            variables: what it can name beside the messages, such as ``bos_token``.

        Raises:
            TemplateFailedError: it is no template.
        """
        self._ask(
            {
                "path": [path for path in sys.path if path],  # not the working directory
                "template": template,
                "variables": dict(variables),
                "memory": RENDER_LIMIT_BYTES,
                "characters": MOST_CHARACTERS,
                "date": TEMPLATE_DATE.isoformat(),
            }
        )

    def render(self, messages: Sequence[Mapping[str, Any]]) -> Rendered:
        """The text of a conversation, with the beginning of the answer.

        Raises:
            TemplateFailedError: the template refuses it, fails, does not end, or takes or makes too much.
        """
        answer = self._ask(list(messages))
        return Rendered(answer["text"], answer["clock"])

    def _ask(self, question: Any) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise ExperimentError("the process that renders templates has no pipes")
        # Not poll() on what it says: writing to it can wait for it too.
        watch = threading.Timer(self._limit_s + _PATIENCE_S, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            self._process.stdin.write(json.dumps(question, default=str) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError):
            raise TemplateFailedError(self._how_it_ended()) from None
        finally:
            watch.cancel()
        if "error" in answer:
            raise TemplateFailedError(first_line(ValueError(answer["error"])), own_words=bool(answer.get("own_words")))
        return answer

    def _give_up(self) -> None:
        self._gave_up = True
        self._process.kill()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(self._limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "it gave no answer that can be read"
        if code == -signal.SIGPROF:
            return f"it did not end within {self._limit_s:g} s of processor time"
        if self._gave_up:
            return f"it gave no answer within {self._limit_s + _PATIENCE_S:g} s"
        return f"it ended the process that renders it (code {code}), as one that takes too much memory does"
