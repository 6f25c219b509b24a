"""The runs of a study summed up: rules 9 to 13 of how a joule is obtained, over the rows that runs have left."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.summary import (
    DriftSummary,
    RatioSummary,
    SentinelSummary,
    SlotFailure,
    StudySummary,
    SummaryRow,
)
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.cards.where import cards, machines
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.rows.settings import differing, flat_settings
from llenergymeasure.results.statistics import LEAST_RUNS, Drift, drift
from llenergymeasure.results.statistics import runs as in_runs
from llenergymeasure.results.study.against import Comparing, Side
from llenergymeasure.results.study.alike import kinds_in, machine_of, unlike, value_in
from llenergymeasure.results.study.cards import card_ratios, spreads
from llenergymeasure.results.study.cards import cautions as about_cards
from llenergymeasure.results.study.compact import Named
from llenergymeasure.results.study.events import about_clocks
from llenergymeasure.results.study.figures import WATCHED, Figures
from llenergymeasure.results.study.fronts import BETTER, marks, why_no_best
from llenergymeasure.results.study.notes import notes_of, output_letters, validity_in, warnings_in
from llenergymeasure.results.study.rows import SlotRow, StudyRows
from llenergymeasure.results.study.saying import FolderOf, Saying, notes_of_tokens

_NO_RATIOS: Mapping[str, RatioSummary] = Named({}, ())
_S_PER_H = 3600
_Alike = TypeVar("_Alike")


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
        self._figures = Figures()
        # What thousands of rows of one summary have alike is there once.
        self._alike: dict[Any, Any] = {}
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
        summary = self.in_short(found)
        sentinels = (replace(each, row=_plain(each.row)) for each in summary.sentinels)
        return replace(summary, rows=tuple(map(_plain, summary.rows)), sentinels=tuple(sentinels))

    def in_short(self, found: StudyRows) -> StudySummary:
        """The same in little room, for who writes it and keeps nothing: its mappings are no dictionaries."""
        self._alike.clear()
        every = self._sides(found)
        sides = [side for side in every if side.configuration != self._plan.sentinel]
        n_failed = [0] * len(self._plan.configurations)
        for number in found.failures:
            n_failed[self._plan.slots[number].configuration] += 1
        letters = output_letters([found.rows[number] for number in sorted(found.rows)
                                  if not self._plan.slots[number].sentinel])  # fmt: skip
        ratios = self._ratios(sides)
        seen = spreads(sides, ratios)
        rows = []
        for number, side in enumerate(sides, 1):
            rows.append(self._row(number, side, n_failed[side.configuration], letters, ratios.get(number, _NO_RATIOS)))
            # Of the rows of one configuration the first has its failures, so that each is counted once.
            n_failed[side.configuration] = 0
        for at, said in enumerate(self._saying.of(sides)):
            told = (*notes_of_tokens(at + 1, said), *rows[at].notes)
            rows[at] = replace(rows[at], equal_tokens=said, notes=told)
        why_unlike = {metric: self._why_unlike(metric, sides) for metric in BETTER}
        best, fronts = marks(rows, why_unlike)
        for number in best.keys() | fronts.keys():
            marked = replace(rows[number - 1], best=best.get(number, ()), fronts=fronts.get(number, ()))
            rows[number - 1] = marked
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
            cautions=(
                *self._cautions(sides),
                *about_cards(seen, ratios),
                *about_clocks(found.clocks),
                *why_no_best(rows, why_unlike),
            ),
            latency_counted_from=tuple(sorted({str(o) for o in origins if o is not None})),
            problems=tuple(f"slot {number}: {why}" for number, why in sorted(found.problems.items())),
            sentinels=tuple(sentinels),
            spreads=seen,
            clocks=found.clocks,
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

    def _row(
        self, number: int, side: Side, n_failed: int, letters: Mapping[int, str], ratios: Mapping[str, RatioSummary]
    ) -> SummaryRow:
        runs, planned = side.runs, self._plan.configurations[side.configuration]
        metrics = self._figures.of(side)
        validity, flags = validity_in(runs)
        warned = warnings_in(runs)
        n_planned = self._n_planned[side.configuration]
        accuracies_pct = [run.values["sensor_accuracy_pct"] for run in runs]
        known_pct = [float(each) for each in accuracies_pct if each is not None]
        n_cards, of_cards = card_ratios(runs)
        return SummaryRow(
            number=number,
            configuration=side.configuration,
            config_hash=planned.config_hash,
            name=sys.intern(name_of(planned.values)),
            is_named=bool(planned.values.get("name")),
            settings=self._settings[side.configuration],
            machine=side.machine,
            n_planned=n_planned,
            n_finished=len(runs),
            n_failed=n_failed,
            metrics=metrics,
            ratios=ratios,
            n_requests=self._once(_ends("n_requests", runs)),
            output_tokens=self._once(_ends("output_tokens", runs)),
            # Where one is not known, nothing is known of all.
            sensor_accuracy_pct=max(known_pct) if known_pct and len(known_pct) == len(runs) else None,
            energy_origin=" / ".join(dict.fromkeys(str(run.values["energy_origin"]) for run in runs)),
            validity=validity,
            validity_flags=flags,
            n_warned=self._alike.setdefault(("n_warned", *warned.items()), warned),
            outputs=tuple(dict.fromkeys(letters[run.slot] for run in runs if run.slot in letters)),
            notes=self._once(tuple(notes_of(runs, metrics, n_planned, n_failed))),
            n_cards=n_cards,
            card_ratios=of_cards,
        )

    def _once(self, known: _Alike) -> _Alike:
        return cast("_Alike", self._alike.setdefault(known, known))

    def _sentinel(self, side: Side, n_failed: list[int]) -> SentinelSummary:
        row = self._row(0, side, n_failed[side.configuration], {}, _NO_RATIOS)
        n_failed[side.configuration] = 0
        return SentinelSummary(row=row, drifts={metric: self._drift_of(metric, side) for metric in WATCHED})

    def _drift_of(self, metric: str, side: Side) -> DriftSummary:
        known = self._figures.of(side)[metric]
        if known.value is None:
            return DriftSummary(n=known.n, why_none=known.why_none)
        if known.n < LEAST_RUNS:
            return DriftSummary(n=known.n, why_none=f"{in_runs(known.n)}, and a drift takes {LEAST_RUNS}")
        found = self._drift(metric, [side])
        if found is None:
            places = [run.circumstances.where for run in side.runs if value_in(run, metric) is not None]
            n_cards = len(set(cards(places)))
            # Each card has a mean of its own.
            least = LEAST_RUNS + n_cards - 1
            too_few = f"{in_runs(known.n)} on {n_cards} different cards, and a drift takes {least} on as many"
            return DriftSummary(n=known.n, why_none=too_few if known.n < least else "all runs were at one time")
        return DriftSummary(**asdict(found), warns=found.warns)

    def _ratios(self, sides: Sequence[Side]) -> dict[int, Mapping[str, RatioSummary]]:
        """By the numbers of rows, their ratios to the reference, each metric being a family of its own."""
        references = [side for side in sides if side.configuration == self._reference and side.runs]
        others = {
            number: side
            for number, side in enumerate(sides, 1)
            if side.configuration != self._reference and side.runs
        }  # fmt: skip
        return dict(zip(others, self._comparing.against(references, list(others.values())), strict=True))

    def _why_unlike(self, metric: str, sides: Sequence[Side]) -> str | None:
        """Why a metric is not the same thing in all rows; a row without a mean is held against no other."""
        return unlike(kinds_in(metric, side.runs) for side in sides if self._figures.of(side)[metric].value is not None)

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
        if len(set(cards([run.circumstances.where for run in runs if run.circumstances.devices]))) > 1:
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
        return said + [line for metric in WATCHED if (line := self._drift_line(metric, sides)) is not None]

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
        alike = [side for side in sides if self._figures.of(side)[metric].value is not None]
        runs = [(number, run) for number, side in enumerate(alike) for run in side.runs]
        known = [(number, run, value) for number, run in runs if (value := value_in(run, metric)) is not None]
        places = [run.circumstances.where for _, run, _ in known]
        kinds = [(number, card) for (number, *_), card in zip(known, cards(places), strict=True)]
        # Clocks of two machines may be a minute apart.
        return drift([value for *_, value in known], [_time_s(run) for _, run, _ in known], kinds, machines(places))


def _plain(row: SummaryRow) -> SummaryRow:
    """The same row, with dictionaries of its own."""
    return replace(row, metrics=dict(row.metrics), ratios=dict(row.ratios), n_warned=dict(row.n_warned))


def name_of(values: Mapping[str, Any]) -> str:
    """What a planned configuration is called."""
    return str(values.get("name") or f"{Path(values['model']).name}-{values['backend']}-{values['precision']}")


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
