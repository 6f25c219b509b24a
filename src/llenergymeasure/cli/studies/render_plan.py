"""What a study would run: a line for each configuration, and what all of it would take."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure._telling import in_a_line, told_values
from llenergymeasure.config.execution import SENTINEL
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.config.sweep.left_out import counted
from llenergymeasure.domain.in_figures import NONE, duration
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit
from llenergymeasure.results.ratios import detectable_factor
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import differing, flat_settings, following_from_engine, shortened, telling
from llenergymeasure.results.showing import tables
from llenergymeasure.results.statistics import LEAST_RUNS

_NOT_SHOWN = frozenset({"output_dir"})


@dataclass(frozen=True, kw_only=True)
class PlannedStudy:
    """What a dry run of a study found.

    ``took_s`` is how long a run of a configuration took before, by its hash; ``disk_bytes`` what all write at most.
    """

    given: StudyConfig
    plan: StudyPlan
    examined: Sequence[ExaminedExperiment]
    notes: Sequence[Sequence[str]]
    took_s: Mapping[str, float]
    disk_bytes: float
    output_dir: Path | None
    n_workers: int = 1


def study_plan(found: PlannedStudy) -> str:
    """The lines; cautions stand beneath, each once, by number."""
    plan = found.plan
    settings = [flat_settings(told_values(dict(each.values))) for each in plan.configurations]
    names = [name for name in telling(differing(settings), settings) if name not in _NOT_SHOWN]
    with_engine = following_from_engine(names, settings)
    names = [name for name in names if not any(name in of for of in with_engine.values())]
    said = {line: number for number, line in enumerate(dict.fromkeys(line for each in found.notes for line in each), 1)}
    rows = [
        [
            SENTINEL if number == plan.sentinel else str(number + 1),
            *(in_a_line(setting_text(values.get(name)) or NONE) for name in names),
            _fits(examined.memory),
            " ".join(str(said[line]) for line in notes) or NONE,
        ]
        for number, (values, examined, notes) in enumerate(zip(settings, found.examined, found.notes, strict=True))
    ]
    headers = ["#", *shortened(names), "memory", "cautions"]
    lines = [tables.plain(headers, rows, ["left"] * len(headers))]
    lines += [f"{in_a_line(engine)}: {_set(of, settings)}" for engine, of in with_engine.items()]
    lines += [f"{number}: {in_a_line(line)}" for line, number in said.items()]
    left_out = found.given.left_out
    if left_out:
        lines.append(f"left out: {counted(left_out)}")
        lines += [f"- {in_a_line(each.in_words)}" for each in left_out]
    lines += _what_it_takes(found)
    where = f"everything needed is here; results would go to {found.output_dir}; nothing was run"
    return "\n".join([*lines, in_a_line(f"{where}; -v tells all of each")])


def _set(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> str:
    """Fields of an engine with their values, which are the same wherever it is used."""
    values = {name: value for each in settings for name in names if (value := each.get(name)) is not None}
    return ", ".join(f"{name.partition('.')[2]} {in_a_line(setting_text(v) or NONE)}" for name, v in values.items())


def _fits(memory: MemoryFit | None) -> str:
    if memory is None or memory.estimate is None or memory.free.free_mb is None:
        return "not known"
    return "tight" if memory.caution is not None else "fits"


def _what_it_takes(found: PlannedStudy) -> list[str]:
    plan, stop = found.plan, found.given.execution.stop
    n, each, n_configurations = len(plan.slots), found.given.n_cycles, len(plan.compared)
    most = (
        "" if stop is None else f", up to {found.given.most_cycles} until {stop.metric} is within {stop.target_pct:g} %"
    )
    one = "configuration" if n_configurations == 1 else "configurations"
    runs = f"{n_configurations} {one}, {each} {'run' if each == 1 else 'runs'} each{most}"
    n_sentinel = sum(slot.sentinel for slot in plan.slots)
    runs += f", and {n_sentinel} of the sentinel: " if n_sentinel else ": "
    runs += f"{'at most ' if stop else ''}{n} {'run' if n == 1 else 'runs'}"
    order = {"blocks": f"blocks, seed {plan.seed}", "shuffled": f"shuffled, seed {plan.seed}"}.get(
        plan.order, plan.order
    )
    return [
        f"runs: {runs}; order: {order}",
        *([] if found.given.execution.reference is None else [f"reference: {plan.reference + 1}"]),
        f"time: {_time(found)}",
        f"disk: at most {found.disk_bytes / 1e6:,.0f} MB",
        f"differences: {_detectable(each)}",
    ]


def _time(found: PlannedStudy) -> str:
    plan = found.plan
    n_runs = Counter(slot.configuration for slot in plan.slots)
    known = {place: found.took_s.get(each.config_hash) for place, each in enumerate(plan.configurations)}
    times_s = {place: took_s for place, took_s in known.items() if took_s is not None}
    if not times_s:
        return "not known; no study in the output folder has run any of these"
    pauses_s = found.given.execution.pause_s * max(0, len(plan.slots) - 1)
    runs_s = sum(n_runs[place] * took_s for place, took_s in times_s.items())
    n, crew = found.n_workers, "" if found.n_workers == 1 else f" with {found.n_workers} workers"
    n_unknown = len(known) - len(times_s)
    if not n_unknown:
        return f"about {duration((runs_s + pauses_s) / n)}{crew}, as earlier runs of the same took"
    guess_s = runs_s * len(plan.slots) / sum(n_runs[place] for place in times_s) + pauses_s
    return f"about {duration(guess_s / n)}{crew}, if the {n_unknown} that were never run take what the others took"


def _detectable(n_cycles: int) -> str:
    if n_cycles < LEAST_RUNS:
        return f"nothing can be said of one from {n_cycles} of each; intervals take {LEAST_RUNS}"
    factor = detectable_factor(n_cycles)
    return f"of about {factor:.2g} times the scatter of runs (CV) on can be seen; at a CV of 1 %: {factor:.1f} %"
