"""The program as it is met: on terminals of several widths, in a pipe, and interrupted at each of its phases."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.distributions import TOY
from tests.fakes.faulty import LLEM, arguments, environment, finished, living, study
from tests.fakes.terminal import INTERRUPT, on_a_terminal

# Seconds that nobody waits for: a test interrupts meanwhile.
_LONG = "time.sleep(600)"
_TERMINAL = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
# Where the process makes no difference, one is enough.
_HERE = {"LLEM_EXECUTION__LAUNCHER": "in_process"}
SLOW = TOY.replace("time.sleep(0.001 * len(ids))", "time.sleep(0.2)")
TOUCHES = "open(os.environ['TOUCHED'], 'w').close()"


@dataclass(frozen=True)
class Phase:
    """When a run is interrupted: an engine that stays in a phase, and what the terminal has to show before."""

    engine: str
    shown: str
    columns: int
    more: tuple[str, ...] = ()
    kept: str = "nothing was kept"


PHASES = {
    "checking": Phase(
        TOY.replace("    def environment", f"    def problems(self, config):\n        {_LONG}\n\n    def environment"),
        shown=r"checking: \d+ s",
        columns=60,
    ),
    "loading": Phase(
        TOY.replace("        yield ToyModel", f"        {_LONG}\n        yield ToyModel"),
        shown=r"loading with toy: \d+ s",
        columns=200,
    ),
    "warming up": Phase(
        SLOW,
        shown=r"warming up.* [2-9] of 500",
        columns=60,
        more=("--set", "warmup.enabled=true", "--set", "warmup.n_warmup=500"),
    ),
    "measuring": Phase(SLOW, shown=r"measuring: [2-9] of", columns=20, more=("-n", "90")),
    "ending, with everything measured": Phase(
        TOY.replace("plan.config.section_of(\"toy\").n_tokens)", f"8)\n        import os; {TOUCHES}; {_LONG}"),
        shown="",
        columns=80,
        kept="the result is in ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PHASES)
def test_ctrl_c_in_each_phase_leaves_a_clean_terminal_and_says_what_was_kept(tmp_path: Path, name: str) -> None:
    phase, touched = PHASES[name], tmp_path / "touched"
    environ = environment(tmp_path, phase.engine, **_TERMINAL, TOUCHED=str(touched))
    command = arguments(tmp_path / "out", *phase.more)
    with on_a_terminal(command, phase.columns, environ, tmp_path) as terminal:
        terminal.wait_for(phase.shown or touched.exists)
        terminal.type(INTERRUPT)
        assert terminal.ended() == 130
    assert terminal.controls() == set()
    assert terminal.widest_overwritten() < phase.columns
    # The last line is empty, and nothing but lines of the log is above what was said.
    *told, last, empty = terminal.lines()
    assert (last.startswith(f"llem: interrupted; {phase.kept}"), empty) == (True, ""), terminal.text
    assert [line for line in told if not line.startswith("llem: ")] == []
    assert [line for line in told if "^C" in line or "|" in line or " of 90 " in line] == []
    # Nothing has wrapped but what was longer than a line and stays.
    assert terminal.rows() == [row for line in terminal.lines() for row in in_rows(line, phase.columns)]
    assert len(finished(tmp_path / "out")) == (phase.kept != "nothing was kept")
    assert living(tmp_path) == []


def in_rows(line: str, columns: int) -> list[str]:
    """A line as a terminal breaks it."""
    return [line[at : at + columns].rstrip() for at in range(0, max(len(line), 1), columns)]


def test_ctrl_c_between_two_runs_of_a_study_says_how_many_had_finished(tmp_path: Path) -> None:
    environ = environment(tmp_path, TOY, **_TERMINAL)
    command = [*LLEM, "run", str(study(tmp_path, 2, pause_s=600)), "-o", "out"]
    with on_a_terminal(command, 200, environ, tmp_path) as terminal:
        terminal.wait_for(lambda: any((tmp_path / "out").rglob("DONE")))
        n_before = len(terminal.text)
        terminal.wait_for(lambda: "resting" in terminal.text[n_before:])
        terminal.type(INTERRUPT)
        assert terminal.ended() == 130
    assert re.match("llem: interrupted; 1 of 2 experiments had finished; .* kept in out/", terminal.lines()[-2])
    assert [line for line in terminal.lines()[:-2] if not line.startswith("llem: ")] == []
    assert terminal.widest_overwritten() < 200


def test_a_process_that_dies_leaves_no_bar_behind(tmp_path: Path) -> None:
    dies = "            import os; request.index == 7 and os._exit(3)\n"
    engine = SLOW.replace("            ids = (7,)", f"{dies}            ids = (7,)")
    environ = environment(tmp_path, engine, **_TERMINAL)
    with on_a_terminal(arguments(tmp_path / "out"), 80, environ, tmp_path) as terminal:
        assert terminal.ended() == 1
    assert "measuring" in terminal.text
    *told, last, empty = terminal.lines()
    assert re.match("llem: the measuring process ended with exit code 3", last)
    assert [line for line in [*told, last] if not line.startswith("llem: ") or "of 8 requests" in line] == []
    assert empty == ""


def test_a_terminal_without_utf_8_gets_no_other_letter_and_the_table_in_the_end(tmp_path: Path) -> None:
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ = environment(tmp_path, SLOW, **_TERMINAL | variables)
    command = arguments(tmp_path / "out", "--set", r'name="mod\u00e8le \u6a21\u578b"')
    with on_a_terminal(command, 80, environ, tmp_path) as terminal:
        assert terminal.ended() == 0, terminal.text
    assert "measuring |#" in terminal.text
    assert terminal.controls() == set()
    assert terminal.text.isascii()
    assert terminal.widest_overwritten() < 80
    seen = terminal.lines()
    at = next(number for number, line in enumerate(seen) if line.startswith("environment"))
    assert [line for line in seen[:at] if not line.startswith("llem: ")] == []
    assert any(line.startswith("throughput") for line in seen[at:])


def test_a_terminal_that_cannot_go_back_gets_plain_lines(tmp_path: Path) -> None:
    environ = environment(tmp_path, TOY, **_TERMINAL | {"TERM": "dumb"} | _HERE)
    with on_a_terminal(arguments(tmp_path / "out"), 80, environ, tmp_path) as terminal:
        assert terminal.ended() == 0
    assert terminal.controls() == set()
    assert "\r" not in terminal.text


def test_in_a_pipe_there_are_plain_lines_and_the_table_is_alone_on_stdout(tmp_path: Path) -> None:
    environ = environment(tmp_path, SLOW, **_TERMINAL)
    ran = subprocess.run(arguments(tmp_path / "out"), env=environ, cwd=tmp_path, capture_output=True, check=True)
    assert not re.search(r"[^\n\x20-\x7e\u00a0-\uffff]", (ran.stdout + ran.stderr).decode())
    assert ran.stdout.startswith(b"environment ")
    assert [line for line in ran.stderr.splitlines() if not line.startswith(b"llem: ")] == []


def test_quiet_is_the_table_alone_on_a_terminal_too(tmp_path: Path) -> None:
    environ = environment(tmp_path, SLOW, **_TERMINAL | _HERE)
    with on_a_terminal(arguments(tmp_path / "out", "-q"), 80, environ, tmp_path) as terminal:
        assert terminal.ended() == 0
    assert terminal.text.startswith("environment ")
    assert "\r" not in terminal.text


def test_run_alone_explains_itself_in_five_lines(tmp_path: Path) -> None:
    environ = environment(tmp_path, TOY, **_TERMINAL)
    with on_a_terminal([*LLEM, "run"], 80, environ, tmp_path) as terminal:
        assert terminal.ended() == 2
    told = [line for line in terminal.lines() if line]
    assert len(told) == 5
    assert "--model smollm2-135m" in told[1]
    assert terminal.controls() == set()
    assert "\r" not in terminal.text


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_tab_in_bash_completes_a_command(tmp_path: Path) -> None:
    program = tmp_path / "llem"
    program.write_text(f'#!/bin/sh\nexec {LLEM[0]} -P -c "{LLEM[-1]}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environ = environment(tmp_path, TOY, **_TERMINAL)
    environ |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PS1": "> ", "INPUTRC": os.devnull, "TERM": "dumb"}
    with on_a_terminal(["bash", "--norc", "--noprofile", "-i"], 80, environ, tmp_path) as terminal:
        terminal.wait_for("> ")
        terminal.type(b'eval "$(llem completion bash)"; echo rea"dy"\n')
        terminal.wait_for("\nready")
        terminal.type(b"llem calib\t")
        terminal.wait_for("llem calibrate ")
        terminal.type(b"--eng\t")
        terminal.wait_for("--engine ")
        terminal.type(b"\x15exit\n")
        terminal.ended()
