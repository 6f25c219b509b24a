"""A disk that is full and one that takes nothing cost no file that was there, and leave nothing half-written."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.small_disk import own_mounts

# The folder on the disk is its first argument. What it finds is printed as JSON.
_PROGRAM = """
import json, sys
from pathlib import Path
from llenergymeasure._files import write_atomically
from llenergymeasure.results.persistence import create_directory
from llenergymeasure.results.sums import mark_done, problem_of, rewrite

run, new = Path(sys.argv[1]), "new " * 10_000

def there():
    return {str(path.relative_to(run)): path.read_bytes().decode() for path in run.rglob("*") if path.is_file()}

def error_of(what):
    try:
        what()
    except OSError as error:
        return [error.errno, error.filename and Path(error.filename).name]

before = there()
print(json.dumps({
    "rewrite": error_of(lambda: rewrite(run / "result.json", new)),
    "write": error_of(lambda: write_atomically(run / "other.json", new)),
    "done": error_of(lambda: mark_done(run)),
    "folder": error_of(lambda: create_directory(run, "runs")),
    "changed": there() != before,
    "aside": [path.name for path in run.glob(".*")],
    "problem": problem_of(run / "result.json"),
}))
"""
_PREPARE = """
import sys
from pathlib import Path
from llenergymeasure.results.sums import mark_done

run = Path(sys.argv[1])
run.mkdir()
(run / "result.json").write_text("the old one")
# So long that the list of sums takes more than what is left of a page.
for number in range(60):
    (run / f"table-{number}-of-a-long-name.parquet").write_text("of the old one")
mark_done(run)
"""


def found_on_a_disk(folder: Path, disturbance: str) -> dict[str, Any]:
    """What the program finds on a disk of 512 kB that this shell line disturbs when a result is on it."""
    mounts = own_mounts()
    if mounts is None:
        pytest.skip("nobody may mount a small disk here")
    disk = folder / "disk"
    disk.mkdir()
    python = f"{sys.executable} -c"
    lines = (
        "mount -t tmpfs -o size=512k none disk",
        f"{python} '{_PREPARE}' disk/run",
        disturbance,
        f"{python} '{_PROGRAM}' disk/run",
    )
    script = "\n".join(lines)
    ran = subprocess.run([*mounts, "sh", "-ec", script], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_a_full_disk_leaves_result_and_sums_as_they_were(tmp_path: Path) -> None:
    found = found_on_a_disk(tmp_path, "head -c 1000000 /dev/zero >disk/filler 2>/dev/null || true")
    assert found["rewrite"] == [errno.ENOSPC, "result.json"]
    assert found["write"] == [errno.ENOSPC, "other.json"]
    assert found["done"] == [errno.ENOSPC, "DONE"]
    assert not found["changed"]
    assert found["problem"] is None


def test_a_disk_with_room_for_the_result_and_not_for_its_sums_leaves_both(tmp_path: Path) -> None:
    # 40 kB of the new result are ten pages; one is left beside them, and the sums take two.
    fill = "head -c 1000000 /dev/zero >disk/filler 2>/dev/null || true; truncate -s -45056 disk/filler"
    found = found_on_a_disk(tmp_path, fill)
    assert found["rewrite"] == [errno.ENOSPC, "result.json"]
    assert found["problem"] is None
    # As long a file alone does fit, so it was the sums that did not.
    assert found["write"] is None
    assert found["aside"] == []


def test_a_disk_that_takes_nothing_is_named_and_unchanged(tmp_path: Path) -> None:
    found = found_on_a_disk(tmp_path, "mount -o remount,ro disk")
    assert found["rewrite"] == [errno.EROFS, "result.json"]
    assert found["write"] == [errno.EROFS, "other.json"]
    assert found["done"] == [errno.EROFS, "DONE"]
    assert found["folder"] == [errno.EROFS, "runs"]
    assert not found["changed"]
    assert found["problem"] is None
