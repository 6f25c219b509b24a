"""GPUs are set back to what they were: by whoever has set them, or by the next run after one that was killed."""

import logging
from collections.abc import Iterator

from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuUnavailableError
from llenergymeasure.core.gpu.machine import whole_driver
from llenergymeasure.core.knobs.notes import Note, Notes
from llenergymeasure.protocols import GpuDriver

_log = logging.getLogger(__name__)

# Drivers count in milliwatts, and some in whole watts.
SAME_W = 0.5


def restore_left(driver: GpuDriver | None = None, notes: Notes | None = None) -> None:
    """Set back what processes that live no more have left set; what cannot be is told, and its note stays.

    Args:
        driver: that of the GPUs; default this machine's.
        notes: what they were; default this user's.
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
    except GpuUnavailableError as error:
        _log.debug("nothing is set back: %s", error)


def restore_noted(device: GpuDeviceBase, notes: Notes) -> None:
    """Set a GPU back by the note of a process that lives no more; the caller has the note for itself."""
    note = notes.of(device.uuid)
    if note is None:
        return
    if note.host.boot_id != notes.host.boot_id:
        # Nothing of it outlives the driver.
        notes.remove(device.uuid)
        return
    restore(device, note, notes)
    set_to = ", ".join(f"{knob} {value:g}" for knob, value in note.asked.items())
    _log.warning("GPU %s was left with %s by process %d, which was killed", device.uuid, set_to, note.pid)


def restore(device: GpuDeviceBase, note: Note, notes: Notes) -> None:
    """Set a GPU back to what it was; where that fails it is told, and the note stays for the next run. Never raises."""
    problems = list(_set_back(device, note))
    for problem in problems:
        _log.error("GPU %d (%s) is not what it was before: %s", device.index, device.uuid, problem)
    if not problems:
        notes.remove(device.uuid)


def _set_back(device: GpuDeviceBase, note: Note) -> Iterator[str]:
    """Set every knob back, the last one first, and say what cannot be."""
    for knob, before in reversed(list(note.before.items())):
        if before is not None:
            now = device.knob_value(knob)
            if now is not None and abs(now - note.asked[knob]) > SAME_W:
                # It was not set yet, or somebody else has set it since, and means it.
                continue
        try:
            device.turn(knob, before)
        except Exception as error:  # noqa: BLE001 - drivers raise what they will, and the other knobs are still to be set
            command = device.knob_command(knob, before)
            yield f"{knob}: {error}" + ("" if command is None else f"; set it back with '{command}'")
