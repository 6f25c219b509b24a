"""Write docs/cli.md and docs/parameters.md from the code, or check that they are in step."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import cli
from llenergymeasure.config.decoder import DECODER_PRESETS
from llenergymeasure.config.introspection import (
    engine_support,
    field_constraints,
    field_defaults,
    field_descriptions,
)

DOCS = Path(__file__).parent.parent / "docs"
CLI_HEAD = """# Command line

Written from the program's own help by `make docs`; do not edit.

Results go to stdout, status lines and progress to stderr. Exit codes: 0 done; 1 an experiment failed, or the
machine lacks something; 2 the configuration or the usage is wrong; 130 interrupted.
"""
PARAMETERS_HEAD = """# Fields of an experiment

Written from the configuration models by `make docs`; do not edit.

In YAML a dot is a section: `warmup.n_warmup` is `warmup: {n_warmup: 3}`. On the command line any field is
`--set warmup.n_warmup=3`. `llem config --schema` prints the same as JSON schema; an editor that knows the line
`# yaml-language-server: $schema=experiment.schema.json` completes from it.

| field | default | allowed | engines | what it does |
|---|---|---|---|---|
"""
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >=", "max_length": "length <="}


def cli_page() -> str:
    """The help of every command."""
    parent = click.Context(cli, info_name="llem", help_option_names=["-h", "--help"], terminal_width=100)
    sections = [CLI_HEAD, _section("llem", cli.get_help(parent))]
    for name in cli.list_commands(parent):
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, terminal_width=100)
        sections.append(_section(f"llem {name}", command.get_help(context)))
    return "\n".join(sections)


def parameters_page() -> str:
    """A row per field, and what the presets stand for."""
    constraints, defaults, engines = field_constraints(), field_defaults(), engine_support()
    rows = []
    for name, description in field_descriptions().items():
        default = _code(defaults[name]) if name in defaults else "required"
        read_by = ", ".join(engines[name] or ("all",))
        rows.append(f"| `{name}` | {default} | {_allowed(constraints[name])} | {read_by} | {description} |")
    presets = [
        f"| `{name}` | {', '.join(f'`{k}: {_plain(v)}`' for k, v in p.items())} |"
        for name, p in DECODER_PRESETS.items()
    ]
    head = "\n## Decoder presets\n\nA field that is given wins over the preset.\n\n| preset | stands for |\n|---|---|\n"
    return PARAMETERS_HEAD + "\n".join(rows) + "\n" + head + "\n".join(presets) + "\n"


def _allowed(rules: dict[str, Any]) -> str:
    if "choices" in rules:
        return ", ".join(_code(choice) for choice in rules["choices"])
    return ", ".join(f"{SIGNS[rule]} {bound}" for rule, bound in rules.items())


def _code(value: Any) -> str:
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a page is not in step")
    check = parser.parse_args().check
    stale = []
    for name, page in (("cli.md", cli_page()), ("parameters.md", parameters_page())):
        path = DOCS / name
        if not check:
            path.write_text(page, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != page:
            stale.append(name)
    if stale:
        print(f"not in step with the code: {', '.join(stale)}; run: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
