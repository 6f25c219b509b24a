"""Locks between processes: one holds, the others know, and the kernel frees what a kill has left."""

import subprocess
import sys
from pathlib import Path

from llenergymeasure._locks import locked

_HOLDS = """
import sys
from pathlib import Path
from llenergymeasure._locks import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.readline()
"""


def test_a_lock_is_held_by_one_until_that_is_killed(tmp_path: Path) -> None:
    lock, pipe = tmp_path / "lock", subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", _HOLDS, str(lock)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    with locked(lock, patience_s=0) as held:
        assert held is False
    process.kill()
    process.communicate()
    with locked(lock, patience_s=0) as held:
        assert held is True
        with locked(lock, patience_s=0) as again:
            assert again is False
    with locked(lock, patience_s=0) as held:
        assert held is True
    assert lock.exists()


def test_where_no_lock_can_be_the_body_is_run_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with locked(tmp_path / "file" / "lock", patience_s=0) as held:
        assert held is None
