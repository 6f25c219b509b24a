"""The runs of a study that differ in their load alone, point by point of a curve."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.results.statistics import Summary, summary
from llenergymeasure.results.study.alike import value_in
from llenergymeasure.results.study.rows import SlotRow

# How much is asked for, by the kind of load: of a trace how fast it is played.
AXES = {"rate": "rate", "concurrency": "concurrency", "trace": "trace_speed"}
# Of each point, in the order of the table.
FIGURES = (
    "power_w", "energy_per_output_token_j", "joules_per_good_token", "ttft_p50_s", "e2e_p50_s", "tokens_per_second",
    "goodput", "in_flight_mean",
)  # fmt: skip
# What may be promised of each; not in the table.
PROMISED = ("ttft_p95_s", "tpot_p95_s", "e2e_p95_s")
_FEWEST_POINTS = 2


@dataclass(frozen=True, kw_only=True)
class RunAtLoad:
    """One run: requests per second that came, its mean power, and idle power with the model loaded.

    ``values`` are its figures by name, ``slo_met`` None where nothing was promised or it is not known.
    """

    arrived_per_second: float
    power_w: float | None
    idle_power_w: float | None
    overloaded: bool
    slo_met: bool | None
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class LoadPoint:
    """All runs at one load; ``asked`` in requests per second, requests at a time, or the speed of a trace."""

    asked: float
    runs: tuple[RunAtLoad, ...]

    @property
    def n_overloaded(self) -> int:
        """How many of its runs had no steady state."""
        return sum(run.overloaded for run in self.runs)

    @property
    def is_steady(self) -> bool:
        """Whether all of its runs had one: of those of a load that is served at times, the others are no sample."""
        return self.n_overloaded == 0

    @property
    def slo_met(self) -> bool | None:
        """Whether every run met what was promised, None where that is not known; an overloaded one did not."""
        verdicts = [run.slo_met for run in self.runs]
        if all(met is None for met in verdicts):
            return None
        return False if not self.is_steady or False in verdicts else None if None in verdicts else True

    def mean(self, figure: str) -> Summary | None:
        """A figure over its runs, those apart that were overloaded where others were not; None where there is none."""
        steady = [run for run in self.runs if not run.overloaded] or self.runs
        values = [run.values[figure] for run in steady if figure in run.values]
        try:
            return summary(values) if values else None
        except ValueError:
            return None


@dataclass(frozen=True, kw_only=True)
class LoadSeries:
    """Points of one curve from the least load to the most, all but the load being the same.

    ``axis`` is the setting that varies, such as ``load.rate``; ``settings`` are what else varies in the study.
    """

    axis: str
    settings: Mapping[str, Any]
    points: tuple[LoadPoint, ...]


def series_of(plan: StudyPlan, rows: Sequence[SlotRow]) -> list[LoadSeries]:
    """The curves of a study, in the order of its configurations; none where no load varies.

    Args:
        plan: the study.
        rows: its finished runs.
    """
    runs: dict[int, list[RunAtLoad]] = defaultdict(list)
    for row in rows:
        found = _run(row)
        if found is not None:
            runs[row.configuration].append(found)
    places: dict[tuple[str, str], dict[float, list[RunAtLoad]]] = {}
    others: dict[tuple[str, str], dict[str, Any]] = {}
    for number, configuration in enumerate(plan.configurations):
        along = _axis(configuration.values)
        if along is None or not runs[number]:
            continue
        axis, asked = along
        rest = {**configuration.values, "load": {**configuration.values["load"], axis: None}, "name": None}
        key = (axis, json.dumps(rest, sort_keys=True, default=str))
        others[key] = rest
        places.setdefault(key, {}).setdefault(asked, []).extend(runs[number])
    return [
        LoadSeries(
            axis=f"load.{key[0]}",
            settings=others[key],
            points=tuple(LoadPoint(asked=asked, runs=tuple(own)) for asked, own in sorted(points.items())),
        )
        for key, points in places.items()
        if len(points) >= _FEWEST_POINTS
    ]


def _axis(values: Mapping[str, Any]) -> tuple[str, float] | None:
    """The setting that says how much is asked for, and how much; None without a load, and for all at once."""
    load = values.get("load") or {}
    kind = next((kind for kind in AXES if load.get(kind) is not None), None)
    return None if kind is None else (AXES[kind], float(load[AXES[kind]]))


def _run(row: SlotRow) -> RunAtLoad | None:
    """What of a run stands on a curve; None where it had no load."""
    arrived, seconds = value_in(row, "arrived_requests_per_second"), value_in(row, "duration_sec")
    if arrived is None or not seconds:
        return None
    energy_j = value_in(row, "total_energy_j")
    power_w = None if energy_j is None else energy_j / seconds
    figures = {name: value_in(row, name) for name in (*FIGURES, *PROMISED) if name != "power_w"} | {"power_w": power_w}
    return RunAtLoad(
        arrived_per_second=arrived,
        power_w=power_w,
        idle_power_w=value_in(row, "idle_loaded_power_w"),
        overloaded=row.values.get("overloaded") == "yes",
        slo_met={"yes": True, "no": False}.get(str(row.values.get("slo_met"))),
        values={name: value for name, value in figures.items() if value is not None},
    )
