"""Run the commands of docs/how-to/ in temporary folders and write what they print below them.

A page has, in the order in which a reader meets them,

- files: a name in backquotes alone in a line, and the fenced block below it;
- blocks ``console``: a line that begins with ``$ `` is a command, what follows up to the next one is its stdout. Only
  ``llem`` and ``python FILE`` are run; a pattern without quotes stands for what it matches, as in a shell.

What is different is said in a line above the block, or anywhere:

- ``*Not run by the tests: WHY.*``, which readers see: nobody runs it here, and what it shows stays as it is;
- ``<!-- goes on from: PAGE -->``: the page is followed in the folder that the other one has left;
- ``<!-- first lines: N -->``: of a long output so many lines are shown, and then ``...``;
- ``<!-- rows may differ -->``: how many rows come depends on the machine, so only headers are compared.

Outputs are written as they came. Only when a test compares, figures and what stands beside them are left out: what is
held is the headers of tables, and the first cell of each row, without numbers, dates, digests and widths of columns.
"""

import argparse
import contextlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "how-to"
# The folder of a checkout that commands of the pages name.
_EXAMPLES = "examples"
_GOES_ON = re.compile(r"^<!-- goes on from: (\S+) -->$", re.MULTILINE)
_FILE = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"(?P<marks>(?:^(?:\*Not run by the tests: [^\n]+\*\n\n|<!-- (?:first lines: \d+|rows may differ) -->\n))*)"
    r"^```console\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)  # fmt: skip
_NOT_RUN = re.compile(r"^\*Not run by the tests: ([^\n]+)\.\*$", re.MULTILINE)
_CUT = "..."
# Rows that depend on the sensors of a machine, or on what it is doing.
_BY_MACHINE = re.compile(r"energy, |energy$|energy per token|reading sensors|throttling|warnings|GPU|advice")
# What differs from run to run, and what is compared in its place.
_VARIABLE = (
    (re.compile(r"\d{8}T\d{6}Z(?:_\d+)?"), "TIME"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"[-+]?\d[\d,.]*(?:e[-+]?\d+)?"), "0"),
    (re.compile(r"\s+"), " "),
)
# Runs the arguments of llem, or of python after its name, and gives the exit code and stdout.
Run = Callable[[str, Sequence[str]], tuple[int, str]]


@dataclass(frozen=True)
class Command:
    """A command of a page, with what the page shows as its output."""

    line: str
    shown: str
    first_lines: int | None = None
    rows_may_differ: bool = False

    @property
    def words(self) -> tuple[str, list[str]]:
        """The program, and its arguments in the current folder, patterns without quotes replaced by what they match."""
        raw = shlex.shlex(self.line, posix=False)
        raw.whitespace_split = True
        arguments = [
            name
            # What has quotes in it a shell leaves as it is.
            for word, as_written in zip(shlex.split(self.line), raw, strict=True)
            for name in (_matches(word) if "*" in word and not re.search(r"['\"]", as_written) else [word])
        ]
        if arguments[0] not in ("llem", "python"):
            raise ValueError(f"a page can have llem and python run, or be marked as not run: {self.line}")
        return arguments[0], arguments[1:]

    def shortened(self, output: str) -> str:
        """As much of an output as the page shows."""
        lines = output.rstrip("\n").splitlines()
        if self.first_lines is not None and len(lines) > self.first_lines:
            lines = [*lines[: self.first_lines], _CUT]
        return "".join(f"{line.rstrip()}\n" for line in lines)


@dataclass(frozen=True)
class Page:
    """A how-to as a program: the files that it shows, and the commands that it has run."""

    name: str
    text: str
    goes_on_from: str | None
    files: Mapping[str, str]
    commands: tuple[Command, ...]
    not_run: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Page":
        """A page of docs/how-to/."""
        text = path.read_text(encoding="utf-8")
        goes_on = _GOES_ON.search(text)
        blocks = list(_BLOCK.finditer(text))
        skipped = [block for block in blocks if _NOT_RUN.search(block["marks"])]
        return cls(
            name=path.name,
            text=text,
            goes_on_from=None if goes_on is None else goes_on[1],
            files=dict(_FILE.findall(text)),
            commands=tuple(command for block in blocks if block not in skipped for command in _commands(block)),
            not_run=tuple(why for block in skipped for why in _NOT_RUN.findall(block["marks"])),
        )

    def followed(self, folder: Path, run: Run) -> list[str]:
        """What the commands print, one after the other, in a folder that is the current one.

        Raises:
            RuntimeError: one of them failed.
        """
        if not (folder / _EXAMPLES).exists():
            shutil.copytree(ROOT / _EXAMPLES, folder / _EXAMPLES)
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        outputs = []
        for command in self.commands:
            code, output = run(*command.words)
            if code != 0:
                raise RuntimeError(f"{self.name}: exit code {code} of: {command.line}\n{output}")
            outputs.append(command.shortened(output))
        return outputs

    def with_outputs(self, outputs: Sequence[str]) -> str:
        """The page with these outputs in the place of those that it shows."""
        left = list(outputs)

        def block_of(block: re.Match[str]) -> str:
            if _NOT_RUN.search(block["marks"]):
                return block[0]
            body = "".join(f"$ {command.line}\n{left.pop(0)}" for command in _commands(block))
            return f"{block['marks']}```console\n{body}```"

        return _BLOCK.sub(block_of, self.text)


def all_pages() -> dict[str, Page]:
    """Every how-to by its name, each after the one that it goes on from."""
    found = [Page.read(path) for path in sorted(PAGES.glob("*.md"))]
    return {page.name: page for page in sorted(found, key=lambda page: page.goes_on_from is not None)}


def _matches(pattern: str) -> list[str]:
    return sorted(map(str, Path().glob(pattern))) or [pattern]


def _commands(block: re.Match[str]) -> list[Command]:
    first_lines = re.search(r"<!-- first lines: (\d+) -->", block["marks"])
    parts = re.split(r"^\$ (.*)\n", block["body"], flags=re.MULTILINE)
    return [
        Command(
            line,
            shown,
            None if first_lines is None else int(first_lines[1]),
            "<!-- rows may differ -->" in block["marks"],
        )
        for line, shown in zip(parts[1::2], parts[2::2], strict=True)
    ]


def held(output: str, *, rows_may_differ: bool = False) -> list[str]:
    """What of an output has to be the same in every run: headers of tables, and first cells of rows."""
    lines = output.splitlines()
    found = []
    for line, following in itertools.pairwise([*lines, ""]):
        cells = re.split(r"\s{2,}", line.strip())
        if re.fullmatch(r"-+(?:\s+-+)+", following.strip()):
            found.append(_without_figures(" | ".join(cells)))
        elif line[:1].isspace() or len(cells) == 1 or rows_may_differ or re.fullmatch(r"[-\s]*", line):
            continue
        elif not _BY_MACHINE.match(line):
            found.append(_without_figures(cells[0]))
    return found or [" ".join(_without_figures(output).split()[:3])]


def _without_figures(text: str) -> str:
    for pattern, instead in _VARIABLE:
        text = pattern.sub(instead, text)
    return text.strip()


def in_processes(folder: Path) -> Run:
    """Runs commands as a reader does, each in a process of its own."""
    # Neither the defaults of whoever runs this nor a model hub play a part.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLEM_")}
    environment["HF_HUB_OFFLINE"] = "1"

    def run(program: str, arguments: Sequence[str]) -> tuple[int, str]:
        start = [sys.executable, "-m", "llenergymeasure"] if program == "llem" else [sys.executable]
        print(f"  $ {program} {' '.join(arguments)}", file=sys.stderr)
        ran = subprocess.run(
            [*start, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        return ran.returncode, ran.stdout

    return run


def main() -> int:
    """Write the outputs of all pages, or of those that are named and those that they go on from, anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pages", nargs="*", help="such as my-first-study.md; all if none is named")
    named = parser.parse_args().pages
    pages = all_pages()
    wanted = {name for page in named or pages for name in (page, pages[page].goes_on_from) if name is not None}
    with tempfile.TemporaryDirectory() as top:
        for name, page in pages.items():
            if name not in wanted:
                continue
            print(name, file=sys.stderr)
            folder = Path(top) / (page.goes_on_from or name)
            folder.mkdir(exist_ok=True)
            with contextlib.chdir(folder):
                outputs = page.followed(folder, in_processes(folder))
            (PAGES / name).write_text(page.with_outputs(outputs), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
