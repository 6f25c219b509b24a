"""What keeps the knobs of an experiment from being set, found before it is run and without changing anything."""

from collections.abc import Iterator, Mapping, Sequence

from llenergymeasure.config.device import Knob
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuUnavailableError, KnobRange, KnobRefusedError
from llenergymeasure.core.gpu.machine import whole_driver
from llenergymeasure.core.knobs.notes import Notes, cannot_note
from llenergymeasure.core.knobs.restoring import SAME_W
from llenergymeasure.protocols import GpuDriver

UNREADABLE = "the limit that is there cannot be read, so that it could not be set back; leave it out"
_UNITS: Mapping[Knob, str] = {"power_limit_w": "W", "sm_clock_mhz": "MHz", "memory_clock_mhz": "MHz"}


def knob_problems(
    wanted: Mapping[Knob, float],
    devices: Sequence[str],
    driver: GpuDriver | None = None,
    notes: Notes | None = None,
) -> tuple[str, ...]:
    """A line for each knob of each GPU that cannot be set as wanted.

    Whether this user may is tried by writing the power limit that a GPU has already, while nobody else sets it.

    Args:
        wanted: the knobs that are given.
        devices: UUIDs of the GPUs.
        driver: theirs; default this machine's.
        notes: what GPUs were before; default this machine's.
    """
    if not wanted:
        return ()
    names = " and ".join(f"device.{knob}" for knob in wanted)
    if not devices:
        return (
            f"{names}: no GPU is used, so there is nothing to set; leave it out, or run where 'llem config' shows one",
        )
    try:
        with whole_driver(driver).opened() as opened:
            found = opened.find(devices, 0)
            return tuple(line for device in found for line in _of_one(device, wanted, notes or Notes()))
    except GpuUnavailableError as error:
        return (f"{names}: {error}",)


def _of_one(device: GpuDeviceBase, wanted: Mapping[Knob, float], notes: Notes) -> Iterator[str]:
    refused = {knob: why for knob, value in wanted.items() if (why := _out_of_range(device, knob, value)) is not None}
    if "power_limit_w" in wanted and device.knob_value("power_limit_w") is None:
        refused.setdefault("power_limit_w", UNREADABLE)
    yield from (f"device.{knob}: {called(device)}: {why}" for knob, why in refused.items())
    rest = {knob: value for knob, value in wanted.items() if knob not in refused}
    if not to_change(device, rest):
        return
    with notes.held(device.uuid) as held:
        if held is None:
            yield cannot_note(notes)
        if held and (error := _refusal(device)) is not None:
            yield from (refusal(device, knob, value, error) for knob, value in to_change(device, rest).items())


def to_change(device: GpuDeviceBase, wanted: Mapping[Knob, float]) -> dict[Knob, float]:
    """The knobs that are not as wanted already; of clocks nobody tells."""
    limit_w = device.knob_value("power_limit_w")
    return {
        knob: value
        for knob, value in wanted.items()
        if knob != "power_limit_w" or limit_w is None or abs(limit_w - value) > SAME_W
    }


def called(device: GpuDeviceBase) -> str:
    """A GPU as people know it."""
    return f"GPU {device.index} ({device.name()}, {device.uuid})"


def refusal(device: GpuDeviceBase, knob: Knob, value: float, error: KnobRefusedError) -> str:
    """Why a knob cannot be set, and the command that would help."""
    told = f"device.{knob}: {value:g} {_UNITS[knob]} of {called(device)}: {error}"
    if not error.is_forbidden:
        return f"{told}; leave it out"
    command = device.knob_command(knob, value)
    if command is None:
        return f"{told}; run as root, or leave it out"
    if knob == "power_limit_w":
        return f"{told}; run '{command}' first, which is then left as it is, or run llem as root"
    return f"{told}; run llem as root, or run '{command}' and leave device.{knob} out"


def _refusal(device: GpuDeviceBase) -> KnobRefusedError | None:
    """Whether this user may not: the limit that is there is written again. What a card has not is not told here."""
    limit_w = device.knob_value("power_limit_w")
    if limit_w is None:
        return None
    try:
        device.turn("power_limit_w", limit_w)
    except KnobRefusedError as error:
        return error if error.is_forbidden else None
    return None


def _out_of_range(device: GpuDeviceBase, knob: Knob, value: float) -> str | None:
    known, unit = device.knob_range(knob), _UNITS[knob]
    if known is None:
        return "this card or its driver has no such knob; leave it out"
    span = f"{known.low:g} to {known.high:g} {unit}"
    if not known.low <= value <= known.high:
        return f"{value:g} {unit} is out of its range, {span}"
    if known.steps and value not in known.steps:
        return f"it has no {value:g} {unit}; the nearest of its clocks, {span}, are {_nearest(known, value)}"
    return None


def _nearest(known: KnobRange, value: float) -> str:
    below = max(step for step in known.steps if step < value)
    return f"{below:g} and {min(step for step in known.steps if step > value):g}"
