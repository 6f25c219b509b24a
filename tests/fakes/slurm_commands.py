"""SLURM's commands in the place of a cluster: they note how they were called, and answer what they are told to."""

import os
from dataclasses import dataclass
from pathlib import Path

_SBATCH = """#!/bin/sh
cp "$1" "{folder}/script.sh"
echo "sbatch $(basename "$1")" >> {folder}/called
[ -f {folder}/refused ] && {{ cat {folder}/refused >&2; exit 1; }}
echo "Submitted batch job 12"
"""
_OTHER = """#!/bin/sh
echo "{name} $*" >> {folder}/called
[ -f {folder}/{name}.error ] && {{ cat {folder}/{name}.error >&2; exit 1; }}
[ {name} = scancel ] && : > {folder}/squeue.answer
cat {folder}/{name}.answer 2>/dev/null || true
"""


@dataclass
class SlurmCommands:
    """Commands in a folder that belongs on the path."""

    folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "SlurmCommands":
        """Write them."""
        made = cls(folder)
        folder.mkdir(parents=True)
        for name in ("sbatch", "srun", "squeue", "scancel", "scontrol"):
            script = folder / name
            script.write_text((_SBATCH if name == "sbatch" else _OTHER).format(folder=folder, name=name))
            script.chmod(0o755)
        return made

    @property
    def path(self) -> str:
        """The search path with them first."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def answers(self, command: str, text: str) -> None:
        """Have a command print this."""
        (self.folder / f"{command}.answer").write_text(text)

    def fails(self, command: str, text: str) -> None:
        """Have a command fail with this."""
        (self.folder / ("refused" if command == "sbatch" else f"{command}.error")).write_text(text)

    @property
    def called(self) -> list[str]:
        """What was called, with arguments."""
        file = self.folder / "called"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def script(self) -> list[str]:
        """The lines of what was submitted the last time."""
        return (self.folder / "script.sh").read_text().splitlines()
