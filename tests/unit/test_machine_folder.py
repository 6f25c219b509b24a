"""Locks in a folder that all users share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llenergymeasure._machine_folder import locked_among_users
from tests.fakes.effort import PATIENCE_S

HOLD = """
import sys
from pathlib import Path
from llenergymeasure._machine_folder import locked_among_users
with locked_among_users(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_one_process_has_it_until_it_is_killed(tmp_path: Path) -> None:
    file, pipe = tmp_path / "x.lock", subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with locked_among_users(file) as held:
            assert held is False
        other.kill()
        other.communicate(timeout=PATIENCE_S)
    with locked_among_users(file) as held:
        assert held is True
    assert file.exists()


@pytest.mark.linux
def test_it_is_free_again_though_a_process_that_was_forked_lives_on(tmp_path: Path) -> None:
    file = tmp_path / "x.lock"
    with locked_among_users(file):
        (mine,) = [int(link.name) for link in Path("/proc/self/fd").iterdir() if _leads_to(link, file)]
        # What a process that is forked has of it.
        inherited = os.dup(mine)
    try:
        with locked_among_users(file) as held:
            assert held is True
    finally:
        os.close(inherited)


def _leads_to(link: Path, file: Path) -> bool:
    try:
        return link.readlink() == file
    except OSError:
        return False


def test_where_nothing_can_be_locked_and_links_are_followed_by_nobody(tmp_path: Path) -> None:
    with locked_among_users(tmp_path / "no folder" / "x.lock") as held:
        assert held is None
    (tmp_path / "theirs").touch()
    (tmp_path / "x.lock").symlink_to(tmp_path / "theirs")
    with locked_among_users(tmp_path / "x.lock") as held:
        assert held is None
