"""A card that can be set, and notes of what it was."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure._host import Host
from llenergymeasure.config.device import Knob
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase
from llenergymeasure.core.knobs.notes import Note, Notes
from llenergymeasure.core.knobs.turning import Turning
from llenergymeasure.testing.gpus import FakeGpuDevice, FakeTunableGpuDevice

UUID = "ACME-1"
HERE = Host(name="here", machine_id="1", boot_id="first boot")
ALL: Mapping[Knob, float] = {"power_limit_w": 250.0, "sm_clock_mhz": 600, "memory_clock_mhz": 900}
CAP: Mapping[Knob, float] = {"power_limit_w": 250.0}


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "knobs", HERE)


@pytest.fixture
def card() -> FakeTunableGpuDevice:
    return FakeTunableGpuDevice(UUID)


def whole(card: FakeGpuDevice) -> GpuDeviceBase:
    return with_defaults(card, GpuDeviceBase)


def turning(notes: Notes, wanted: Mapping[Knob, float] = ALL, experiment_id: str = "mine") -> Turning:
    return Turning(wanted=wanted, experiment_id=experiment_id, notes=notes, sleep=lambda _: None)


def left_by_a_dead_one(notes: Notes, asked: Mapping[Knob, float], boot: str = "first boot", **more: Any) -> None:
    """The note of a process that set a card of 400 W; nobody holds its lock."""
    before: dict[Knob, float | None] = {knob: 400.0 if knob == "power_limit_w" else None for knob in asked}
    host = Host(name="here", machine_id="1", boot_id=boot)
    notes.write(Note(device=UUID, host=host, pid=1, experiment_id="theirs", before=before, asked=asked, **more))
