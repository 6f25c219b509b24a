"""When a limit counts as set back: as the driver reads it, and not as it was asked for."""

import json

import pytest

from llenergymeasure.config.device import Knob
from llenergymeasure.core.knobs.notes import Notes
from llenergymeasure.core.knobs.problems import knob_problems
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.testing.gpus import FakeGpuDriver, FakeTunableGpuDevice
from tests.unit.core.knobs.conftest import UUID, left_by_a_dead_one, turning, whole

ODD: dict[Knob, float] = {"power_limit_w": 250.7}


class InWholeWatts(FakeTunableGpuDevice):
    """One whose driver cuts off what is less than a watt."""

    def turn(self, knob: Knob, value: float | None) -> None:
        super().turn(knob, None if value is None else int(value))


class Mute(FakeTunableGpuDevice):
    """One that takes a limit, and after ``n_told`` readings no more tells which it has."""

    n_told = 0

    def knob_value(self, knob: Knob) -> float | None:
        self.n_told -= 1
        return None if self.n_told < 0 else super().knob_value(knob)


def test_a_driver_that_counts_in_whole_watts_gets_its_limit_back(notes: Notes) -> None:
    card = InWholeWatts(UUID)
    with turning(notes, ODD).of(whole(card)):
        told = json.loads(notes.path(UUID).read_text())
        assert (card.limit_w, told["asked"], told["read_back"]) == (250, ODD, {"power_limit_w": 250})
    assert (card.limit_w, notes.any()) == (400, False)


@pytest.mark.parametrize("read_back", [{}, {"power_limit_w": 250.0}], ids=["killed at once", "killed later"])
def test_what_one_that_was_killed_has_left_in_whole_watts_is_set_back(
    notes: Notes, read_back: dict[Knob, float]
) -> None:
    card = InWholeWatts(UUID)
    card.limit_w = 250
    left_by_a_dead_one(notes, ODD, read_back=read_back)
    restore_left(FakeGpuDriver(card), notes)
    assert (card.limit_w, notes.any()) == (400, False)


def test_what_was_asked_for_says_nothing_once_it_was_read_back(notes: Notes) -> None:
    # A card that took 250 W for 250.7 has 250.7 from somebody else.
    card = FakeTunableGpuDevice(UUID)
    card.limit_w = 250.7
    left_by_a_dead_one(notes, ODD, read_back={"power_limit_w": 250.0})
    restore_left(FakeGpuDriver(card), notes)
    assert (card.limit_w, notes.any()) == (250.7, False)


def test_one_that_was_killed_before_it_set_the_card_leaves_nothing_to_tell_or_to_set(
    notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    card = FakeTunableGpuDevice(UUID)
    left_by_a_dead_one(notes, ODD)
    restore_left(FakeGpuDriver(card), notes)
    assert (card.turned, notes.any()) == ([], False)
    assert "somebody else" not in caplog.text


def test_a_limit_that_cannot_be_read_is_not_set(notes: Notes) -> None:
    told = "the limit that is there cannot be read, so that it could not be set back; leave it out"
    card = Mute(UUID)
    (line,) = knob_problems(ODD, (UUID,), FakeGpuDriver(card), notes)
    assert line == f"device.power_limit_w: GPU 0 (Acme 1000, {UUID}): {told}"
    with pytest.raises(PreFlightError, match=told), turning(notes, ODD).of(whole(card)):
        pytest.fail("it was set")
    assert (card.turned, notes.any()) == ([], False)


@pytest.mark.parametrize(
    ("n_told", "told"), [(0, "it was set back, and could not be read back"), (2, "it was set back, and is read back")]
)
def test_a_note_stays_until_what_was_set_back_is_read_back(
    notes: Notes, caplog: pytest.LogCaptureFixture, n_told: int, told: str
) -> None:
    class Deaf(Mute):
        def turn(self, knob: Knob, value: float | None) -> None:
            """Nothing comes of it, and nobody says so."""

    card = Deaf(UUID)
    card.limit_w, card.n_told = 250.7, n_told
    left_by_a_dead_one(notes, ODD)
    restore_left(FakeGpuDriver(card), notes)
    assert notes.any()
    assert f"power_limit_w: {told}" in caplog.text
    assert "set it back with 'acme 0 power_limit_w 400.0'" in caplog.text


def test_a_note_that_does_not_know_what_was_before_stays(notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    card = FakeTunableGpuDevice(UUID)
    card.limit_w = 250
    left_by_a_dead_one(notes, ODD)
    told = json.loads(notes.path(UUID).read_text())
    notes.path(UUID).write_text(json.dumps({**told, "before": {"power_limit_w": None}}))
    restore_left(FakeGpuDriver(card), notes)
    assert (card.turned, notes.any()) == ([], True)
    assert "power_limit_w: what it was could not be read" in caplog.text
