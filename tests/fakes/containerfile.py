"""A Containerfile, read as a list of steps."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "Containerfile"


@dataclass(frozen=True)
class Step:
    """An instruction, such as ``RUN``, and what stands behind it, its lines joined."""

    instruction: str
    text: str

    @property
    def variables(self) -> dict[str, str]:
        """Those that an ``ENV`` sets."""
        assert self.instruction == "ENV"
        return dict(word.partition("=")[::2] for word in shlex.split(self.text))

    @property
    def sources(self) -> list[str]:
        """What a ``COPY`` copies."""
        assert self.instruction == "COPY"
        return self.text.split()[:-1]

    @property
    def destination(self) -> str:
        """Where it copies that to."""
        assert self.instruction == "COPY"
        return self.text.split()[-1]

    @property
    def is_of_the_system(self) -> bool:
        """Whether it changes the system itself, which nothing but an image can be for one test."""
        return self.text.startswith("apt-get ")


def steps(text: str) -> list[Step]:
    """The instructions of a Containerfile in order."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines()]
    return [Step(instruction, rest.strip()) for instruction, _, rest in found]


def of_this_house() -> list[Step]:
    """Those of the one in this checkout."""
    return steps(CONTAINERFILE.read_text(encoding="utf-8"))
