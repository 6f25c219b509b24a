"""Disks of a few kilobytes that one command alone sees."""

import functools
import shutil
import subprocess


@functools.cache
def own_mounts() -> list[str] | None:
    """How to begin a command that may mount disks that only it sees; None where nobody may."""
    for way in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        trial = [*way, "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
        if shutil.which("unshare") and subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return way
    return None
