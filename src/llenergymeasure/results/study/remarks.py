"""What stands beneath the table of a study."""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure._telling import in_a_line, told
from llenergymeasure.domain.in_figures import NONE, duration, number, ratio
from llenergymeasure.domain.study.summary import (
    CardSpread,
    DriftSummary,
    RatioSummary,
    SentinelSummary,
    StudySummary,
    SummaryRow,
)
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.ratios import MARGIN
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.showing.lines import Remark
from llenergymeasure.results.statistics import LEAST_RUNS, MOST_DRIFT_PCT
from llenergymeasure.results.study.against import COMPARED
from llenergymeasure.results.study.circumstances import OF_JOULES
from llenergymeasure.results.study.tokens import PERCENT, about_equal_tokens

LABELS = {name: metric.label for name, metric in METRICS.items()}
_METHODS = {"paired": "paired by block", "stratified": "within cards", "welch": "Welch's t"}
MARKS_OF_FRONTS = {"tokens_per_second": "T", "ttft_p50_s": "L"}
# More comparisons than these nobody reads line by line.
_MOST_COMPARED = 20


@dataclass(frozen=True)
class Notes:
    """The notes of rows: those of all rows, and numbers for the others."""

    of_all: tuple[str, ...]
    numbers: dict[str, int]
    origins_differ: bool

    @classmethod
    def of(cls, summary: StudySummary) -> "Notes":
        """Those of a summary."""
        there = [row for row in summary.rows if row.n_finished]
        differ = len({row.energy_origin for row in there}) > 1
        each = [_own(row, with_origin=differ) for row in summary.rows]
        run = [own for own, row in zip(each, summary.rows, strict=True) if row.n_finished]
        # A note of the only row has nothing that it could be told from.
        of_all = tuple(note for note in (run[0] if run else []) if all(note in own for own in run))
        rest = dict.fromkeys(note for own in each for note in own if note not in of_all)
        return cls(of_all, {note: place for place, note in enumerate(rest, 1)}, differ)

    def marks(self, row: SummaryRow) -> str:
        """The marks of a row: of the fronts that it is on, and of its notes."""
        own = [str(self.numbers[n]) for n in _own(row, with_origin=self.origins_differ) if n in self.numbers]
        return " ".join([*(MARKS_OF_FRONTS[metric] for metric in row.fronts), *own])


def _own(row: SummaryRow, *, with_origin: bool) -> list[str]:
    origin = [f"energy {row.energy_origin}"] if with_origin and row.energy_origin else []
    return [*row.notes, *origin]


def remarks(summary: StudySummary, notes: Notes) -> list[Remark]:
    """What has to be known of a table, in the order in which it is read."""
    return [
        *_about_the_best(summary),
        *(Remark(str(place), note) for note, place in notes.numbers.items()),
        *_about_the_energy(summary.rows, with_origin=not notes.origins_differ),
        *(Remark("every row" if len(summary.rows) > 1 else "note", note) for note in notes.of_all),
        *_about_the_outputs(summary.rows),
        *(Remark(PERCENT, said) for said in about_equal_tokens(summary.rows)),
        *_about_the_work(summary.rows),
        *_about_the_latency(summary),
        *_about_the_intervals(summary.rows),
        *_comparisons(summary),
        *about_the_cards(summary),
        *(line for each in summary.sentinels for line in _about_the_sentinel(each, notes, summary)),
        *(Remark("caution", caution) for caution in summary.cautions),
        *(Remark("problem", problem) for problem in summary.problems),
    ]


def failures(summary: StudySummary, folder: str | None) -> list[Remark]:
    """Why runs failed, and where their logs are.

    Args:
        summary: the study.
        folder: that of the study; None leaves it away from the paths.
    """
    said = []
    for failure in summary.failures:
        said.append(Remark("failed", f"{in_a_line(failure.name)}: {failure.error_type}: {failure.message}", False))
        if failure.log is not None:
            log = failure.log if folder is None else f"{folder}/{failure.log}"
            said.append(Remark("        log", in_a_line(log), False))
    return said


def totals(summary: StudySummary) -> str:
    """How much of a study there is."""
    n_run = summary.n_finished + summary.n_failed
    left = summary.n_planned - n_run - len(summary.problems)
    more = f", {left} of {summary.n_planned} not run" if left > 0 else ""
    return f"{n_run} experiments, {summary.n_failed} failed{more}"


def _about_the_best(summary: StudySummary) -> list[Remark]:
    rows = summary.rows
    said = []
    if any(row.best for row in rows):
        single = "" if any(row.metrics[m].n >= LEAST_RUNS for row in rows for m in row.best) else ", of too few runs"
        said.append(Remark("*", f"the best mean of its column{single}"))
    for metric, mark in MARKS_OF_FRONTS.items():
        if any(metric in row.fronts for row in rows):
            against = LABELS[metric].removesuffix(" s")
            said.append(Remark(mark, f"no row is better in both J/out tok and {against} (Pareto front)"))
    return said


def _about_the_energy(rows: Sequence[SummaryRow], *, with_origin: bool) -> list[Remark]:
    there = [row for row in rows if row.n_finished]
    with_energy = [row for row in there if any(row.metrics[name].n for name in OF_JOULES)]
    said = [there[0].energy_origin] if there and with_origin else []
    if with_energy:
        accuracies = {row.sensor_accuracy_pct for row in with_energy}
        bounds = [row.metrics["total_energy_j"].bound_pct for row in with_energy]
        parts = []
        if None not in accuracies:
            parts.append(f"+-{max(pct for pct in accuracies if pct is not None):g} % (sensor)")
        if all(bound is not None for bound in bounds):
            parts.append(f"up to +-{max(bound or 0.0 for bound in bounds):.2g} % (readings)")
        if parts:
            said.append(f"{', '.join(parts)} stand beside all figures; repeats take nothing of it away")
    return [Remark("energy", "; ".join(said))] if said else []


def _about_the_outputs(rows: Sequence[SummaryRow]) -> list[Remark]:
    outputs = {row.outputs for row in rows if row.n_finished}
    letters = {letter for own in outputs for letter in own}
    if not letters:
        return []
    if len(outputs) == 1 and len(letters) == 1:
        return [Remark("output", "every run gave equal tokens for the same input")]
    said = "equal letters are equal tokens for the same input"
    if len(outputs) == 1:
        said = f"in every row {'/'.join(next(iter(outputs)))}; {said}"
    if any(letter[-1].isdigit() for letter in letters):
        said += "; a number says which input, and only letters with the same number can be compared"
    return [Remark("output", f"{said}; llem compare RUN RUN tells how much differs")]


def _about_the_work(rows: Sequence[SummaryRow]) -> list[Remark]:
    there = [row for row in rows if row.n_finished]
    works = {(row.n_requests, row.output_tokens) for row in there}
    if len(works) != 1:
        return []
    requests, tokens = (f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"
                        for ends in next(iter(works)) if ends is not None)  # fmt: skip
    return [Remark("each run", f"{requests} requests, {tokens} output tokens")]


def _about_the_latency(summary: StudySummary) -> list[Remark]:
    if "batch" not in summary.latency_counted_from:
        return []
    return [Remark("TTFT", "from the start of the batch, where requests run in batches")]


def _about_the_intervals(rows: Sequence[SummaryRow]) -> list[Remark]:
    found = [metric for row in rows for metric in row.metrics.values()]
    if any(metric.low is not None for metric in found):
        return [Remark("+-", "95 % interval of the mean over n runs, by Student's t on logarithms")]
    n_most = max((metric.n for metric in found), default=0)
    if not n_most:
        return []
    return [Remark("n", f"{n_most} at most; intervals and comparisons take {LEAST_RUNS} runs (execution.cycles)")]


def _comparisons(summary: StudySummary) -> list[Remark]:
    """A line for each row that is compared; none where nothing has an interval."""
    compared = [row for row in summary.rows if any(ratio.p is not None for ratio in row.ratios.values())]
    references = [row.number for row in summary.rows if row.configuration == summary.reference]
    if not compared:
        return []
    methods = {ratio.method for row in compared for ratio in row.ratios.values() if ratio.method}
    how = " and ".join(_METHODS[method] for method in sorted(methods))
    family = f", Holm over {len(compared)}" if len(compared) > 1 else ""
    margin = f"{100 * MARGIN:g} %"
    head = Remark(
        f"against {' or '.join(map(str, references))}",
        f"times its mean (95 %), {how}{family}; different: beyond {margin} and no chance; equivalent: within {margin}",
    )
    lines = [Remark(f"     {row.number}", _ratios(row)) for row in compared[:_MOST_COMPARED]]
    more = len(compared) - _MOST_COMPARED
    return [head, *lines, *([Remark("     more", f"{more} rows in summary.csv")] if more > 0 else [])]


def about_the_cards(summary: StudySummary) -> list[Remark]:
    """How much cards of one kind differ, and which rows are means over several."""
    several = len({each.machine for each in summary.spreads}) > 1
    lines = [
        Remark("cards", f"{f'{in_a_line(each.machine)}: ' if several and each.machine else ''}{_spread(each)}")
        for each in summary.spreads
    ]
    over = [row for row in summary.rows if row.n_cards > 1]
    if over:
        most = max(row.n_cards for row in over)
        rows = "every row" if len(over) == len(summary.rows) else f"rows {_listed([row.number for row in over])}"
        lines.append(Remark("   means", f"of {rows} are over up to {most} cards; +- is of runs, and not of cards"))
    return lines


def _listed(numbers: Sequence[int]) -> str:
    more = len(numbers) - _MOST_COMPARED
    return ", ".join(map(str, numbers[:_MOST_COMPARED])) + (f" and {more} more" if more > 0 else "")


def _spread(found: CardSpread) -> str:
    ends = "" if found.low is None or found.high is None else f" ({ratio(found.low)} to {ratio(found.high)}, 95 %)"
    open_ = f": {found.why_no_interval}" if found.why_no_interval else ""
    furthest = f"{in_a_line(found.highest)} over {in_a_line(found.lowest)}"
    return f"{LABELS[found.metric]} x{ratio(found.value)}{ends} of {found.n_cards} cards, {furthest}{open_}"


def _about_the_sentinel(sentinel: SentinelSummary, notes: Notes, summary: StudySummary) -> list[Remark]:
    """What was run once a block beside the table, and how it changed."""
    row = sentinel.row
    several = len({each.machine for each in summary.rows} - {None}) > 1 or len(summary.sentinels) > 1
    label = f"sentinel on {in_a_line(row.machine)}" if several and row.machine else "sentinel"
    settings = ", ".join(f"{name} {in_a_line(told(setting_text(v) or NONE))}" for name, v in row.settings.items())
    head = f"{row.n_finished} of {row.n_planned} runs, in no comparison"
    marks = [f"note {notes.numbers[note]}" if note in notes.numbers else note
             for note in row.notes if note not in notes.of_all]  # fmt: skip
    said = [head, *([settings] if settings else []), *marks]
    lines = [f"{_of_the_sentinel(metric, row)}: {_drift(drift)}" for metric, drift in sentinel.drifts.items()]
    return [Remark(label, "; ".join(said)), *(Remark("   drift", line) for line in lines)]


def _of_the_sentinel(metric: str, row: SummaryRow) -> str:
    found = row.metrics[metric]
    return f"{LABELS[metric]} {number(found.value)} (n={found.n})"


def _drift(found: DriftSummary) -> str:
    if found.change_pct is None or found.session_s is None:
        return f"nothing is said of it: {found.why_none}"
    ends = f"{found.low_pct:+.2f} to {found.high_pct:+.2f} %, 95 %"
    verdict = f": beyond {MOST_DRIFT_PCT:g} % and no chance" if found.warns else ""
    return f"{found.change_pct:+.2f} % ({ends}) over {duration(found.session_s)}, p {found.p:.2g}{verdict}"


def _ratios(row: SummaryRow) -> str:
    known = {metric: row.ratios[metric] for metric in COMPARED if metric in row.ratios}
    said = [
        f"{LABELS[metric].removesuffix(' s')} {_ratio(ratio)}"
        for metric, ratio in known.items()
        if ratio.value is not None
    ]
    said += dict.fromkeys(note for ratio in known.values() for note in ratio.notes)
    return "; ".join(said)


def _ratio(found: RatioSummary) -> str:
    ends = "" if found.low is None or found.high is None else f" ({ratio(found.low)} to {ratio(found.high)})"
    return f"x{NONE if found.value is None else ratio(found.value)}{ends} {found.verdict}"
