"""The how-tos, followed as a reader would: every command runs, and prints the rows that the page shows."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scripts.how_tos import Command, Page, all_pages, held
from tests.fakes.command import Ran

PAGES = all_pages()
# Blocks that take the internet, other engines or another machine; each says so above it.
NOT_RUN = {
    "a-table-for-a-paper.md": 0,
    "choose-a-batch-size.md": 1,
    "choose-an-engine.md": 3,
    "my-first-study.md": 2,
    "on-a-laptop.md": 2,
    "without-internet.md": 3,
}


def repeats(arguments: Sequence[str]) -> bool:
    """Whether several runs of a configuration are measured, each of which takes a process of its own."""
    files = [Path(word) for word in arguments if word.endswith(".yaml")]
    return "--dry-run" not in arguments and any("cycles:" in file.read_text(encoding="utf-8") for file in files)


class Reader:
    """Follows pages, each once, and each that another one goes on from before it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._printed: dict[str, list[str]] = {}

    def follow(self, page: Page, llem: Callable[..., Ran]) -> list[str]:
        """What the commands of a page print."""

        def run(program: str, arguments: Sequence[str]) -> tuple[int, str]:
            if program == "llem":
                with pytest.MonkeyPatch.context() as patch:
                    if repeats(arguments):
                        patch.delenv("LLEM_EXECUTION__LAUNCHER", raising=False)
                    ran = llem(*arguments)
                return ran.code, ran.out if ran.code == 0 else ran.out + ran.err
            python = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
            return python.returncode, python.stdout if python.returncode == 0 else python.stdout + python.stderr

        if page.name not in self._printed:
            if page.goes_on_from is not None:
                self.follow(PAGES[page.goes_on_from], llem)
            folder = self.top / (page.goes_on_from or page.name)
            folder.mkdir(exist_ok=True)
            with contextlib.chdir(folder):
                self._printed[page.name] = page.followed(folder, run)
        return self._printed[page.name]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(tmp_path_factory.mktemp("how-to"))


# The study of the first page is measured for minutes, and beside other tests other remarks stand beneath its table.
STUDY = "my-first-study.md"
FOLLOWED = [
    pytest.param(name, marks=[pytest.mark.slow] if STUDY in (name, page.goes_on_from) else [])
    for name, page in PAGES.items()
]


@pytest.mark.parametrize("name", FOLLOWED)
def test_every_command_of_the_page_runs_and_prints_what_it_shows(
    name: str, reader: Reader, plain_llem: Callable[..., Ran]
) -> None:
    page = PAGES[name]
    printed = reader.follow(page, plain_llem)
    assert len(printed) == len(page.commands) > 0
    for command, output in zip(page.commands, printed, strict=True):
        shown = held(command.shown, rows_may_differ=command.rows_may_differ)
        seen = held(output, rows_may_differ=command.rows_may_differ)
        assert seen == shown, f"{command.line} prints other rows than {name} shows; run: make how-tos\n{output}"


def test_what_no_test_runs_says_so_and_is_counted() -> None:
    assert {name: len(page.not_run) for name, page in PAGES.items()} == NOT_RUN


def test_a_page_is_written_anew_with_what_commands_print(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "`a.yaml`\n\n```yaml\nn: 1\n```\n\n"
        "<!-- first lines: 2 -->\n```console\n$ llem show a\nold\n$ llem show b\n```\n\n"
        "*Not run by the tests: needs a GPU.*\n\n```console\n$ llem calibrate\nas it was\n```\n",
        encoding="utf-8",
    )
    page = Page.read(path)
    seen = []

    def run(program: str, arguments: Sequence[str]) -> tuple[int, str]:
        seen.append((program, list(arguments), (tmp_path / "a.yaml").read_text(encoding="utf-8")))
        return 0, "one\ntwo\nthree\n"

    outputs = page.followed(tmp_path, run)
    assert seen == [("llem", ["show", "a"], "n: 1\n"), ("llem", ["show", "b"], "n: 1\n")]
    text = page.with_outputs(outputs)
    assert "$ llem show a\none\ntwo\n...\n$ llem show b\none\ntwo\n...\n```" in text
    assert "$ llem calibrate\nas it was\n```" in text
    assert "old" not in text
    assert page.not_run == ("needs a GPU",)


def test_a_command_that_fails_is_told_with_its_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```console\n$ llem show nothing\n```\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"page\.md: exit code 2 of: llem show nothing"):
        Page.read(path).followed(tmp_path, lambda program, arguments: (2, "no such folder"))


def test_patterns_stand_for_files_unless_they_are_in_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b_2", "b_1"):
        (tmp_path / name).touch()
    line = "llem compare b_* 'b_*' \"n >= 2\" c_*"
    assert Command(line, "").words == ("llem", ["compare", "b_1", "b_2", "b_*", "n >= 2", "c_*"])


def test_other_programs_are_not_run() -> None:
    with pytest.raises(ValueError, match="rm -r"):
        _ = Command("rm -r results", "").words


SHOWN = """\
environment           AMD EPYC, 2 CPUs, no GPU
latency TTFT          mean 3.986 s of 16 values
energy, raw           124.6 J, modelled
warnings              energy_modelled: no sensor was read;
                      measure elsewhere

#  batch_size  J/out tok          notes
-  ----------  -----------------  -----
1  1           0.5 +- 0.1 (n=3)   1
2  8           0.2 (0.1 to 0.3)   1 2
1: the energy is not citable
"""


def test_figures_and_what_follows_from_the_machine_may_differ() -> None:
    other = SHOWN.replace("AMD EPYC, 2", "Intel, 64").replace("3.986", "0.2").replace("0.5 +- 0.1", "0.51 +- 0.14")
    assert held(other) == held(SHOWN)
    assert held(SHOWN) == ["environment", "latency TTFT", "# | batch_size | J/out tok | notes", "0", "0"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("latency TTFT", "latency first"), ("J/out tok ", "J/token   "), ("2  8           0.2 (0.1 to 0.3)   1 2\n", "")],
)
def test_other_rows_and_other_headers_are_seen(old: str, new: str) -> None:
    assert held(SHOWN.replace(old, new)) != held(SHOWN)


def test_of_prose_the_first_words_are_held() -> None:
    assert held("@software{llem2026,\n") == held("@software{llem2027,\n")
    assert held("Energy was measured with") != held("Energy could not be")
    assert held("") == held("") != held("Energy")
