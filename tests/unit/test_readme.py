"""The two commands a newcomer is told exist, and are what the checks run."""

import re
from pathlib import Path

import pytest

from llenergymeasure.results.showing.lines import LABEL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_gives_the_command_and_the_makefile_has_it(command: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ").split("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert command in lines
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command.removeprefix('make ')}:", makefile, flags=re.MULTILINE)


def test_what_has_to_hold_on_main_is_the_test_command_and_the_checks() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line.strip() for line in script.splitlines() if line.strip().startswith("make ")]
    assert {"make check", "make test"} <= set(commands)
    assert re.search(r"^set -e", script, flags=re.MULTILINE)


def test_the_readme_shows_the_table_of_a_real_run() -> None:
    blocks = re.findall(
        r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    labels = {line[:LABEL].strip() for block in blocks for line in block.splitlines()}
    assert {"environment", "model", "engine", "warm-up", "tokens", "throughput", "energy, raw", "FLOPs"} <= labels
