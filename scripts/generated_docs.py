"""Write the pages of docs/ that come from the code, or check that they are in step with it."""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from completion_words import words
from llenergymeasure.cli import cli
from llenergymeasure.cli.completing.words import WORDS
from llenergymeasure.config.decoder import DECODER_PRESETS
from llenergymeasure.config.engines import registry
from llenergymeasure.config.introspection import (
    engine_support,
    experiment_schema,
    field_constraints,
    field_defaults,
    field_descriptions,
    field_kinds,
)
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.backends.unproven import NOT_YET_RUN
from llenergymeasure.domain.meaning.base import Meaning
from llenergymeasure.domain.meaning.fields import FIELDS
from llenergymeasure.domain.meaning.schema import classes_in, classes_of, places_of, result_schema
from llenergymeasure.domain.warnings import FLAGS, in_words

DOCS = Path(__file__).parent.parent / "docs"
CLI_HEAD = """# Command line

Written from the program's own help by `make docs`; do not edit.

Results go to stdout, status lines and progress to stderr. Exit codes: 0 done; 1 an experiment failed, or the
machine lacks something, or a result, table or CSV could not be written where it belongs; 2 the configuration or the
usage is wrong; 130 interrupted; 128 and its number for another signal (143 for SIGTERM). The last line on stderr then
says what was kept.
"""
PARAMETERS_HEAD = """# Fields of an experiment

Written from the configuration models by `make docs`; do not edit.

In YAML a dot is a section: `warmup.n_warmup` is `warmup: {n_warmup: 3}`. On the command line any field is
`--set warmup.n_warmup=3`, in the environment `LLEM_WARMUP__N_WARMUP=3`, in the user's file it stands under
`measurement:`. Who wins: command line, environment, experiment file, user's file, built-in; `llem config --verbose`
shows each default and where it comes from.

An editor completes and checks the YAML of an experiment when its first line is
`# yaml-language-server: $schema=PATH/experiment.schema.json`. The schema lies [beside this
page](experiment.schema.json), and `llem config --schema` prints it.

A field that is set but changes nothing, such as a temperature without sampling, is a warning in the result.

Results are published, so they have names in the place of what is nobody's business:

- A path under the home directory is kept, hashed and shown as `~/...`, however it is given; `~` is understood wherever
  a path is read. In mappings that are handed on, such as `passthrough_kwargs`, paths are what stands under keys that
  end in `path`, `dir`, `directory`, `folder`, `file`, `model`, `tokenizer`, `adapter` or `checkpoint`; any other text
  stays as it is.
- A secret is named by a variable, such as `${HF_TOKEN}`, in any text. The name is kept and hashed; the value is put in
  place only where it is used, and is not in results, logs or messages. One that is written out, under a key such as
  `token`, `api_key` or `password`, in a URL or behind `Authorization:`, is refused. Other variables may be named
  too, such as `model: ${MODELS}/llama`.

Each engine's own fields are on a page of their own: {engines}.

## Shared by all engines

"""
SHARED_TABLE = """| field | default | allowed | engines | what it does |
|---|---|---|---|---|
"""
ENGINE_TABLE = """| field | default | allowed | what it does |
|---|---|---|---|
"""
UNPROVEN = f"*{NOT_YET_RUN.capitalize()}: the engine was tested against a recorded shape of its library's API.*\n\n"
ENGINE_HEAD = """# Fields of {name}

Written from the configuration models by `make docs`; do not edit. [Fields of all engines, and how to give
one](../parameters.md).

"""
# What an engine's maker calls it.
PROPER_NAMES = {
    "pytorch": "PyTorch",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "tensorrt": "TensorRT-LLM",
    "llamacpp": "llama.cpp",
    "ctranslate2": "CTranslate2",
    "onnxruntime": "ONNX Runtime GenAI",
    "server": "Servers",
}
# A flag's heading on the page about troubleshooting, and the paragraph below it, which comes from the code.
FLAG_HEADING = re.compile(r"^### `(\w+)`\n\n.*?\n\n", re.MULTILINE | re.DOTALL)
WHAT_FOLLOWS = {
    "citable": "The energy may be cited.",
    "questionable": "The energy is questionable.",
    "not_citable": "The energy is not citable.",
}
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
    """A row per field that all engines share; and what the presets stand for."""
    engines = ", ".join(f"[{PROPER_NAMES[name]}](parameters/{name}.md)" for name in registry.own_sections())
    parts = [PARAMETERS_HEAD.replace("{engines}", engines), SHARED_TABLE]
    parts += [
        _row(name, engines=True) for name in field_descriptions() if name.split(".")[0] not in registry.own_sections()
    ]
    parts.append("\n## Decoder presets\n\nA field that is given wins over the preset.\n\n")
    parts.append("| preset | stands for |\n|---|---|\n")
    parts += [
        f"| `{name}` | {', '.join(f'`{k}: {_plain(v)}`' for k, v in p.items())} |\n"
        for name, p in DECODER_PRESETS.items()
    ]
    return "".join(parts)


def engine_page(engine: str, section: type[BaseModel]) -> str:
    """A row per field of an engine's own."""
    parts = [ENGINE_HEAD.replace("{name}", PROPER_NAMES[engine])]
    if not get_backend(engine).hardware_proven:
        parts.append(UNPROVEN)
    # The first paragraph describes the class to programmers, as its name does.
    parts += [f"{_unwrapped(p)}\n\n" for p in (inspect.getdoc(section) or "").split("\n\n")[1:]]
    parts.append("`null` leaves the choice to the engine.\n\n" + ENGINE_TABLE)
    parts += [_row(name) for name in field_descriptions() if name.startswith(f"{engine}.")]
    return "".join(parts)


def metrics_page() -> str:
    """The page as it is, with the tables of fields and of flags of warnings."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = [
        f"| [`{flag}`](troubleshooting.md#{flag}) | {known.when} | {in_words(known.verdict)} |\n"
        for flag, known in FLAGS.items()
    ]
    flags = "| flag | when | the energy is at best |\n|---|---|---|\n" + "".join(rows)
    return _with_part(_with_part(page, "fields", _tables_of_fields()), "flags", flags)


def troubleshooting_page() -> str:
    """The page as it is, with when each flag is raised and what follows from it; every flag has to be there once."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    flags = FLAG_HEADING.findall(page)
    wrong = sorted({flag for flag in [*flags, *FLAGS] if flags.count(flag) != 1 or flag not in FLAGS})
    if wrong:
        raise SystemExit(f"docs/troubleshooting.md needs a heading for each flag, once: {', '.join(wrong)}")
    return FLAG_HEADING.sub(lambda heading: _about_a_flag(heading[1]), page)


def _about_a_flag(flag: str) -> str:
    known = FLAGS[flag]
    return f"### `{flag}`\n\n*{WHAT_FOLLOWS[known.verdict]}* {known.when[0].upper()}{known.when[1:]}.\n\n"


def _with_part(page: str, name: str, text: str) -> str:
    """A page with a text between the marks of a name."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, _, after = page.partition(start)
    return f"{before}{start}{text}{end}{after.partition(end)[2]}"


def _tables_of_fields() -> str:
    """A table of the result's own fields, then one of each block that is in it."""
    schema = result_schema()
    classes, places = classes_of(schema), places_of(schema)
    parts = []
    for kind, fields in FIELDS.items():
        if kind in places:
            parts.append(f"\n### {kind}\n\nAt {', '.join(f'`{place}`' for place in places[kind])}.\n\n")
        parts.append("| field | unit | is | worked out as (definition) |\n|---|---|---|---|\n")
        for name, meaning in fields.items():
            inner = dict.fromkeys(classes_in(classes[kind]["properties"][name]))
            parts.append(_row_of_a_field(name, meaning, inner))
    return "".join(parts)


def _row_of_a_field(name: str, meaning: Meaning, inner: Iterable[str]) -> str:
    blocks = "".join(f" [{kind}](#{kind.lower()})" for kind in inner)
    formula = "" if meaning.formula is None else f"{meaning.formula.text} ({meaning.formula.version})"
    return f"| `{name}` | {meaning.unit} | {meaning.text}{blocks} | {formula} |\n"


def schema_page() -> str:
    """The JSON schema of an experiment, for editors."""
    return json.dumps(experiment_schema(), indent=1) + "\n"


def result_schema_page() -> str:
    """The JSON schema of ``result.json``."""
    return json.dumps(result_schema(), indent=1) + "\n"


def _row(name: str, *, engines: bool = False) -> str:
    defaults = field_defaults()
    cells = [
        f"`{name}`",
        _code(defaults[name]) if name in defaults else "required",
        _allowed(name),
    ]
    if engines:
        cells.append(", ".join(engine_support()[name] or ("all",)))
    return f"| {' | '.join([*cells, field_descriptions()[name]])} |\n"


def _unwrapped(paragraph: str) -> str:
    return " ".join(paragraph.replace("``", "`").split())


def _allowed(name: str) -> str:
    rules = field_constraints()[name]
    parts = [_code(choice) for choice in rules.pop("choices", [])]
    parts += [*field_kinds()[name], *(f"{SIGNS[rule]} {bound}" for rule, bound in rules.items())]
    return ", ".join(parts)


def _code(value: Any) -> str:
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


def pages() -> Mapping[str, Callable[[], str]]:
    """What writes each page, by its place in docs/."""
    return {
        "cli.md": cli_page,
        "parameters.md": parameters_page,
        **{
            f"parameters/{engine}.md": partial(engine_page, engine, section)
            for engine, section in registry.own_sections().items()
        },
        "experiment.schema.json": schema_page,
        "result.schema.json": result_schema_page,
        "metrics.md": metrics_page,
        "troubleshooting.md": troubleshooting_page,
        # Not a page, and made of the commands as they are.
        str(WORDS): words,
    }


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a page is not in step")
    check = parser.parse_args().check
    stale = []
    for name, page in pages().items():
        path, text = DOCS / name, page()
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"not in step with the code: {', '.join(stale)}; run: make docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
