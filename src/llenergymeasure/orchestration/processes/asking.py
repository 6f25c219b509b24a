"""Questions to code of others, put to a process of its own, which that code may end, or keep for ever."""

import contextlib
import json
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from llenergymeasure import exceptions
from llenergymeasure._lifeline import tied
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.exceptions import ExperimentError, ForeignExitError, LLEMError
from llenergymeasure.orchestration.processes.interpreters import OWN, Interpreter
from llenergymeasure.orchestration.processes.printed import Printed
from llenergymeasure.orchestration.processes.process_group import ending, leading_a_group
from llenergymeasure.orchestration.processes.watching import SignsOfLife, Watch

# Descriptions and rows of a dataset, which may have to be downloaded: an hour at the most, unless more is asked for.
LIMIT_S = 3600.0
# Nothing is measured meanwhile, so that looking may cost something.
_LOOK_S = 1.0
_PATIENCE_S = 5.0
_CHUNK = 65536


class Asking:
    """Asks ``examiner``, in one process for each Python as long as that answers; nothing is started before it is asked.

    A context manager: what was started, and what it started itself, is ended with it.
    """

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        """An answer is waited for no longer than ``limit_s``, nor longer than an experiment in silence."""
        self._limit_s = limit_s
        self._asked: dict[Interpreter, _Asked] = {}

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End what was started."""
        self.close()

    def close(self) -> None:
        """End what was started; a further question starts it anew."""
        with contextlib.ExitStack() as all_of_them:
            for interpreter in list(self._asked):
                all_of_them.callback(self._end, interpreter)

    def _end(self, interpreter: Interpreter) -> None:
        asked = self._asked.pop(interpreter, None)
        if asked is not None:
            asked.running.close()

    def ask(
        self,
        question: str,
        execution: ExecutionConfig,
        *,
        by: Interpreter = OWN,
        alone: bool = False,
        **about: Any,
    ) -> Any:
        """The answer to a question that ``examiner`` knows.

        Args:
            question: its name.
            by: the Python that is asked.
            execution: how long is waited: ``stall_timeout_s`` without a sign of life, and ``timeout_s`` in all where
                that is more than the limit.
            alone: in a process that is asked nothing else.
            **about: what the question is about, as JSON has it.

        Raises:
            LLEMError: which the answer is.
            ForeignExitError: something else was raised, the process ended, or it is not to be waited for any longer.
        """
        before = self._asked.get(by)
        if before is not None and (alone or before.examiner.is_gone):
            self._end(by)
        try:
            if by not in self._asked:
                running = contextlib.ExitStack()
                self._asked[by] = _Asked(running.enter_context(_examiner(by)), running)
            limit_s = max(self._limit_s, execution.timeout_s or 0.0)
            said = self._asked[by].examiner.answer({"question": question, **about}, _patience(limit_s, execution))
        except BaseException:
            # Whatever it was, the next question is not for this process.
            self._end(by)
            raise
        if alone:
            self._end(by)
        if "error" in said:
            raise _as_raised(*said["error"])
        return said["answer"]


@dataclass(frozen=True)
class _Asked:
    """A process that is asked, and what ends it."""

    examiner: "_Examiner"
    running: contextlib.ExitStack


def _as_raised(kind: str, text: str) -> Exception:
    found = getattr(exceptions, kind, None)
    return found(text) if isinstance(found, type) and issubclass(found, LLEMError) else ForeignExitError(text)


def _patience(limit_s: float, execution: ExecutionConfig) -> Callable[[int], float]:
    """Gives the seconds until the next look at a process.

    Raises:
        ForeignExitError: when called, that it is not to be waited for any longer.
    """
    silence = ExecutionConfig(stall_timeout_s=execution.stall_timeout_s)
    watch = Watch(silence, SignsOfLife(), lambda: False, who="the process that asks it")
    end_s = time.monotonic() + limit_s

    def look(pid: int) -> float:
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise ForeignExitError(f"it gave no answer within {limit_s:g} s, and its process was ended")
        try:
            return min(left_s, _LOOK_S, watch(pid) or _LOOK_S)
        except ExperimentError as error:
            raise ForeignExitError(str(error)) from error

    return look


@contextlib.contextmanager
def _examiner(interpreter: Interpreter) -> Iterator["_Examiner"]:
    command = interpreter.command("-u", *tied("llenergymeasure.orchestration.processes.examiner"))
    pipe = subprocess.PIPE
    with leading_a_group(command, stdin=pipe, stdout=pipe, stderr=pipe, env=interpreter.environment()) as process:
        # What is on the path of this process only, as in a notebook; '' would be whatever folder it works in. Of
        # another Python they would be the wrong libraries.
        examiner = _Examiner(process, [str(place) for place in sys.path if place] if interpreter.is_own else [])
        try:
            yield examiner
        finally:
            examiner.close()


class _Examiner:
    """A process that answers; reads and writes what is there, so that nothing it does or leaves undone holds this."""

    def __init__(self, process: subprocess.Popen[bytes], path: Sequence[str]) -> None:
        self._process = process
        self._questions, self._answers, self._prints = _pipes(process)
        self._selector = selectors.DefaultSelector()
        self._to_send = bytearray()
        self._said = bytearray()
        self._printed = Printed()
        level = logging.getLogger("llenergymeasure").getEffectiveLevel()
        self._send({"path": list(path), "level": level})
        self._selector.register(self._answers, selectors.EVENT_READ, self._hear)
        self._selector.register(self._prints, selectors.EVENT_READ, self._overhear)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended since its last answer, of which that was asked then."""
        return self._process.poll() is not None

    def answer(self, question: dict[str, Any], patience: Callable[[int], float]) -> dict[str, Any]:
        """What is said to a question, while logging what is told and printed before.

        Raises:
            ForeignExitError: the process ended, or is not to be waited for any longer.
        """
        self._send(question)
        while (said := self._next_said()) is None:
            wait_s = patience(self._process.pid)
            if not self._pass_on(wait_s) and self._has_ended():
                self._printed.close()
                raise ForeignExitError(
                    f"it ended its process, which {ending(self._process.returncode)}{self._printed.last_words}"
                )
        self._pass_on(0.0)
        self._printed.close()
        return said

    def close(self) -> None:
        """Let go of its streams."""
        self._selector.close()
        for stream in (self._questions, self._answers, self._prints):
            with contextlib.suppress(OSError):  # what it did not read any more
                stream.close()

    def _send(self, line: dict[str, Any]) -> None:
        if not self._to_send:
            self._selector.register(self._questions, selectors.EVENT_WRITE, self._write)
        self._to_send += json.dumps(line).encode() + b"\n"

    def _pass_on(self, within_s: float) -> bool:
        """Write and read what can be, once there is something; whether there was."""
        ready = self._selector.select(within_s)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def _has_ended(self) -> bool:
        """Whether nothing more comes: it ended, or closed what it answers by."""
        if self._answers in self._selector.get_map():
            return self._process.poll() is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)
        if self._process.poll() is None:
            raise ForeignExitError("it closed the streams of its process")
        return True

    def _next_said(self) -> dict[str, Any] | None:
        """The next answer that is whole; lines of a log go to their loggers."""
        while b"\n" in self._said:
            line, _, rest = self._said.partition(b"\n")
            self._said = rest
            try:
                said: dict[str, Any] = json.loads(line)
                if "answer" in said or "error" in said:
                    return said
                level, name, text = said["log"]
                logging.getLogger(name).log(level, "%s", text)
            except (ValueError, TypeError, KeyError):  # another's code wrote there
                raise ForeignExitError("its process answered what is no answer") from None
        return None

    def _write(self) -> None:
        try:
            n = os.write(self._questions.fileno(), self._to_send)
        except BlockingIOError:  # there was less room than that takes
            n = 0
        except OSError:  # it reads no more, and how it ended is told
            n = len(self._to_send)
        del self._to_send[:n]
        if not self._to_send:
            self._selector.unregister(self._questions)

    def _hear(self) -> None:
        self._said += self._read(self._answers)

    def _overhear(self) -> None:
        self._printed.add(self._read(self._prints))

    def _read(self, stream: IO[bytes]) -> bytes:
        found = os.read(stream.fileno(), _CHUNK)
        if not found:
            self._selector.unregister(stream)
        return found


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("each has to be a pipe")
    os.set_blocking(process.stdin.fileno(), False)
    return process.stdin, process.stdout, process.stderr
