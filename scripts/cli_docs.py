"""Write docs/cli.md from the command line's own help, or check that it is in step."""

import argparse
import sys
from pathlib import Path

import click

from llenergymeasure.cli import cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """# Command line

Written from the program's own help by `make docs`; do not edit.

Results go to stdout, status lines and progress to stderr. Exit codes: 0 done; 1 an experiment failed, or the
machine lacks something; 2 the configuration or the usage is wrong; 130 interrupted.
"""


def page() -> str:
    """The page as it should be."""
    parent = click.Context(cli, info_name="llem", help_option_names=["-h", "--help"], terminal_width=100)
    sections = [HEAD, _section("llem", cli.get_help(parent))]
    for name in cli.list_commands(parent):
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        sections.append(_section(f"llem {name}", command.get_help(context)))
    return "\n".join(sections)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is not in step")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE} is not in step with the command line; run: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
