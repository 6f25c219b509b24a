"""Knobs of GPUs: what is refused before anything is set, and that all is set back on every way out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from llenergymeasure.config.device import Knob
from llenergymeasure.core.knobs.notes import Notes
from llenergymeasure.core.knobs.problems import knob_problems
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.testing.gpus import FakeGpuDevice, FakeGpuDriver, FakeTunableGpuDevice
from tests.fakes.effort import PATIENCE_S
from tests.unit.core.knobs.conftest import ALL, CAP, HERE, UUID, left_by_a_dead_one, turning, whole


def test_knobs_are_set_for_the_body_and_set_back_in_reverse(card: FakeTunableGpuDevice, notes: Notes) -> None:
    with turning(notes).of(whole(card)):
        assert (card.power_w(), card.locked_mhz) == (250, {"sm_clock_mhz": 600, "memory_clock_mhz": 900})
    assert card.turned == [
        ("power_limit_w", 250), ("sm_clock_mhz", 600), ("memory_clock_mhz", 900),
        ("memory_clock_mhz", None), ("sm_clock_mhz", None), ("power_limit_w", 400),
    ]  # fmt: skip
    assert not notes.any()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(143)])
def test_an_error_and_an_interruption_set_it_back_too(
    card: FakeTunableGpuDevice, notes: Notes, error: BaseException
) -> None:
    with pytest.raises(type(error)), turning(notes).of(whole(card)):
        raise error
    assert (card.limit_w, set(card.locked_mhz.values()), notes.any()) == (400, {None}, False)


def test_the_note_is_there_before_the_first_change(notes: Notes) -> None:
    class Watched(FakeTunableGpuDevice):
        def turn(self, knob: Knob, value: float | None) -> None:
            note = notes.of(UUID)
            assert note is not None
            assert (note.before, note.asked) == ({"power_limit_w": 400}, {"power_limit_w": 250})
            assert (note.device, note.host, note.pid) == (UUID, HERE, os.getpid())
            super().turn(knob, value)

    card = Watched(UUID)
    with turning(notes, CAP).of(whole(card)):
        pass
    assert [value for _, value in card.turned] == [250, 400]


def test_what_is_as_wanted_already_is_left_as_it_is(card: FakeTunableGpuDevice, notes: Notes) -> None:
    card.limit_w = 250
    with turning(notes, CAP).of(whole(card)):
        pass
    assert (card.turned, card.limit_w, notes.any()) == ([], 250, False)


def test_one_that_is_refused_half_way_leaves_nothing_set(card: FakeTunableGpuDevice, notes: Notes) -> None:
    card.refuses = {"memory_clock_mhz": False}
    told = r"device\.memory_clock_mhz: 900 MHz of GPU 0 .*: it is refused; leave it out"
    with pytest.raises(PreFlightError, match=told), turning(notes).of(whole(card)):
        pytest.fail("it was not set")
    assert (card.limit_w, card.locked_mhz) == (400, {"sm_clock_mhz": None})


def test_what_cannot_be_set_back_is_told_and_keeps_its_note(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    with turning(notes, CAP).of(whole(card)):
        card.refuses = {"power_limit_w": True}
    assert "set it back with 'acme 0 power_limit_w 400" in caplog.text
    card.refuses = {}
    restore_left(FakeGpuDriver(card), notes)
    assert (card.limit_w, notes.any()) == (400, False)


def test_a_limit_that_somebody_else_has_set_meanwhile_stays_and_is_told(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    with turning(notes, CAP).of(whole(card)):
        card.limit_w = 300
    assert (card.limit_w, notes.any()) == (300, False)
    assert "is left with power_limit_w 300, which somebody else has set since; it was 400 before" in caplog.text


def test_the_next_run_sets_back_what_a_dead_one_left(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    card.limit_w, card.locked_mhz = 250, {"sm_clock_mhz": 600, "memory_clock_mhz": 900}
    left_by_a_dead_one(notes, ALL)
    restore_left(FakeGpuDriver(card), notes)
    assert (card.limit_w, set(card.locked_mhz.values()), notes.any()) == (400, {None}, False)
    assert f"by process 1 of user {os.geteuid()}, which was killed" in caplog.text


def test_who_sets_a_card_that_a_dead_one_left_set_gives_back_what_was_before_both(
    card: FakeTunableGpuDevice, notes: Notes
) -> None:
    card.limit_w = 250
    left_by_a_dead_one(notes, CAP)
    with turning(notes, {"power_limit_w": 300.0}).of(whole(card)):
        assert card.limit_w == 300
    assert card.limit_w == 400


def test_a_note_of_an_earlier_boot_says_nothing_of_this_one(card: FakeTunableGpuDevice, notes: Notes) -> None:
    card.limit_w = 250
    left_by_a_dead_one(notes, CAP, boot="an earlier one")
    restore_left(FakeGpuDriver(card), notes)
    assert (card.turned, notes.any()) == ([], False)


def test_the_note_of_another_gpu_is_left_alone(notes: Notes) -> None:
    left_by_a_dead_one(notes, CAP)
    other = FakeTunableGpuDevice("ACME-2")
    restore_left(FakeGpuDriver(other), notes)
    assert (other.turned, notes.any()) == ([], True)


def test_a_note_that_cannot_be_read_is_told_and_turns_nothing(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    left_by_a_dead_one(notes, CAP)
    notes.path(UUID).write_text("{")
    restore_left(FakeGpuDriver(card), notes)
    assert card.turned == []
    assert "cannot be read" in caplog.text


HOLD = """
import sys
from pathlib import Path
from llenergymeasure.core.knobs.notes import Notes
with Notes(Path(sys.argv[1])).held(sys.argv[2]) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_the_note_of_a_living_process_is_left_alone_and_told(card: FakeTunableGpuDevice, notes: Notes) -> None:
    left_by_a_dead_one(notes, CAP)
    card.limit_w = 250
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(notes.folder), UUID], stdin=pipe, stdout=pipe, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        restore_left(FakeGpuDriver(card), notes)
        assert (card.limit_w, notes.any()) == (250, True)
        told = r"is set by another experiment \(process 1\)"
        with pytest.raises(PreFlightError, match=told), turning(notes).of(whole(card)):
            pytest.fail("it was set by two")
        # Another process of that experiment goes on with the card as it is.
        with turning(notes, experiment_id="theirs").of(whole(card)):
            pass
        assert (card.turned, notes.any()) == ([], True)
        other.communicate(timeout=PATIENCE_S)
    restore_left(FakeGpuDriver(card), notes)
    assert (card.limit_w, notes.any()) == (400, False)


def test_nothing_is_set_where_nothing_can_be_noted(card: FakeTunableGpuDevice, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes = Notes(tmp_path / "file" / "knobs", HERE)
    with (
        pytest.raises(PreFlightError, match=r"cannot be noted, .*LLENERGYMEASURE_LOCKS"),
        turning(notes).of(whole(card)),
    ):
        pytest.fail("it was set without a note")
    assert card.turned == []
    (line,) = knob_problems(CAP, (UUID,), FakeGpuDriver(card), notes)
    assert "cannot be noted" in line


def problems(card: FakeGpuDevice, notes: Notes, wanted: Mapping[Knob, float]) -> tuple[str, ...]:
    return knob_problems(wanted, (UUID,), FakeGpuDriver(card), notes)


def test_what_the_card_takes_is_no_problem_and_changes_nothing(card: FakeTunableGpuDevice, notes: Notes) -> None:
    assert problems(card, notes, ALL) == ()
    assert card.turned == [("power_limit_w", 400)]  # as it was: whether this user may
    assert not notes.any()


def test_each_thing_that_is_wrong_is_a_line_with_a_way_out(card: FakeTunableGpuDevice, notes: Notes) -> None:
    called = f"GPU 0 (Acme 1000, {UUID})"
    assert problems(card, notes, {"power_limit_w": 99, "sm_clock_mhz": 650, "memory_clock_mhz": 901}) == (
        f"device.power_limit_w: {called}: 99 W is out of its range, 100 to 400 W",
        f"device.sm_clock_mhz: {called}: it has no 650 MHz; the nearest of its clocks, 300 to 900 MHz, are 600 and 900",
        f"device.memory_clock_mhz: {called}: 901 MHz is out of its range, 300 to 900 MHz",
    )
    assert card.turned == []


def test_a_card_or_driver_without_knobs(notes: Notes) -> None:
    (line,) = problems(FakeGpuDevice(UUID), notes, CAP)
    assert line.endswith(f"{UUID}): this card or its driver has no such knob; leave it out")


def test_no_gpu_at_all(card: FakeTunableGpuDevice, notes: Notes) -> None:
    (line,) = knob_problems(ALL, (), FakeGpuDriver(card), notes)
    assert line.startswith("device.power_limit_w and device.sm_clock_mhz and device.memory_clock_mhz: no GPU is used")
    (line,) = knob_problems(CAP, ("ACME-9",), FakeGpuDriver(card), notes)
    assert line == "device.power_limit_w: GPU ACME-9 does not answer"


def test_without_permission_the_command_that_would_help_is_told(card: FakeTunableGpuDevice, notes: Notes) -> None:
    card.refuses = {"power_limit_w": True}
    limit, clock = problems(card, notes, {"power_limit_w": 250, "sm_clock_mhz": 600})
    assert limit.endswith("; run 'acme 0 power_limit_w 250' first, which is then left as it is, or run llem as root")
    assert clock.endswith("; run llem as root, or run 'acme 0 sm_clock_mhz 600' and leave device.sm_clock_mhz out")
    card.limit_w = 250
    assert problems(card, notes, CAP) == ()


def test_a_note_has_what_a_reader_needs(card: FakeTunableGpuDevice, notes: Notes) -> None:
    with turning(notes).of(whole(card)):
        told = json.loads(notes.path(UUID).read_text())
    assert told == {
        "device": UUID,
        "host": {"name": "here", "machine_id": "1", "boot_id": "first boot"},
        "pid": os.getpid(),
        "experiment_id": "mine",
        "before": {"power_limit_w": 400.0, "sm_clock_mhz": None, "memory_clock_mhz": None},
        "asked": {"power_limit_w": 250.0, "sm_clock_mhz": 600, "memory_clock_mhz": 900},
        "read_back": {"power_limit_w": 250.0},
        "user": os.geteuid(),
    }
