"""The runs of a study summed up: rules 9 to 13 of how a joule is obtained, over the rows that runs have left."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.summary import (
    DriftSummary,
    MetricSummary,
    RatioSummary,
    SentinelSummary,
    SlotFailure,
    StudySummary,
    SummaryRow,
)
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.ratios import NO_SAMPLE
from llenergymeasure.results.rows.settings import differing, flat_settings
from llenergymeasure.results.statistics import LEAST_RUNS, Drift, drift, outliers, summary
from llenergymeasure.results.statistics import runs as in_runs
from llenergymeasure.results.study.against import COMPARED, Comparing, Side, largest_bound_pct
from llenergymeasure.results.study.alike import kinds_in, machine_of, unlike, value_in
from llenergymeasure.results.study.circumstances import SUMMED_UP
from llenergymeasure.results.study.fronts import marks, why_no_best
from llenergymeasure.results.study.notes import notes_of, output_letters, validity_in, warnings_in
from llenergymeasure.results.study.rows import SlotRow, StudyRows
from llenergymeasure.results.study.saying import FolderOf, Saying, notes_of_tokens

# What drifts and what is far off is looked for in these; among many figures one would always seem to.
_WATCHED = ("energy_per_output_token_j", "tokens_per_second")
_S_PER_H = 3600


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """What is worked out of the runs of a side alone: metrics, and what each of them is (``kinds_in``)."""

    metrics: Mapping[str, MetricSummary]
    kinds: Mapping[str, dict[str, frozenset[str]]]

    @classmethod
    def of(cls, runs: Sequence[SlotRow]) -> "_Figures":
        kinds = {metric: kinds_in(metric, runs) for metric in SUMMED_UP}
        return cls(
            metrics={metric: _metric(metric, runs, unlike([kinds[metric]])) for metric in SUMMED_UP}, kinds=kinds
        )


class Summing:
    """Sums up a study, again and again while it is run."""

    def __init__(self, plan: StudyPlan, reference: int | None = None, folder_of: FolderOf | None = None) -> None:
        """Take what is planned.

        Args:
            plan: the study.
            reference: the configuration that the others are held against, by its place in the plan; None is the plan's.
            folder_of: where the tables of a run lie, for what it said; None where runs lie in no folder.

        Raises:
            ConfigError: there is no such configuration.
        """
        n, reference = len(plan.compared), plan.reference if reference is None else reference
        if not 0 <= reference < max(n, 1):
            raise ConfigError(f"reference {reference}: there are {n} configurations, counted from 0")
        self._plan, self._reference = plan, reference
        self._comparing = Comparing(in_blocks=plan.order == "blocks")
        self._saying = Saying(plan, reference, folder_of)
        # Of sides whose runs are the same as the last time nothing is worked out again.
        self._known: dict[tuple[int, str | None], tuple[Side, _Figures]] = {}
        names = differing(each.values for each in plan.compared)
        flat = (flat_settings(each.values) for each in plan.configurations)
        self._settings = [{name: of.get(name) for name in names} for of in flat]
        if plan.sentinel is not None:
            own = plan.configurations[plan.sentinel].values
            of_it = flat_settings(own)
            other = differing([plan.configurations[reference].values, own])
            self._settings[plan.sentinel] |= {name: of_it.get(name) for name in other}
        self._n_planned = [0] * len(plan.configurations)
        for slot in plan.slots:
            self._n_planned[slot.configuration] += 1

    def of(self, found: StudyRows) -> StudySummary:
        """What there is of the study, summed up."""
        every = self._sides(found)
        sides = [side for side in every if side.configuration != self._plan.sentinel]
        n_failed = [0] * len(self._plan.configurations)
        for number in found.failures:
            n_failed[self._plan.slots[number].configuration] += 1
        letters = output_letters([found.rows[number] for number in sorted(found.rows)
                                  if not self._plan.slots[number].sentinel])  # fmt: skip
        rows = []
        for number, side in enumerate(sides, 1):
            rows.append(self._row(number, side, n_failed[side.configuration], letters))
            # Of the rows of one configuration the first has its failures, so that each is counted once.
            n_failed[side.configuration] = 0
        rows = self._compared(rows, sides)
        rows = [
            replace(row, equal_tokens=said, notes=(*notes_of_tokens(row.number, said), *row.notes))
            for row, said in zip(rows, self._saying.of(sides), strict=True)
        ]
        # A row without a mean is held against no other.
        kinds = {
            metric: [own.kinds[metric] for own in map(self._figures, sides) if own.metrics[metric].value is not None]
            for metric in SUMMED_UP
        }
        best, fronts = marks(rows, kinds)
        rows = [
            replace(row, best=best.get(row.number, ()), fronts=fronts.get(row.number, ()))
            for row in rows
        ]  # fmt: skip
        sentinels = [
            self._sentinel(side, n_failed) for side in every if side.configuration == self._plan.sentinel
        ]  # fmt: skip
        origins = [run.values["latency_counted_from"] for side in sides for run in side.runs]
        return StudySummary(
            name=self._plan.name,
            reference=self._reference,
            n_planned=len(self._plan.slots),
            n_finished=len(found.rows),
            n_failed=len(found.failures),
            rows=tuple(rows),
            failures=tuple(self._failure(number, found) for number in sorted(found.failures)),
            cautions=(*self._cautions(sides), *why_no_best(rows, kinds)),
            latency_counted_from=tuple(sorted({str(o) for o in origins if o is not None})),
            problems=tuple(f"slot {number}: {why}" for number, why in sorted(found.problems.items())),
            sentinels=tuple(sentinels),
        )

    def _sides(self, found: StudyRows) -> list[Side]:
        by_place: dict[tuple[int, str], list[SlotRow]] = {}
        for number in sorted(found.rows):
            row = found.rows[number]
            by_place.setdefault((row.configuration, machine_of(row) or ""), []).append(row)
        there = {configuration for configuration, _ in by_place}
        for configuration in range(len(self._plan.configurations)):
            if configuration not in there:
                by_place[(configuration, "")] = []
        return [
            Side(configuration=configuration, machine=machine or None, runs=tuple(runs))
            for (configuration, machine), runs in sorted(by_place.items())
        ]

    def _figures(self, side: Side) -> _Figures:
        key = (side.configuration, side.machine)
        known = self._known.get(key)
        if known is None or known[0].which != side.which:
            known = self._known[key] = (side, _Figures.of(side.runs))
        return known[1]

    def _row(self, number: int, side: Side, n_failed: int, letters: Mapping[int, str]) -> SummaryRow:
        runs, planned = side.runs, self._plan.configurations[side.configuration]
        metrics = self._figures(side).metrics
        validity, flags = validity_in(runs)
        n_planned = self._n_planned[side.configuration]
        accuracies_pct = [run.values["sensor_accuracy_pct"] for run in runs]
        known_pct = [float(each) for each in accuracies_pct if each is not None]
        return SummaryRow(
            number=number,
            configuration=side.configuration,
            config_hash=planned.config_hash,
            name=name_of(planned.values),
            is_named=bool(planned.values.get("name")),
            settings=self._settings[side.configuration],
            machine=side.machine,
            n_planned=n_planned,
            n_finished=len(runs),
            n_failed=n_failed,
            metrics=metrics,
            n_requests=_ends("n_requests", runs),
            output_tokens=_ends("output_tokens", runs),
            # Where one is not known, nothing is known of all.
            sensor_accuracy_pct=max(known_pct) if known_pct and len(known_pct) == len(runs) else None,
            energy_origin=" / ".join(dict.fromkeys(str(run.values["energy_origin"]) for run in runs)),
            validity=validity,
            validity_flags=flags,
            n_warned=warnings_in(runs),
            outputs=tuple(dict.fromkeys(letters[run.slot] for run in runs if run.slot in letters)),
            notes=tuple(notes_of(runs, metrics, n_planned, n_failed)),
        )

    def _sentinel(self, side: Side, n_failed: list[int]) -> SentinelSummary:
        row = self._row(0, side, n_failed[side.configuration], {})
        n_failed[side.configuration] = 0
        return SentinelSummary(row=row, drifts={metric: self._drift_of(metric, side) for metric in _WATCHED})

    def _drift_of(self, metric: str, side: Side) -> DriftSummary:
        known = self._figures(side).metrics[metric]
        if known.value is None:
            return DriftSummary(n=known.n, why_none=known.why_none)
        if known.n < LEAST_RUNS:
            return DriftSummary(n=known.n, why_none=f"{in_runs(known.n)}, and a drift takes {LEAST_RUNS}")
        found = self._drift(metric, [side])
        if found is None:
            n_cards = len({_cards_of(run) for run in side.runs if value_in(run, metric) is not None})
            # Each card has a mean of its own.
            least = LEAST_RUNS + n_cards - 1
            too_few = f"{in_runs(known.n)} on {n_cards} different cards, and a drift takes {least} on as many"
            return DriftSummary(n=known.n, why_none=too_few if known.n < least else "all runs were at one time")
        return DriftSummary(**asdict(found), warns=found.warns)

    def _compared(self, rows: Sequence[SummaryRow], sides: Sequence[Side]) -> list[SummaryRow]:
        """The rows with their ratios to the reference, each metric being a family of its own."""
        of_reference = [row.configuration == self._reference for row in rows]
        references = [side for side, is_one in zip(sides, of_reference, strict=True) if is_one and side.runs]
        others = [place for place, is_one in enumerate(of_reference) if not is_one and sides[place].runs]
        ratios: dict[int, dict[str, RatioSummary]] = {place: {} for place in others}
        for metric in COMPARED:
            found = self._comparing.against(metric, references, [sides[place] for place in others])
            for place, ratio in zip(others, found, strict=True):
                ratios[place][metric] = ratio
        return [replace(row, ratios=ratios.get(place, {})) for place, row in enumerate(rows)]

    def _failure(self, number: int, found: StudyRows) -> SlotFailure:
        failure, attempt = found.failures[number]
        slot = self._plan.slots[number]
        log = None if attempt is None else "/".join([*attempt.parts[-3:], LOG_FILE])
        return SlotFailure(
            slot=number,
            configuration=slot.configuration,
            name=failure.name,
            error_type=failure.error_type,
            message=failure.message,
            log=log,
        )

    def _cautions(self, sides: Sequence[Side]) -> list[str]:
        runs = [run for side in sides for run in side.runs]
        said = []
        if len({run.values["inputs_digest"] or run.values["prompts_digest"] for run in runs}) > 1:
            said.append("the runs did not all read the same tokens: energy and time are of different work")
        if len({run.circumstances.devices for run in runs} - {()}) > 1:
            said.append(
                "energy was read on different devices: what their sensors are off by does not cancel in a ratio"
            )
        said += _about_the_drivers(sides)
        often = sum(len(side.runs) >= LEAST_RUNS for side in sides)
        if self._plan.order == "sequential" and often > 1:
            said.append(
                "all runs of a configuration came one after the other: what changed meanwhile looks like a "
                "difference; execution.order: blocks tells them apart"
            )
        return said + [line for metric in _WATCHED if (line := self._drift_line(metric, sides)) is not None]

    def _drift_line(self, metric: str, sides: Sequence[Side]) -> str | None:
        """A warning where a metric changed with time, whatever was run."""
        found = self._drift(metric, sides)
        if found is None or not found.warns:
            return None
        return (
            f"{metric} changed by {found.change_pct:+.1f} % over {found.session_s / _S_PER_H:.1f} h, whatever was run "
            f"(p {found.p:.2g})"
        )

    def _drift(self, metric: str, sides: Sequence[Side]) -> Drift | None:
        # Another definition looks like a drift, and so does another card of the same kind.
        alike = [side for side in sides if self._figures(side).metrics[metric].value is not None]
        read = [
            ((number, _cards_of(run)), run, value_in(run, metric))
            for number, side in enumerate(alike)
            for run in side.runs
        ]
        known = [(kind, _time_s(run), value) for kind, run, value in read if value is not None]
        return drift([value for *_, value in known], [time_s for _, time_s, _ in known], [kind for kind, *_ in known])


def name_of(values: Mapping[str, Any]) -> str:
    """What a planned configuration is called."""
    return str(values.get("name") or f"{Path(values['model']).name}-{values['backend']}-{values['precision']}")


def _metric(metric: str, runs: Sequence[SlotRow], why_unlike: str | None) -> MetricSummary:
    """A metric over runs; of ones that are not the same thing there is no mean."""
    known = [(run.slot, value) for run in runs if (value := value_in(run, metric)) is not None]
    if not known:
        return MetricSummary(n=0, why_none="no run has it" if runs else "there is no run of it")
    if why_unlike is not None:
        return MetricSummary(n=len(known), why_none=why_unlike)
    values = [value for _, value in known]
    try:
        found = summary(values)
        far = outliers(values) if metric in _WATCHED else ()
    except ValueError as error:
        return MetricSummary(n=len(known), why_none=str(error))
    if METRICS[metric].exact:
        found = replace(found, low=None, high=None, cv=None, why_no_interval=NO_SAMPLE)
    return MetricSummary(
        n=found.n,
        value=found.value,
        low=found.low,
        high=found.high,
        cv=found.cv,
        why_none=found.why_no_interval,
        bound_pct=largest_bound_pct(metric, runs),
        outliers=tuple(known[place][0] for place in far),
    )


def _about_the_drivers(sides: Sequence[Side]) -> list[str]:
    """A warning for each kind of machine that had several drivers."""
    found: dict[str, set[str]] = {}
    for side in sides:
        found.setdefault(side.machine or "one machine", set()).update(run.circumstances.driver for run in side.runs)
    return [
        f"the driver of the GPUs was not the same in all runs on {machine}: {' / '.join(sorted(drivers - {''}))}"
        for machine, drivers in found.items()
        if len(drivers - {""}) > 1
    ]


def _ends(name: str, runs: Sequence[SlotRow]) -> tuple[int, int] | None:
    """The least and the most of a count; None where there is no run."""
    counts = [int(run.values[name] or 0) for run in runs]
    return (min(counts), max(counts)) if counts else None


def _time_s(run: SlotRow) -> float:
    return datetime.fromisoformat(str(run.values["start_time"])).timestamp()


def _cards_of(run: SlotRow) -> tuple[tuple[str, ...], ...]:
    """On which cards a run was, with the devices behind its energy."""
    return run.circumstances.gpu_uuids, run.circumstances.devices
