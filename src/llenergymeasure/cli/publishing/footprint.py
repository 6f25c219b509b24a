"""``llem footprint``, and its options and lines for other commands that show results."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from tabulate import tabulate

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.config.reading.sources import footprint_terms
from llenergymeasure.domain.in_figures import NONE, number
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import Verdict, in_words
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.footprint import Footprint, FootprintTerms, energy_together_j
from llenergymeasure.results.rows.columns import FOLDER
from llenergymeasure.results.rows.table import ResultTable
from llenergymeasure.results.sharing.opening import bundle_in
from llenergymeasure.results.showing.lines import LABEL, wrapped

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PER_MILLION = 1e6
_ESTIMATED = "Footprint: not measured, but estimated from the energy of the window under terms that were stated"
_OF_A_ROW = ("name", "total_energy_j", "energy_origin", "validity", FOLDER.name)
_FIELDS = {"intensity": "intensity_g_per_kwh", "country": "country", "pue": "pue", "price": "price_per_kwh"}
_OPTIONS = (
    click.option("--intensity", type=float, help="Grams of CO2 equivalent per kWh of the electricity used."),
    click.option("--country", help="Take its yearly average, by three letters such as DEU (CodeCarbon's table)."),
    click.option("--pue", type=float, help="Energy of the whole site over that of its computers."),
    click.option("--price", help="Of a kWh, with its currency, such as 0.30EUR."),
)


def footprint_options(command: _Command) -> _Command:
    """Give a command the options that ``terms_of`` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def footprint_on_request(command: _Command) -> _Command:
    """Give a command that shows results the options that ``requested_terms`` takes."""
    asked = click.option(
        "--footprint",
        is_flag=True,
        help="Also estimate carbon and cost, under terms of the options or of the user's file; see llem footprint.",
    )
    return asked(footprint_options(command))


def requested_terms(options: dict[str, Any]) -> FootprintTerms | None:
    """The terms where carbon or cost is asked for, by the flag or by a term; None where it is not.

    The options are taken out of ``options``.

    Raises:
        ConfigError: it is asked for and neither can be worked out, or as ``terms_of``.
        ValidationError: as ``terms_of``.
    """
    asked = options.pop("footprint")
    if not asked and all(options[name] is None for name in _FIELDS):
        for name in _FIELDS:
            del options[name]
        return None
    return _stated(options)


def refuse_beside_json(terms: FootprintTerms | None) -> None:
    """JSON is a result alone.

    Raises:
        ConfigError: a footprint is asked for.
    """
    if terms is not None:
        raise ConfigError("--json has what was measured and nothing beside it; see llem footprint")


def _stated(options: dict[str, Any]) -> FootprintTerms:
    terms = terms_of(options)
    if terms is None:
        raise ConfigError("nothing to work out: give --intensity or --country for carbon, --price for cost")
    return terms


def terms_of(options: dict[str, Any]) -> FootprintTerms | None:
    """The terms that options, variables and the user's file state; None where they ask for neither carbon nor cost.

    The options are taken out of ``options``.

    Raises:
        ConfigError: they are wrong, or no table has the country.
        ValidationError: a value is wrong; notes say where.
    """
    given = {field: options.pop(name, None) for name, field in _FIELDS.items()}
    config = footprint_terms({name: value for name, value in given.items() if value is not None})
    return FootprintTerms.of(config) if config.asks_for_something else None


@click.command("footprint")
@click.argument("folders", nargs=-1, required=True, type=UserPath())
@footprint_options
def footprint_command(folders: tuple[Path, ...], **options: Any) -> int:
    """Work out what the energy of results stands for in carbon and money, under terms that you state.

    FOLDERS are those of results and studies, or archives of such. Carbon needs --intensity or --country, cost needs
    --price; defaults may stand in the user's file under footprint:, or in LLEM_FOOTPRINT__PUE and so on. Nothing is
    guessed from where this machine is, and nothing is written into results.
    """
    terms = _stated(options)
    results: list[ExperimentResult] = []
    for folder in folders:
        with bundle_in(folder) as bundle:
            results += bundle.results()
    # One that was named twice is one.
    results = list({result.experiment_id: result for result in results}.values())
    show("\n".join([*terms_lines(terms), *(line for each in results for line in ["", *footprint_lines(each, terms)])]))
    if len(results) > 1:
        show("\n".join(["", *_together_lines(results, terms)]))
    return 0


def beneath(results: Iterable[ExperimentResult], terms: FootprintTerms | None) -> str:
    """What stands beneath results where their footprint was asked for, apart from all that was measured."""
    if terms is None:
        return ""
    lines = [
        _ESTIMATED,
        *terms_lines(terms),
        *(line for each in results for line in ["", *footprint_lines(each, terms)]),
    ]
    return "\n".join(["", "", *lines])


def beneath_table(table: ResultTable, terms: FootprintTerms | None) -> str:
    """The same of a table of results, with a row for each."""
    if terms is None:
        return ""
    head = ["name", "energy (J)", *(["carbon (gCO2e)"] if terms.intensity else [])]
    head += [f"cost ({terms.price.currency})"] if terms.price else []
    rows = []
    for name, energy_j, origin, validity, folder in table.rows(_OF_A_ROW):
        of = None if energy_j is None else Footprint.of(energy_j, terms)
        figures = [of.carbon_g if of else None] if terms.intensity else []
        figures += [of.cost if of else None] if terms.price else []
        cells = [name, f"{number(energy_j)}{'' if of is None else _marked(origin, validity)}", *map(number, figures)]
        rows.append([in_a_line(cell) for cell in (*cells, folder or NONE)])
    sides = ["left", *["right"] * (len(head) - 1), "left"]
    # Of no rows tabulate has no columns to align.
    tabulated = tabulate(rows, headers=[*head, "folder"], disable_numparse=True, colalign=sides if rows else None)
    return "\n".join(["", "", _ESTIMATED, *terms_lines(terms), "", tabulated])


def terms_lines(terms: FootprintTerms) -> list[str]:
    """What is worked out with, and where it comes from."""
    pue = "not stated: energy of what was measured and of nothing beside it" if terms.pue is None else f"{terms.pue:g}"
    rows = [("PUE", pue)]
    if terms.intensity is not None:
        rows.append(("intensity", f"{terms.intensity.g_per_kwh:g} gCO2e/kWh, {terms.intensity.source}"))
    if terms.price is not None:
        rows.append(("price", f"{terms.price.amount_per_kwh:g} {terms.price.currency}/kWh, as given"))
    return [wrapped(label, in_a_line(text)) for label, text in rows]


def footprint_lines(result: ExperimentResult, terms: FootprintTerms) -> list[str]:
    """Carbon and cost of a result, each beside what speaks against citing it."""
    rows = [("result", f"{result.name} ({result.experiment_id})")]
    if result.total_energy_j is None:
        return _lines([*rows, ("energy", "none was measured, so it has neither carbon nor cost")])
    origin = f"{number(result.total_energy_j)} J over {result.duration_sec:.2f} s, {result.energy_origin}"
    rows.append(("energy", f"{origin}{_mark(result)}"))
    ends = [Footprint.of(end_j, terms) for end_j in result.energy_interval_j or ()]
    rows += _figure_rows(Footprint.of(result.total_energy_j, terms), terms, _mark(result), ends, result.output_tokens)
    if result.energy_host_j is not None:
        rows.append(("beside it", f"{number(result.energy_host_j)} J: {result.energy_host_scope}"))
        rows += _figure_rows(Footprint.of(result.energy_host_j, terms), terms, _mark(result))
    return _lines(rows)


def _figure_rows(
    of: Footprint, terms: FootprintTerms, mark: str, ends: Sequence[Footprint] = (), n_output: int = 0
) -> list[tuple[str, str]]:
    rows = []
    figures = [("carbon", "gCO2e", of.carbon_g, [end.carbon_g for end in ends])]
    figures += [("cost", terms.price.currency, of.cost, [end.cost for end in ends])] if terms.price else []
    for label, unit, value, open_to in figures:
        if value is None:
            continue
        between = f" ({number(open_to[0])} to {number(open_to[-1])})" if open_to else ""
        each = f", {number(value / n_output * _PER_MILLION)} {unit} per million output tokens" if n_output else ""
        rows.append((label, f"{number(value)} {unit}{between}{each}{mark}"))
    return rows


def _together_lines(results: Sequence[ExperimentResult], terms: FootprintTerms) -> list[str]:
    energy_j = energy_together_j(results)
    label = f"all {len(results)}"
    if energy_j is None:
        return _lines([(label, "not added up: not all have energy of the same kind, or that covers the same")])
    marks = list(dict.fromkeys(mark for result in results if (mark := _mark(result))))
    mark = (
        " (of some: not citable)"
        if any("not citable" in each for each in marks)
        else " (of some: questionable)"
        if marks
        else ""
    )
    text = f"{number(energy_j)} J in their windows; loading, warm-up and idling are in none of them{mark}"
    return _lines([(label, text), *_figure_rows(Footprint.of(energy_j, terms), terms, mark)])


def _mark(result: ExperimentResult) -> str:
    return _marked(result.energy_origin, result.validity)


def _marked(energy_origin: str, validity: Verdict) -> str:
    """What has to be known of a figure that joules are in."""
    said = ["modelled"] if "modelled" in energy_origin else []
    said += [in_words(validity)] if validity != "citable" else []
    return f" ({', '.join(said)})" if said else ""


def _lines(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{in_a_line(label):<{LABEL}}{in_a_line(text) or NONE}" for label, text in rows]
