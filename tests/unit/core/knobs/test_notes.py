"""Notes of several users of a machine: one sets a card and is killed, another is the next to measure it."""

import os
import stat
from pathlib import Path

import pytest

from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.core.knobs.notes import Notes
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.testing.gpus import FakeGpuDriver, FakeTunableGpuDevice
from tests.unit.core.knobs.conftest import ALL, CAP, HERE, UUID, left_by_a_dead_one, turning, whole

SOMEBODY = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another user")


def test_all_users_have_one_folder_of_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "shared"))
    left_by_a_dead_one(Notes(host=HERE), CAP)
    monkeypatch.setenv("HOME", str(tmp_path / "of another"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another"))
    card = FakeTunableGpuDevice(UUID)
    card.limit_w = 250
    restore_left(FakeGpuDriver(card), Notes(host=HERE))
    assert card.limit_w == 400


def test_whatever_the_umask_is_all_may_read_a_note_and_hold_its_lock(notes: Notes) -> None:
    before = os.umask(0o077)
    try:
        left_by_a_dead_one(notes, CAP)
        with notes.held(UUID) as held:
            assert held
    finally:
        os.umask(before)
    lock = notes.path(UUID).with_suffix(".lock")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (notes.folder, notes.path(UUID), lock)]
    assert modes == [0o1777, 0o644, 0o666]


def test_who_may_not_set_the_card_is_told_the_command_and_the_note_stays(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    card.limit_w = 250
    card.refuses = {"power_limit_w": True}
    left_by_a_dead_one(notes, CAP)
    left = notes.path(UUID).read_text()
    restore_left(FakeGpuDriver(card), notes)
    assert "power_limit_w: it is refused; set it back with 'acme 0 power_limit_w 400.0'" in caplog.text
    assert f"until {notes.path(UUID)} is gone" in caplog.text
    # Nor is what the dead one left noted as what was before.
    told = r"is as another experiment left it that was killed, by .*; set it back with the command in the log"
    with pytest.raises(PreFlightError, match=told), turning(notes, {"sm_clock_mhz": 600}).of(whole(card)):
        pytest.fail("it was set")
    assert (card.turned, notes.path(UUID).read_text()) == ([], left)


def test_a_folder_that_takes_no_locks_is_told_where_there_is_a_note(
    card: FakeTunableGpuDevice, notes: Notes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_by_a_dead_one(notes, CAP)
    (tmp_path / "link").symlink_to(notes.folder)
    restore_left(FakeGpuDriver(card), Notes(tmp_path / "link", HERE))
    assert card.turned == []
    assert f"GPU {UUID} may have been left set" in caplog.text


@as_root
def test_root_sets_no_card_by_a_note_that_anybody_may_have_put_there(
    card: FakeTunableGpuDevice, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    card.limit_w = 250
    left_by_a_dead_one(notes, ALL, user=0)
    os.chown(notes.path(UUID), SOMEBODY, SOMEBODY)
    restore_left(FakeGpuDriver(card), notes)
    assert (card.turned, notes.any()) == ([], True)
    assert f"by process 1 of user {SOMEBODY}" in caplog.text
    assert (
        "of another user, who may not have root set a card; set it back with 'acme 0 power_limit_w 400" in caplog.text
    )


@as_root
def test_a_lock_is_one_for_all_users_whoever_made_it(notes: Notes) -> None:
    left_by_a_dead_one(notes, CAP)
    with notes.held(UUID):
        pass
    # The folder is of one user, the file of another, and a third one asks.
    os.chown(notes.folder, SOMEBODY, SOMEBODY)
    os.chown(notes.path(UUID).with_suffix(".lock"), SOMEBODY + 1, SOMEBODY + 1)
    with notes.held(UUID) as held:
        assert held is True
        with notes.held(UUID) as second:
            assert second is False
    with notes.held(UUID) as held:
        assert held is True
