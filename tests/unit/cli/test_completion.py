"""What a shell is offered while a command of llem is typed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.command import Ran
from tests.fakes.faulty import LLEM

HEAVY = {"torch", "pydantic", "scipy", "pyarrow", "numpy", "yaml", "pynvml", "psutil", "tqdm", "importlib.metadata"}
SHELLS = ("bash", "zsh", "fish")


def offered(shell: str, typed: str) -> list[str]:
    """What click's script for a shell is told where the cursor is behind these words."""
    words = typed.split(" ")
    # fish gives the word itself, the others its number.
    at = words[-1] if shell == "fish" else str(len(words) - 1)
    environ = {**os.environ, "_LLEM_COMPLETE": f"{shell}_complete", "COMP_WORDS": typed, "COMP_CWORD": at}
    ran = subprocess.run(LLEM, env=environ, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    lines = [line for line in ran.stdout.splitlines() if line]
    if shell == "zsh":
        return lines[1::3]
    return [line.partition(",")[2].partition("\t")[0] for line in lines]


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_are_offered(shell: str) -> None:
    assert offered(shell, "llem co") == ["compare", "config", "completion"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("llem run --dry", ["--dry-run"]),
        ("llem run --precision b", ["bf16"]),
        ("llem run --precision=fp1", ["fp16"]),
        ("llem run --set warmup.n_w", ["warmup.n_warmup"]),
        # Once given it is not offered again, unless it may be given again.
        ("llem run --dry-run --dr", []),
        ("llem run --set n=1 --se", ["--seed", "--set"]),
        ("llem completion z", ["zsh"]),
        ("llem nothing --v", ["--version"]),
    ],
)
def test_options_and_values_are_offered(typed: str, found: list[str]) -> None:
    assert sorted(offered("bash", typed)) == found


def test_where_a_file_belongs_the_shell_is_told_so() -> None:
    environ = {**os.environ, "_LLEM_COMPLETE": "bash_complete", "COMP_WORDS": "llem run exa", "COMP_CWORD": "2"}
    assert subprocess.run(LLEM, env=environ, capture_output=True, text=True, check=True).stdout == "file,exa\n"


def test_every_option_of_every_command_is_offered() -> None:
    # The page of the command line is held against the program by another test.
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = [part for part in page.split("\n## llem ")[1:] if " " not in part.partition("\n")[0]]
    assert len(commands) > 10
    for part in commands:
        command = part.partition("\n")[0]
        given = {word for line in part.splitlines() if line.startswith("  -") for word in _names(line)}
        assert {*offered("bash", f"llem {command} --")} == {name for name in given if name.startswith("--")}, command


def _names(line: str) -> list[str]:
    """Those of a line such as ``  -o, --output PATH  Folder`` and ``  --exclusive / --no-exclusive  Whole nodes``."""
    names = line.strip().split("  ")[0].replace(" / ", ",")
    return [part.strip().split(" ")[0] for part in names.split(",") if "-" in part]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["completion", "zsh"], {}),
        ([], {"_LLEM_COMPLETE": "bash_complete", "COMP_WORDS": "llem ru", "COMP_CWORD": "1"}),
        ([], {"_LLEM_COMPLETE": "zsh_complete", "COMP_WORDS": "llem run --precision b", "COMP_CWORD": "3"}),
    ],
)
def test_what_is_asked_at_each_key_loads_nothing_heavy(arguments: list[str], environ: dict[str, str]) -> None:
    code = (
        "import sys\nfrom llenergymeasure.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environ}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_what_is_printed_for_it(plain_llem: Callable[..., Ran], shell: str, tmp_path: Path) -> None:
    ran = plain_llem("completion", shell)
    assert ran.code == 0
    assert f"_LLEM_COMPLETE={shell}_complete" in ran.out
    path = tmp_path / "script"
    path.write_text(ran.out, encoding="utf-8")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", str(path)], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_it(tmp_path: Path, plain_llem: Callable[..., Ran]) -> None:
    script = plain_llem("completion", "bash").out
    program = tmp_path / "llem"
    program.write_text(f'#!/bin/sh\nexec {" ".join(map(json.dumps, LLEM))} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    line = (
        f'{script}\nCOMP_WORDS=(llem run --exp); COMP_CWORD=2\n_llem_completion llem\necho "${{COMPREPLY[@]}}"\n'
        "complete -p llem\n"
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["--export-csv", "complete -o nosort -F _llem_completion llem"]


def test_a_shell_that_it_knows_not_is_wrong_usage(plain_llem: Callable[..., Ran]) -> None:
    ran = plain_llem("completion", "csh")
    assert ran.code == 2
    assert "'bash', 'zsh', 'fish'" in ran.err
