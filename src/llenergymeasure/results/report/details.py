"""What a report says of single runs: their course over time, the machine they were on, how to cite and repeat them."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.summary import SummaryRow
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.persistence import load_result
from llenergymeasure.results.reading import OnSkipped, Skipped
from llenergymeasure.results.report.courses import course_of
from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.report.table import label_of
from llenergymeasure.results.rows import shown as of_runs
from llenergymeasure.results.rows.columns import FOLDER
from llenergymeasure.results.rows.settings import flat_settings
from llenergymeasure.results.rows.table import ResultTable
from llenergymeasure.results.sharing.citing import bibtex, methods_of_one
from llenergymeasure.results.study.directory import STUDY_FILE
from llenergymeasure.results.study.rows import SlotRow
from llenergymeasure.results.study.shown import markdown

# Of more runs than these nothing is read but what the table needs.
MOST_READ = 500
_MOST_COURSES = 40
# Longer tables nobody pastes into a paper.
_MOST_IN_TEXT = 500
_TOO_LONG = "% the table has {n} rows; llem results {named} --format latex -o table.tex writes it\n"


def read(gathered: Gathered, on_skipped: OnSkipped) -> dict[int, ExperimentResult]:
    """The results of runs by their slots, of many those of the first repeats."""
    found: dict[int, ExperimentResult] = {}
    for _, run in gathered.in_turns(MOST_READ):
        folder = gathered.folder_of(run)
        if folder is None:
            continue
        try:
            found[run.slot] = load_result(folder)
        except ConfigError as error:
            on_skipped(Skipped(folder, str(error), damaged=True))
    return found


def courses(gathered: Gathered, results: Mapping[int, ExperimentResult]) -> dict[str, Any]:
    """The courses of runs, and how many more there are."""
    chosen = [(row, run) for row, run in gathered.in_turns(MOST_READ) if run.slot in results][:_MOST_COURSES]
    chosen.sort(key=lambda each: (each[0].number, each[1].slot))
    return {
        "runs": [_course(gathered, row, run, results[run.slot]) for row, run in chosen],
        "n_more": len(gathered.runs) - len(chosen),
    }


def _course(gathered: Gathered, row: SummaryRow, run: SlotRow, result: ExperimentResult) -> dict[str, Any]:
    folder = gathered.folder_of(run) or Path()
    return {
        "row": row.number,
        "label": f"#{row.number}, run {run.slot} ({label_of(row)})",
        "validity": result.validity,
        "warnings": list(result.measurement_warnings),
        "course": course_of(result, folder),
    }


def environments(results: Iterable[ExperimentResult]) -> list[dict[str, Any]]:
    """Each machine with its software once, with the number of runs that were on it."""
    known: dict[str, tuple[EnvironmentSnapshot, int]] = {}
    for result in results:
        snapshot = result.environment_snapshot
        key = repr(_facts(snapshot))
        known[key] = (snapshot, known.get(key, (snapshot, 0))[1] + 1)
    return [
        {"n": n, "facts": _facts(snapshot), "packages": sorted(snapshot.packages.items())}
        for snapshot, n in known.values()
    ]


def _facts(snapshot: EnvironmentSnapshot) -> list[list[str]]:
    memory = None if snapshot.memory_total_mb is None else f"{snapshot.memory_total_mb / 1000:.0f} GB"
    facts = [
        ("processor", snapshot.cpu_model), ("CPUs", snapshot.n_cpus), ("memory", memory),
        ("driver", snapshot.driver_version), ("CUDA", snapshot.cuda_version), ("platform", snapshot.platform),
        ("Python", snapshot.python_version), ("llem", snapshot.tool_version or None),
    ]  # fmt: skip
    facts += [("host", snapshot.host)] if snapshot.host else []
    facts += [(f"GPU {gpu.index}", _of_a_gpu(asdict(gpu))) for gpu in snapshot.gpus]
    facts += [(f"engine: {name}", value) for name, value in snapshot.engine.items()]
    return [[label, "unknown" if value is None else str(value)] for label, value in facts]


def _of_a_gpu(gpu: Mapping[str, Any]) -> str:
    """What lasts of a GPU, and not what was on it at that time."""
    told = {
        "memory": None if gpu["memory_total_mb"] is None else f"{gpu['memory_total_mb'] / 1000:.0f} GB",
        "power limit": None if gpu["power_limit_w"] is None else f"{gpu['power_limit_w']:g} W",
        "persistence": {True: "on", False: "off", None: None}[gpu["persistence_mode"]],
        "MIG": {True: "on", False: "off", None: None}[gpu["mig_mode"]],
    }
    return ", ".join([gpu["name"], gpu["uuid"], *(f"{name} {value}" for name, value in told.items() if value)])


def settings_of(gathered: Gathered) -> dict[str, Any]:
    """The settings that all configurations have alike, those that are not set left out, and the names of the others."""
    flat = [flat_settings(each.values) for each in gathered.plan.compared]
    differing = set(gathered.summary.rows[0].settings)
    alike = [[name, value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]]
             for name, value in flat[0].items() if name not in differing and value is not None]  # fmt: skip
    return {"alike": alike, "differing": sorted(differing)}


def texts_of(gathered: Gathered, results: Iterable[ExperimentResult]) -> dict[str, str]:
    """What is copied: the table of configurations in Markdown, that of runs in LaTeX, BibTeX, and commands."""
    named = " ".join(shlex.quote(str(path)) for path in gathered.given)
    n = len(gathered.runs)
    texts = {"bibtex": bibtex({str(run.values["tool_version"] or "") for _, run in gathered.runs})}
    if n <= _MOST_IN_TEXT:
        table = ResultTable(gathered.as_table())
        names = [name for name in table.usual_columns() if name != FOLDER.name]
        texts["markdown"] = markdown(gathered.summary)
        texts["latex"] = of_runs.latex(table, names)
    else:
        texts["markdown"] = f"The table has {len(gathered.summary.rows)} rows; they are in summary.md of the study.\n"
        texts["latex"] = _TOO_LONG.format(n=n, named=named)
    one = next(iter(results), None) if n == 1 else None
    texts["methods"] = "" if one is None else methods_of_one(one)
    texts["command"] = _command(gathered)
    texts["report"] = f"llem report {named}"
    return texts


def _command(gathered: Gathered) -> str:
    """What measures the same again: of a study its file, of anything else its first configuration as a file."""
    given = gathered.given[0]
    if gathered.is_planned and given.is_dir():
        return f"llem run {shlex.quote(str(given / STUDY_FILE))}"
    values = {name: value for name, value in gathered.plan.configurations[0].values.items()
              if name not in ("output_dir", "execution") and value is not None}  # fmt: skip
    written = yaml.safe_dump(values, sort_keys=False, allow_unicode=False)
    return f"cat > experiment.yaml <<'END'\n{written}END\nllem run experiment.yaml"
