"""``llem compare``."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli import render, render_comparison
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show, tell
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.comparing.comparison import Comparison, compare
from llenergymeasure.results.comparing.limits import Limit, exit_code, held_to
from llenergymeasure.results.comparing.reading import read_groups
from llenergymeasure.results.comparing.written import as_written
from llenergymeasure.results.differences import differing_settings
from llenergymeasure.results.equality import why_they_may_differ
from llenergymeasure.results.outputs import compare_runs

_TWO = 2


@click.command("compare")
@click.argument("named", metavar="A B [C ...]", nargs=-1, required=True, type=UserPath())
@click.option(
    "--fail-if",
    "limits",
    metavar="LIMIT",
    multiple=True,
    help="Exit 1 when the whole interval of a ratio lies beyond a limit, such as "
    '"energy_per_output_token_j > +2%"; may be given several times.',
)
@click.option(
    "--strict",
    is_flag=True,
    help="Exit 1 also where a limit lies inside the interval or there is none, or one on energy rests on what is not "
    "citable.",
)
@click.option(
    "--margin",
    metavar="PCT",
    type=float,
    default=1.0,
    show_default=True,
    help="What is too little to matter, in percent.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Compare also what different sensors read, what covers other things, or what was worked out otherwise.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown, for an issue or a paper.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every metric.")
def compare_command(
    named: Sequence[Path],
    *,
    limits: Sequence[str],
    strict: bool,
    margin: float,
    anyway: bool,
    markdown: bool,
    as_json: bool,
) -> int:
    """Show by how much results differ, whether that is more than chance, and whether they said the same.

    Each of A, B, C, ... is a group of repeats: a result (the folder of a run, its result.json, or an experiment of a
    study, such as STUDY/runs/0005-HASH, of which the newest attempt counts), a study, a folder of results, or a pattern
    in quotes, such as 'results/fp32_*'. All are held against A. What lies under one name and has several configurations
    is a group for each of them. An interval takes three runs. Of two single runs the tokens are compared too.
    """
    wanted = [Limit.of(text) for text in limits]
    read = read_groups(named)
    for each in read.left_out:
        tell(f"llem: left out: {each}")
    found = compare(read.groups, margin=margin / 100, anyway=anyway)
    outcomes = held_to(found, wanted)
    if as_json:
        show(json.dumps(as_written(found, outcomes), indent=2, allow_nan=False), is_json=True)
    else:
        show(_text(found, markdown))
    for outcome in outcomes:
        if outcome.state != "kept":
            tell(in_a_line(f"llem: {outcome.line}"))
        if strict and outcome.not_citable is not None:
            tell(in_a_line(f"llem: {outcome.limit.written}: {outcome.not_citable}; --strict takes that for a failure"))
    return exit_code(outcomes, strict=strict)


def _text(found: Comparison, markdown: bool) -> str:
    """The table; below it, of two single runs, what their tokens say."""
    is_of_two_runs = len(found.groups) == _TWO and all(len(group.runs) == 1 for group in found.groups)
    if markdown or not is_of_two_runs:
        return render_comparison.comparison(found, markdown=markdown)
    first, second = (group.results[0] for group in found.groups)
    settings = differing_settings(first, second)
    try:
        outputs = compare_runs(first, second)
        why = why_they_may_differ(first, second, outputs)
        tokens = render.comparison(outputs, settings, (first.validity, second.validity), why)
    except ConfigError as error:
        tokens = render.not_compared(settings, str(error))
    return f"{render_comparison.comparison(found, with_settings=False)}\n\n{tokens}"
