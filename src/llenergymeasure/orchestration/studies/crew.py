"""Several workers on a study at once, each a process that sees one GPU; this process only watches them."""

import contextlib
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llenergymeasure._lifeline import tied
from llenergymeasure._telling import in_a_line
from llenergymeasure.core.gpu.machine import variables_showing
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.orchestration.processes.printed import Printed
from llenergymeasure.orchestration.processes.process_group import ending, leading_a_group, safe_environment
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.orchestration.studies.standing import standing_of_study
from llenergymeasure.results.study.directory import EVENTS_DIR
from llenergymeasure.results.study.events import events_of

_log = logging.getLogger(__name__)

# A worker that is told to end ends its experiment, writes what was measured, and waits for others at the summary.
PATIENCE_S = 120.0
_LOOK_S = 1.0
_CHUNK = 65536
_HEAD = "llem: "


@dataclass(eq=False)
class _Member:
    """A worker that was started; ``left`` is what it had left word of when it ended."""

    called: str
    process: subprocess.Popen[bytes]
    printed: Printed
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def end(self) -> dict[str, Any] | None:
        """Its last event, where it came to its end."""
        return next((event for event in self.events if event.get("event") == "end"), None)


@dataclass
class Crew:
    """Starts a worker on a study for each GPU, and waits until all have ended.

    Args:
        path: the folder of the study, which is written already.
        gpus: of the workers.
        log_level: from which level on they tell where they stand; None: warnings only.
        told: further options of theirs.
        work: is told what they did.
    """

    path: Path
    gpus: Sequence[GpuInfo]
    log_level: int | None
    work: Work = field(default_factory=Work)
    told: Sequence[str] = ()
    _running: list[_Member] = field(default_factory=list)
    _lost: list[str] = field(default_factory=list)
    _gave_up: list[str] = field(default_factory=list)
    _is_over: bool = False

    def run(self) -> Work:
        """Have all of the study run; where no worker is left that does, ``work`` says why.

        Where one gives up, as on a broken GPU, or cannot be started, the others go on. An interruption ends them all:
        each removes what it was running, and keeps what was through.
        """
        self._before = set(self._event_files())
        listed = ", ".join(f"{gpu.index} {gpu.name}" for gpu in self.gpus)
        _log.info("%d workers, each on a GPU of its own: %s", len(self.gpus), in_a_line(listed))
        with selectors.DefaultSelector() as self._selector, contextlib.ExitStack() as started:
            try:
                for gpu in self.gpus:
                    try:
                        self._running.append(started.enter_context(self._started(gpu)))
                    except OSError as error:
                        self._gave_up.append(f"GPU {gpu.index}: no worker can be started: {error.strerror or error}")
                        _log.error("%s", self._gave_up[-1])
                while self._running and self.work.stopped is None:
                    self._pass(None)
                self._end()
            except (KeyboardInterrupt, SystemExit):
                self._end()
                raise
            finally:
                # The GPU of one that was killed may be nobody's next.
                restore_left()
        self._look_at_what_is_left()
        return self.work

    @contextlib.contextmanager
    def _started(self, gpu: GpuInfo) -> Iterator[_Member]:
        level = self.log_level
        spoken = [] if level == logging.INFO else ["-v"] if level is not None and level < logging.INFO else ["-q"]
        command = [sys.executable, "-P", *tied("llenergymeasure", "worker", str(self.path), *spoken, *self.told)]
        environ = safe_environment() | dict(variables_showing(gpu.uuid) or {})
        called, at = f"GPU {gpu.index}", logging.WARNING if spoken == ["-q"] else logging.INFO

        def tell(line: str) -> None:
            _log.log(at, "%s: %s", called, line.removeprefix(_HEAD))

        with leading_a_group(command, stderr=subprocess.PIPE, env=environ) as process:
            assert process.stderr is not None
            member = _Member(called, process, Printed(tell))
            os.set_blocking(process.stderr.fileno(), False)
            self._selector.register(process.stderr, selectors.EVENT_READ, member)
            try:
                yield member
            finally:
                process.stderr.close()

    def _pass(self, within_s: float | None) -> None:
        """Wait until a worker says something or ends, and see to it; no longer than ``within_s``."""
        # What a worker has started may hold its stream when it has ended, so that this says nothing of its end.
        with _told_of_ends(self._selector, self._running) as all_told:
            wait_s = within_s if all_told else min(_LOOK_S, within_s or _LOOK_S)
            for key, _ in self._selector.select(wait_s):
                if isinstance(key.data, _Member):
                    self._hear(key.data)
        for member in [each for each in self._running if each.process.poll() is not None]:
            self._hear(member)
            member.printed.close()
            self._running.remove(member)
            self._ended(member)

    def _hear(self, member: _Member) -> None:
        stream = member.process.stderr
        while stream is not None and stream in self._selector.get_map():
            try:
                found = os.read(stream.fileno(), _CHUNK)
            except BlockingIOError:
                return
            if not found:
                self._selector.unregister(stream)
            member.printed.add(found)

    def _ended(self, member: _Member) -> None:
        """Take what a worker did, and why it stopped; one that died is told."""
        member.events = self._events_of(member.process.pid)
        kinds = [event.get("event") for event in member.events]
        self.work.n_finished += kinds.count("finished")
        self.work.n_failed += kinds.count("failed")
        if member.end is not None:
            self.work.problems += [f"{member.called}: {each}" for each in member.end.get("problems") or ()]
            stopped = member.end.get("stopped")
            self.work.out_of_time |= bool(member.end.get("out_of_time"))
            if stopped is not None and member.end.get("only_here"):
                self._gave_up.append(f"{member.called}: {stopped}")
            else:
                self.work.stopped = self.work.stopped or stopped
        elif member.process.returncode:
            how = f"the worker on {member.called} {ending(member.process.returncode)}"
            self._lost.append(how)
            if not self._is_over:
                rest = "the others take over what it was running" if self._running else "it was the last"
                _log.error("%s; %s", how, rest)

    def _end(self) -> None:
        """Have those that still run end, all at once, and see them out; what takes too long is killed afterwards."""
        self._is_over = True
        for member in self._running:
            member.process.terminate()
        end_s = time.monotonic() + PATIENCE_S
        while self._running and (left_s := end_s - time.monotonic()) > 0:
            self._pass(left_s)

    def _look_at_what_is_left(self) -> None:
        gone = [*self._lost, *self._gave_up]
        if gone and self.work.stopped is None and standing_of_study(self.path).state != "finished":
            self.work.stopped = f"no worker is left: {'; '.join(gone)}"
        else:
            self.work.problems += self._gave_up

    def _event_files(self) -> list[Path]:
        return sorted((self.path / EVENTS_DIR).glob("*.jsonl"))

    def _events_of(self, pid: int) -> list[dict[str, Any]]:
        """The events of a worker of this crew; others may have had its number before."""
        for file in self._event_files():
            if file not in self._before and (found := list(events_of(file))) and found[0].get("pid") == pid:
                return found
        return []


@contextlib.contextmanager
def _told_of_ends(selector: selectors.BaseSelector, members: Sequence[_Member]) -> Iterator[bool]:
    """While the body runs a selector returns when a worker ends; whether that is so for all of them."""
    descriptors: list[int] = []
    try:
        for member in members:
            with contextlib.suppress(AttributeError, OSError):  # not on this system, or it has ended
                descriptors.append(os.pidfd_open(member.process.pid))
                selector.register(descriptors[-1], selectors.EVENT_READ)
        yield len(descriptors) == len(members)
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(KeyError):
                selector.unregister(descriptor)
            os.close(descriptor)
