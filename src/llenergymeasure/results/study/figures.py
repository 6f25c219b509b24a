"""What is worked out of the runs of a configuration alone, and what of it is kept from one summary to the next."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llenergymeasure.domain.study.summary import MetricSummary
from llenergymeasure.results.cards.far_off import outliers_on_cards
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.ratios import NO_SAMPLE
from llenergymeasure.results.statistics import LEAST_RUNS, summary
from llenergymeasure.results.statistics import runs as in_runs
from llenergymeasure.results.study.against import Side, WhichRuns, largest_bound_pct
from llenergymeasure.results.study.alike import kinds_in, unlike, value_in
from llenergymeasure.results.study.circumstances import SUMMED_UP
from llenergymeasure.results.study.compact import Named
from llenergymeasure.results.study.rows import SlotRow

# What drifts and what is far off is looked for in these; among many figures one would always seem to.
WATCHED = ("energy_per_output_token_j", "tokens_per_second")
Metrics = Mapping[str, MetricSummary]
_PLACES = {metric: place for place, metric in enumerate(SUMMED_UP)}
_WITHOUT_RUNS = MetricSummary(n=0, why_none="there is no run of it")
_IN_NO_RUN = MetricSummary(n=0, why_none="no run has it")
# Why there is no interval of a single run.
_OF_ONE = {
    metric: NO_SAMPLE if METRICS[metric].exact else f"{in_runs(1)}, and an interval takes {LEAST_RUNS}"
    for metric in SUMMED_UP
}


class _OfOneRun(Mapping[str, MetricSummary]):
    """The metrics of a single run, each worked out when it is asked for."""

    __slots__ = ("_run",)

    def __init__(self, run: SlotRow) -> None:
        self._run = run

    def __getitem__(self, metric: str) -> MetricSummary:
        return _of_one(metric, self._run)

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


class Figures:
    """Works out the metrics of sides, and of those whose runs are the same as the last time nothing once more."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[tuple[int, str | None], tuple[WhichRuns, Metrics]] = {}
        self._of_none = Named(_PLACES, (_WITHOUT_RUNS,) * len(_PLACES))
        # There are thousands of metrics that no run of theirs has.
        self._alike: dict[MetricSummary, MetricSummary] = {}

    def of(self, side: Side) -> Metrics:
        """The metrics of a side."""
        # Of a single run its values are all there is, and they are with the run.
        if len(side.runs) <= 1:
            return _OfOneRun(side.runs[0]) if side.runs else self._of_none
        key = (side.configuration, side.machine)
        known = self._known.get(key)
        if known is None or known[0] != side.which:
            known = self._known[key] = (side.which, Named(_PLACES, tuple(self._all_of(side.runs))))
        return known[1]

    def _all_of(self, runs: Sequence[SlotRow]) -> Iterator[MetricSummary]:
        for metric in SUMMED_UP:
            found = _metric(metric, runs, unlike([kinds_in(metric, runs)]))
            yield found if found.value is not None else self._alike.setdefault(found, found)


def _of_one(metric: str, run: SlotRow) -> MetricSummary:
    """The same as of several, without the arithmetic."""
    why_no_interval, value = _OF_ONE[metric], value_in(run, metric)
    if value is None:
        return _IN_NO_RUN
    if not 0 < value < math.inf:
        return _metric(metric, [run], None)
    bound_pct = run.circumstances.bounds_pct.get(metric)
    return MetricSummary(n=1, value=value, why_none=why_no_interval, bound_pct=bound_pct)


def _metric(metric: str, runs: Sequence[SlotRow], why_unlike: str | None) -> MetricSummary:
    """A metric over runs; of ones that are not the same thing there is no mean."""
    known = [(run, value) for run in runs if (value := value_in(run, metric)) is not None]
    if not known:
        return _IN_NO_RUN if runs else _WITHOUT_RUNS
    if why_unlike is not None:
        return MetricSummary(n=len(known), why_none=why_unlike)
    values = [value for _, value in known]
    try:
        found = summary(values)
        places = [run.circumstances.where for run, _ in known]
        far = outliers_on_cards(values, places) if metric in WATCHED else ()
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
        # Thousands have the same reason, each in a text of its own.
        why_none=None if found.why_no_interval is None else sys.intern(found.why_no_interval),
        bound_pct=largest_bound_pct(metric, runs),
        outliers=tuple(known[place][0].slot for place in far),
    )
