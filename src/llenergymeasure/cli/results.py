"""``llem results``."""

from pathlib import Path
from typing import Any

import click

from llenergymeasure._files import write_atomically, written_atomically
from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.publishing.footprint import beneath_table, footprint_on_request, requested_terms
from llenergymeasure.cli.streams import show, tell
from llenergymeasure.domain.result import SCHEMA_REVISION
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.reading import Skipped
from llenergymeasure.results.rows import shown
from llenergymeasure.results.rows.columns import FOLDER
from llenergymeasure.results.rows.conditions import Condition
from llenergymeasure.results.rows.frames import as_arrow, as_csv, as_json
from llenergymeasure.results.rows.table import ResultTable
from llenergymeasure.results.sharing.opening import rows_within

_FOR_PEOPLE = {"text": shown.text, "markdown": shown.markdown, "latex": shown.latex}
_FOR_PROGRAMS = {"csv": as_csv, "json": as_json}
_PARQUET = "parquet"


@click.command("results")
@click.argument("paths", nargs=-1, required=True, type=UserPath(), metavar="DIR...")
@click.option("--sort", "sort", multiple=True, metavar="NAME", help="Sort by a column; -NAME from the largest. Repeat.")
@click.option("--where", "where", multiple=True, metavar="CONDITION", help="Only rows such as backend=vllm. Repeat.")
@click.option("--columns", metavar="A,B,C", help="These columns only, and settings by their dotted names.")
@click.option(
    "--format",
    "form",
    type=click.Choice([*_FOR_PEOPLE, *_FOR_PROGRAMS, _PARQUET]),
    default="text",
    show_default=True,
    help="csv, json and parquet have all columns and exact values.",
)
@click.option("-o", "--output", type=UserPath(), help="Write to this new file in the place of stdout.")
@footprint_on_request
def results_command(
    paths: tuple[Path, ...], sort: tuple[str, ...], where: tuple[str, ...], columns: str | None, form: str,
    output: Path | None, **options: Any,
) -> int:  # fmt: skip
    """Put saved results into a table: a row for each, with a column for every setting that differs.

    DIR is a folder of a run or a study, finished or not, a folder with such in it, a result.json, an archive of llem
    pack, or a pattern in quotes; each result counts once, in an archive and in its folder too. Conditions are
    NAME=VALUE, or with !=, <, >, <=, >=; null is not set. Names of columns are those of --format csv.

    What cannot be used is listed on stderr with its reason. Exit code 1 where that is a result that is damaged, and 0
    where it is an experiment that gave none.
    """
    _check(form, output)
    terms = requested_terms(options)
    if terms is not None and form != "text":
        raise config_error(f"--format {form} has what was measured and nothing beside it; see llem footprint")
    conditions = [Condition.of(each) for each in where]
    skipped: list[Skipped] = []
    with rows_within(paths, skipped.append) as rows:
        table = ResultTable(rows, lambda value: all(each.holds(value(each.name)) for each in conditions))
    for condition in conditions:
        table.check_condition(condition.name)
    table.sort(sort)
    names = _names(table, columns, form)
    _hand_out(table, names, form, output, beneath_table(table, terms))
    _tell(table, skipped)
    return int(any(each.damaged for each in skipped))


def _check(form: str, output: Path | None) -> None:
    if output is None:
        if form == _PARQUET:
            raise config_error("--format parquet: this is no text; give a file with -o FILE")
        return
    if output.exists():
        raise config_error(f"-o {output}: this exists and is not overwritten; name another file")


def _names(table: ResultTable, columns: str | None, form: str) -> list[str]:
    if columns is None:
        # Papers have no folders.
        usual = [name for name in table.usual_columns() if form != "latex" or name != FOLDER.name]
        return usual if form in _FOR_PEOPLE else table.all_columns()
    names = list(dict.fromkeys(filter(None, (name.strip() for name in columns.split(",")))))
    if not names:
        raise config_error(f"--columns {columns!r}: names no column")
    for name in names:
        table.check(name)
    return names


def _hand_out(table: ResultTable, names: list[str], form: str, output: Path | None, beneath: str) -> None:
    if form == _PARQUET and output is not None:
        import pyarrow.parquet as pq

        arrow: Any = as_arrow(table, names)
        with written_atomically(output) as aside:
            pq.write_table(arrow, aside)
        return
    text = {**_FOR_PEOPLE, **_FOR_PROGRAMS}[form](table, names) + beneath
    if output is None:
        # A carriage return would be shown as a control character.
        show(text.replace("\r\n", "\n").rstrip("\n"), is_json=form == "json")
    else:
        write_atomically(output, text if text.endswith("\n") else f"{text}\n")


def _of_one_experiment(table: ResultTable) -> dict[str, list[str]]:
    """The folders of the results that have an experiment's id together."""
    found: dict[str, list[str]] = {}
    for name, folder in zip(table.values("experiment_id"), table.values(FOLDER.name), strict=True):
        found.setdefault(name, []).append(folder or ".")
    return {name: folders for name, folders in found.items() if len(folders) > 1}


def _tell(table: ResultTable, skipped: list[Skipped]) -> None:
    for each in skipped:
        tell(f"llem: passed over: {each}")
    for folders in _of_one_experiment(table).values():
        # Such as one before and after the log of a meter was attached.
        named = in_a_line(", ".join(folders))
        tell(f"llem: caution: {len(folders)} different results have the same experiment id, and all are shown: {named}")
    n_newer = sum(revision > SCHEMA_REVISION for revision in table.values("schema_revision"))
    if n_newer:
        tell(
            f"llem: {n_newer} results are of a later revision than {SCHEMA_REVISION}, the last that is known here; "
            "what it does not know of them is left out"
        )
