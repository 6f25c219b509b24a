"""What the runs of a study come to: a row for each configuration, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSummary:
    """A metric over the runs of a configuration.

    ``value`` is the geometric mean of [n] runs, of a single run its value, ``low`` to ``high`` the 95 % interval of
    that mean, in the unit at the end of the metric's name; ``cv`` the standard deviation over the mean, a fraction.
    ``why_none`` says why there is no value, or no interval. ``bound_pct`` is what the readings of one run leave open
    at most, in percent: it is in no interval, and no repeating takes it away. ``outliers`` are the slots of runs too
    far from the others; they are in all figures.
    """

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    cv: float | None = None
    why_none: str | None = None
    bound_pct: float | None = None
    outliers: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RatioSummary:
    """A metric of a configuration over that of the reference, with the ends of its 95 % interval.

    ``n`` are the runs of both, of pairs their number twice. ``p`` is against no difference, by Holm over all
    configurations that are compared. ``reason`` says why there is no ratio, no interval or no verdict, ``notes`` what
    has to be known beside it.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: Literal["welch", "paired", "exact", "stratified"] | None = None
    n: tuple[int, int] = (0, 0)
    p: float | None = None
    verdict: Literal["different", "equivalent", "inconclusive"] = "inconclusive"
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualTokens:
    """What a configuration said, against the row of the table with the number ``row``.

    ``share`` are its tokens that the other has too, each answer up to its first difference, over all of them, 0 to 1;
    where its runs said different things, the least of them. Of runs that are not ``equal``, ``something else`` was said
    where equality is to be expected: the same weights and inputs, in fp32, greedily. Elsewhere they ``may differ``, and
    ``reason`` says why, or why there is no share. ``n_left_out`` requests were not answered in both.
    """

    share: float | None = None
    row: int | None = None
    verdict: Literal["equal", "something else", "may differ"] | None = None
    reason: str | None = None
    n_left_out: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryRow:
    """A configuration, on one kind of machine.

    ``number`` counts rows from 1 on, ``configuration`` is its place in the plan; ``is_named`` says whether ``name`` was
    given. ``settings`` are those in which the configurations differ, by their dotted names. ``n_planned`` is of the
    configuration, wherever it is run. So is ``n_failed``, which the first row of a configuration has, and the others 0:
    nobody knows on which kind of machine a run failed. ``metrics`` and ``ratios`` are by the names of metrics.
    ``n_requests`` and ``output_tokens`` are the least and the most of a run. ``outputs`` are letters: equal ones are
    equal tokens for the same input, and ``equal_tokens`` says how many are. ``validity`` is the worst of the runs,
    ``n_warned`` how many of them have each flag, ``notes`` what has to be known of the row. ``best`` names the metrics
    of which no row has a better mean, ``fronts`` those against which nothing is better in joules per output token and
    in them. ``n_cards`` are the cards that its runs were on, of which ``card_ratios`` has by metric the largest mean
    over the smallest, scatter included.
    """

    number: int
    configuration: int
    config_hash: str
    name: str
    is_named: bool
    settings: Mapping[str, Any]
    machine: str | None
    n_planned: int
    n_finished: int
    n_failed: int
    metrics: Mapping[str, MetricSummary]
    ratios: Mapping[str, RatioSummary] = field(default_factory=dict)
    n_requests: tuple[int, int] | None = None
    output_tokens: tuple[int, int] | None = None
    sensor_accuracy_pct: float | None = None
    energy_origin: str = ""
    validity: Literal["citable", "questionable", "not_citable"] | None = None
    validity_flags: tuple[str, ...] = ()
    n_warned: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    equal_tokens: EqualTokens = EqualTokens()
    notes: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    fronts: tuple[str, ...] = ()
    n_cards: int = 0
    card_ratios: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DriftSummary:
    """How a metric of the sentinel changed from its first run to its last, ``session_s`` seconds later.

    ``low_pct`` to ``high_pct`` is the 95 % interval of ``change_pct``, ``p`` two-sided, against no change; ``warns``
    says whether it is above 1 % and no chance. Below three runs nothing is said, and ``why_none`` says why.
    """

    n: int
    change_pct: float | None = None
    low_pct: float | None = None
    high_pct: float | None = None
    session_s: float | None = None
    p: float | None = None
    warns: bool = False
    why_none: str | None = None


@dataclass(frozen=True, kw_only=True)
class SentinelSummary:
    """The sentinel of a study on one kind of machine: what is run once a block, to tell what changed with time.

    ``row`` is as that of a configuration, with the number 0; it is compared with none and never the best. ``drifts``
    are by the names of metrics.
    """

    row: SummaryRow
    drifts: Mapping[str, DriftSummary]


@dataclass(frozen=True, kw_only=True)
class CardSpread:
    """How much cards of one kind differ in a metric, apart from what configurations differ by.

    ``value`` is that of the card ``highest`` over that of ``lowest``, 1 or more, ``low`` to ``high`` its 95 % interval,
    None where nothing tells cards from scatter. It is of ``n_cards`` cards, by the runs of configurations that were on
    several. ``exceeds`` are the numbers of rows whose difference from the reference is smaller, and is claimed.
    """

    metric: str
    machine: str | None
    value: float
    low: float | None
    high: float | None
    n_cards: int
    n_runs: int
    highest: str
    lowest: str
    why_no_interval: str | None = None
    exceeds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClockOffset:
    """How far the clocks of the workers of a study were apart, each beside that of the file system.

    ``largest_s`` is between two of [n] workers, give or take ``within_s``.
    """

    largest_s: float
    within_s: float
    n_workers: int


@dataclass(frozen=True, kw_only=True)
class SlotFailure:
    """A run that gave no result; ``log`` is where it has left word, from the folder of the study on."""

    slot: int
    configuration: int
    name: str
    error_type: str
    message: str
    log: str | None = None


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """A study in figures.

    ``reference`` is the configuration that the others are held against, by its place in the plan. ``n_planned``,
    ``n_finished`` and ``n_failed`` count all runs, of the sentinel too, which has no row. ``cautions`` are
    what a reader of all rows has to know, ``problems`` what finished and could not be read.
    ``latency_counted_from`` says what TTFT and E2E count from: ``request``, ``batch``, or both. ``spreads`` say how
    much cards of one kind differ, where there were several, and ``clocks`` those of the workers.
    """

    name: str
    reference: int
    n_planned: int
    n_finished: int
    n_failed: int
    rows: tuple[SummaryRow, ...]
    failures: tuple[SlotFailure, ...] = ()
    cautions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    latency_counted_from: tuple[str, ...] = ()
    sentinels: tuple[SentinelSummary, ...] = ()
    spreads: tuple[CardSpread, ...] = ()
    clocks: ClockOffset | None = None
