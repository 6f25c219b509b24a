"""What is measured is measured by one at a time: locks on devices, across the studies and users of a machine."""

import contextlib
import getpass
import glob
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from llenergymeasure._files import read_regular
from llenergymeasure._machine_folder import FOLDER_VARIABLE, lock_folder, locked_among_users, made_for_all
from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import PreFlightError

_log = logging.getLogger(__name__)

# Where no GPU is used, the sensors are those of the host.
HOST = "host"
_MOST_BYTES = 2**12
_SAID_EVERY_S = 60.0
_LOOK_S = 1.0
# A turn that is not taken for so long is of one that stands still, or of one of several who wait.
_TURN_S = 10.0
_IN_A_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


def devices_of(plan: ExperimentPlan) -> tuple[str, ...]:
    """What of this machine is read while an experiment is measured: its GPUs, or else the host; nothing if nothing."""
    if plan.config.energy.backend is None:
        return ()
    return tuple(sorted(set(plan.devices))) or (HOST,)


@contextlib.contextmanager
def held(
    devices: Sequence[str],
    what: str,
    patience_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bool]:
    """Hold some devices to the end of the body, and wait for whoever measures them now.

    Where nothing can be locked it is said, and the body is run.

    Args:
        devices: UUIDs of GPUs, or the host; always taken in one order, so that two never wait for each other.
        what: is measured, for those who wait.
        patience_s: how long to wait for others; None for as long as it takes.
        clock: of the waiting, in monotonic seconds.
        sleep: waits the given seconds.

    Returns:
        Whether others had one of them, and were waited for.

    Raises:
        PreFlightError: others had one of them all the time; it says who.
    """
    with contextlib.ExitStack() as stack:
        if devices and (unseen := _not_seen()) is not None:
            _say_once(unseen, logging.INFO)
        waited = [_hold(stack, each, what, _Waiting(each, patience_s, clock, sleep)) for each in sorted(set(devices))]
        yield any(waited)


def _hold(stack: contextlib.ExitStack, device: str, what: str, waiting: "_Waiting") -> bool:
    """Hold a device to the end of ``stack``; whether others had it."""
    try:
        file = _lock_file(device)
    except OSError as error:
        _say_unlocked(device, str(error.strerror or error))
        return False
    with contextlib.ExitStack() as turn:
        # Who has just measured, and goes on at once, comes after those who wait: the first of them has the turn.
        waiting.taken(turn, file.with_suffix(".turn"), file, _TURN_S)
        got = waiting.taken(stack, file, file)
    if got is None:
        _say_unlocked(device, "it takes no locks")
    else:
        _leave_word(stack, file, what)
    return waiting.waited


@dataclass
class _Waiting:
    """Waiting for a device.

    ``patience_s`` is None for as long as it takes, ``waited`` says whether there was anybody to wait for, ``clock``
    gives monotonic seconds.
    """

    device: str
    patience_s: float | None
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    waited: bool = False
    _began_s: float = field(init=False)
    _said_s: float | None = None

    def __post_init__(self) -> None:
        """Begin."""
        self._began_s = self.clock()

    def taken(self, stack: contextlib.ExitStack, path: Path, file: Path, at_most_s: float = math.inf) -> bool | None:
        """Hold a lock to the end of ``stack``, as soon as nobody else does.

        Args:
            stack: holds it.
            path: the file of the lock.
            file: that of the lock that whoever measures has.
            at_most_s: how long after the beginning the lock is left to others.

        Returns:
            Whether it is held: False where others had it for so long, None where nothing can be locked.

        Raises:
            PreFlightError: patience is over; it says who has it.
        """
        while True:
            attempt = contextlib.ExitStack()
            got = attempt.enter_context(locked_among_users(path))
            if got is not False:
                stack.push(attempt.__exit__)
                return got
            attempt.close()
            waited_s = self.clock() - self._began_s
            if waited_s >= at_most_s:
                return False
            self._wait(waited_s, _who(file))

    def _wait(self, waited_s: float, who: str) -> None:
        self.waited = True
        if self.patience_s is not None and waited_s >= self.patience_s:
            raise PreFlightError(
                f"{self.device} is being measured by {who}, and was all of {self.patience_s:g} s; "
                "execution.wait_for_devices_s says how long is waited"
            )
        if self._said_s is None or self.clock() - self._said_s >= _SAID_EVERY_S:
            self._said_s = self.clock()
            _log.info("waiting for %s, which is being measured by %s", self.device, who)
        self.sleep(_LOOK_S if self.patience_s is None else min(_LOOK_S, self.patience_s - waited_s))


def _lock_file(device: str) -> Path:
    """The file of a device's lock, in a folder that everybody may write to and nobody may empty."""
    return made_for_all(lock_folder()) / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', device)}.lock"


def _leave_word(stack: contextlib.ExitStack, file: Path, what: str) -> None:
    """Say in a file beside the lock who has it; a folder that does not take that costs only the word."""
    # Of another user's that died nobody else may remove what it left.
    word = file.with_suffix(f".{os.getuid()}.json")
    told = {"pid": os.getpid(), "user": _user(), "what": what, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    with contextlib.suppress(OSError):
        word.unlink(missing_ok=True)
        word.write_text(json.dumps(told), encoding="utf-8")
        stack.callback(_forget, word)


def _forget(word: Path) -> None:
    with contextlib.suppress(OSError):
        word.unlink(missing_ok=True)


def _who(file: Path) -> str:
    try:
        words = sorted(file.parent.glob(f"{glob.escape(file.stem)}.*.json"), key=lambda path: path.stat().st_mtime)
        told = json.loads(read_regular(words[-1], _MOST_BYTES))
        said = f"process {told['pid']} of {told['user']} since {told['since']} ({told['what']})"
    except (OSError, ValueError, TypeError, LookupError):
        return "another process"
    return in_a_line(said)[:200]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


_said: set[str] = set()


def _say_once(line: str, level: int = logging.WARNING) -> None:
    if line not in _said:
        _said.add(line)
        _log.log(level, "%s", line)


def _say_unlocked(device: str, why: str) -> None:
    _say_once(
        f"{device} cannot be locked in {lock_folder()} ({why}): nothing keeps another llem from measuring it "
        f"meanwhile; name a folder that all users may write to in {FOLDER_VARIABLE}"
    )


def _not_seen() -> str | None:
    """Who does not see the locks of this process; None where nobody is known not to."""
    if os.environ.get(FOLDER_VARIABLE) or not any(path.exists() for path in _IN_A_CONTAINER):
        return None
    return (
        f"this runs in a container: its locks on devices, in {lock_folder()}, are seen by nobody outside of it; mount "
        f"a folder of the machine and name it in {FOLDER_VARIABLE}"
    )
