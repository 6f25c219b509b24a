"""Knobs of GPUs, set for as long as a body runs."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from llenergymeasure.config.device import Knob
from llenergymeasure.core.gpu.base import GpuDeviceBase, KnobRefusedError
from llenergymeasure.core.knobs.notes import Note, Notes, cannot_note
from llenergymeasure.core.knobs.problems import UNREADABLE, called, refusal, to_change
from llenergymeasure.core.knobs.restoring import restore, restore_noted
from llenergymeasure.exceptions import PreFlightError

# Another process of the same experiment writes its note right after it took the lock, and who only tries whether a knob
# may be set has the lock for a moment.
_N_TRIES, _POLL_S = 60, 0.05


@dataclass(frozen=True, kw_only=True)
class Turning:
    """What is set for an experiment, and where what was before is noted. ``sleep`` waits the given seconds."""

    wanted: Mapping[Knob, float]
    experiment_id: str
    notes: Notes = field(default_factory=Notes)
    sleep: Callable[[float], None] = time.sleep

    @contextlib.contextmanager
    def of(self, device: GpuDeviceBase) -> Iterator[None]:
        """A GPU with its knobs as wanted, set back on every way out.

        Of several processes of an experiment the first one sets it.

        Raises:
            PreFlightError: it cannot be set, or another experiment has set it.
        """
        with contextlib.ExitStack() as stack:
            if not self._has_it_alone(device, stack):
                yield
                return
            if not restore_noted(device, self.notes):
                # What it was before any of them stands in that note alone.
                raise PreFlightError(
                    f"device: {called(device)} is as another experiment left it that was killed, by "
                    f"{self.notes.path(device.uuid)}; set it back with the command in the log, then remove that file"
                )
            note = self._noted(device)
            try:
                note = self._turned(device, note)
                yield
            finally:
                restore(device, note, self.notes)

    def _has_it_alone(self, device: GpuDeviceBase, stack: contextlib.ExitStack) -> bool:
        """Take the lock of a GPU's note; False where another process of this experiment has set it."""
        for _ in range(_N_TRIES):
            held = stack.enter_context(self.notes.held(device.uuid))
            if held is None:
                raise PreFlightError(cannot_note(self.notes))
            if held:
                return True
            note = self.notes.of(device.uuid)
            if note is not None and note.experiment_id == self.experiment_id:
                return False
            self.sleep(_POLL_S)
        who = "" if note is None else f" (process {note.pid})"
        raise PreFlightError(
            f"device: {called(device)} is set by another experiment{who}; run this one when that has ended"
        )

    def _noted(self, device: GpuDeviceBase) -> Note:
        asked = to_change(device, self.wanted)
        before = {knob: device.knob_value(knob) if knob == "power_limit_w" else None for knob in asked}
        if "power_limit_w" in before and before["power_limit_w"] is None:
            raise PreFlightError(f"device.power_limit_w: {called(device)}: {UNREADABLE}")
        return self._written(
            Note(
                device=device.uuid,
                host=self.notes.host,
                pid=os.getpid(),
                experiment_id=self.experiment_id,
                before=before,
                asked=asked,
            )
        )

    def _turned(self, device: GpuDeviceBase, note: Note) -> Note:
        """Set what is noted; the note then has what the driver made of it, which may be whole watts."""
        for knob, value in note.asked.items():
            try:
                device.turn(knob, value)
            except KnobRefusedError as error:
                raise PreFlightError(refusal(device, knob, value, error)) from error
            if knob == "power_limit_w" and (limit_w := device.knob_value(knob)) is not None:
                note = self._written(replace(note, read_back={knob: limit_w}))
        return note

    def _written(self, note: Note) -> Note:
        try:
            self.notes.write(note)
        except OSError as error:
            raise PreFlightError(f"{cannot_note(self.notes)} ({error.strerror or error})") from error
        return note
