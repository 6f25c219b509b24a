"""GPUs are set back to what they were: by whoever has set them, or by the next run after one that was killed."""

import logging
from collections.abc import Iterator, Sequence

from llenergymeasure.config.device import Knob
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuUnavailableError
from llenergymeasure.core.gpu.machine import whole_driver
from llenergymeasure.core.knobs.notes import Note, Notes, cannot_lock
from llenergymeasure.protocols import GpuDriver

_log = logging.getLogger(__name__)

# Drivers count in milliwatts, and some in whole watts.
SAME_W = 0.5
_WHOLE_W = 1.0


def restore_left(driver: GpuDriver | None = None, notes: Notes | None = None) -> None:
    """Set back what processes that live no more have left set; what cannot be is told, and its note stays.

    Args:
        driver: that of the GPUs; default this machine's.
        notes: what they were; default this machine's.
    """
    notes = notes or Notes()
    if not notes.any():
        return
    try:
        with whole_driver(driver).opened() as opened:
            for each in opened.devices():
                device = with_defaults(each, GpuDeviceBase)
                with notes.held(device.uuid) as held:
                    if held:
                        restore_noted(device, notes)
                    elif held is None and notes.of(device.uuid) is not None:
                        _log.warning("GPU %s may have been left set: %s", device.uuid, cannot_lock(notes))
    except GpuUnavailableError as error:
        _log.debug("nothing is set back: %s", error)


def restore_noted(device: GpuDeviceBase, notes: Notes) -> bool:
    """Set a GPU back by the note of a process that lives no more; the caller has the note for itself.

    Returns:
        Whether nothing is left set; if not, it is told, with the command that would help, and the note stays.
    """
    note = notes.of(device.uuid)
    if note is None:
        return True
    if note.host.boot_id != notes.host.boot_id:
        # Nothing of it outlives the driver.
        notes.remove(device.uuid, level=logging.DEBUG)
        return True
    set_to = ", ".join(f"{knob} {value:g}" for knob, value in note.asked.items())
    if set_to:
        told = "GPU %s was left with %s by process %d of user %d, which was killed"
        _log.warning(told, device.uuid, set_to, note.pid, note.user)
    if note.is_trusted:
        return restore(device, note, notes)
    why = "its note is of another user, who may not have root set a card"
    _tell(device, [f"{knob}: {why}{_command(device, knob, before)}" for knob, before in note.before.items()], notes)
    return False


def restore(device: GpuDeviceBase, note: Note, notes: Notes) -> bool:
    """Set a GPU back to what it was, and say whether it is; if not it is told, and the note stays. Never raises."""
    problems = list(_set_back(device, note))
    if problems:
        _tell(device, problems, notes)
    else:
        notes.remove(device.uuid)
    return not problems


def _tell(device: GpuDeviceBase, problems: Sequence[str], notes: Notes) -> None:
    for problem in problems:
        _log.error("GPU %d (%s) is not set back: %s", device.index, device.uuid, problem)
    _log.error("the next run looks again, until %s is gone", notes.path(device.uuid))


def _command(device: GpuDeviceBase, knob: Knob, before: float | None) -> str:
    command = None if knob == "power_limit_w" and before is None else device.knob_command(knob, before)
    return "" if command is None else f"; set it back with '{command}'"


def _set_back(device: GpuDeviceBase, note: Note) -> Iterator[str]:
    """Set every knob back, the last one first, and say what cannot be."""
    for knob, before in reversed(list(note.before.items())):
        try:
            problem = None
            if knob == "power_limit_w":
                problem = _limit_set_back(device, note, before)
            else:
                device.turn(knob, before)
        except Exception as error:  # noqa: BLE001 - drivers raise what they will, and the other knobs are still to be set
            problem = str(error)
        if problem is not None:
            yield f"{knob}: {problem}{_command(device, knob, before)}"


def _limit_set_back(device: GpuDeviceBase, note: Note, before_w: float | None) -> str | None:
    """Set a limit back, unless it is another than this experiment's; why that was not done, if it was to be."""
    if before_w is None:
        return "what it was could not be read; set it as it should be"
    now_w = device.knob_value("power_limit_w")
    if now_w is not None and not _is_as_set(note, now_w):
        # It was not set yet, or is set back already; or somebody else has set it since, and means it.
        if abs(now_w - before_w) > SAME_W:
            told = "GPU %d (%s) is left with power_limit_w %g, which somebody else has set since; it was %g before"
            _log.warning(told, device.index, device.uuid, now_w, before_w)
        return None
    device.turn("power_limit_w", before_w)
    now_w = device.knob_value("power_limit_w")
    if now_w is None:
        return "it was set back, and could not be read back"
    return None if abs(now_w - before_w) < _WHOLE_W else f"it was set back, and is read back as {now_w:g}"


def _is_as_set(note: Note, now_w: float) -> bool:
    """Whether a limit is what the process of a note has set: what it read back, or about what it was to set."""
    read_back_w = note.read_back.get("power_limit_w")
    if read_back_w is None:
        return abs(now_w - note.asked["power_limit_w"]) < _WHOLE_W
    return abs(now_w - read_back_w) <= SAME_W
