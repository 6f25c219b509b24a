"""The head of a report: what was measured, on what and when, and how far to trust the joules."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from llenergymeasure.domain.in_figures import duration
from llenergymeasure.domain.warnings import Verdict, in_words
from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.statistics import runs as in_runs
from llenergymeasure.results.study.alike import machine_of
from llenergymeasure.results.study.notes import meaning_of
from llenergymeasure.results.study.remarks import about_the_cards, totals
from llenergymeasure.results.study.rows import SlotRow

_WORST_FIRST: tuple[Verdict, ...] = ("not_citable", "questionable", "citable")
_MOST_SHOWN = 8


def head_of(gathered: Gathered) -> dict[str, Any]:
    """Facts as pairs of label and text, and the banner: what the worst of the runs lets be done with the joules."""
    runs = [run for _, run in gathered.runs]
    return {
        "title": gathered.title,
        "facts": _facts(gathered, runs),
        "banner": banner_of(runs),
        "cautions": list(gathered.summary.cautions),
        "problems": list(gathered.summary.problems),
    }


def banner_of(runs: Sequence[SlotRow]) -> dict[str, Any]:
    """Whether the energy of [n] runs may be cited: a verdict, a headline, and a line for each reason."""
    verdicts = Counter(str(run.values["validity"]) for run in runs)
    worst = next(verdict for verdict in _WORST_FIRST if verdicts[verdict])
    concerned = [run for run in runs if run.values["validity"] == worst]
    n, n_runs = len(concerned), len(runs)
    of = ("this run" if n_runs == 1 else "every run") if n == n_runs else f"{n} of {in_runs(n_runs)}"
    if worst == "citable":
        return {"verdict": worst, "headline": f"The energy of {of} is citable", "reasons": []}
    flags = Counter(flag for run in concerned for flag in str(run.values["validity_flags"] or "").split("; ") if flag)
    reasons = [
        f"{flag}{'' if n_flag == n_runs else f', in {in_runs(n_flag)}'}: {meaning_of(flag) or 'see its warnings'}"
        for flag, n_flag in flags.most_common()
    ]
    headline = f"{in_words(worst).upper()}: the energy of {of}"
    return {"verdict": worst, "headline": headline, "reasons": reasons}


def _facts(gathered: Gathered, runs: Sequence[SlotRow]) -> list[list[str]]:
    times = sorted(str(run.values["start_time"]) for run in runs)
    configurations = gathered.plan.compared
    summary = gathered.summary
    facts = [
        ("models", _some(str(each.values.get("model")) for each in configurations)),
        ("engines", _some(" ".join(filter(None, (str(run.values["engine"] or run.values["backend"]),
                                                 str(run.values["engine_version"] or "")))) for run in runs)),
        ("precisions", _some(str(each.values.get("precision")) for each in configurations)),
        ("machines", _some(machine_of(run) or "unknown" for run in runs)),
        ("measured", f"{_to_the_minute(times[0])} to {_to_the_minute(times[-1])} (starts of the first and the last run)"
         if len(times) > 1 else _to_the_minute(times[0])),
        ("runs", f"{in_runs(len(runs))} of {len(summary.rows)} configurations; {totals(summary)}"),
        ("each window", _span([float(run.values["duration_sec"] or 0.0) for run in runs])),
        ("joules", _counted(str(run.values["energy_origin"]) for run in runs)),
        ("validity", _counted(in_words(_verdict(run)) for run in runs)),
        ("measured with", _some(f"llem {run.values['tool_version'] or 'of unknown version'}" for run in runs)),
    ]  # fmt: skip
    hosts = {run.circumstances.host for run in runs} - {""}
    facts += [("hosts", _some(sorted(hosts)))] if len(hosts) > 1 else []
    facts += [(remark.label.strip(), remark.text) for remark in about_the_cards(summary)]
    return [[label, text] for label, text in facts]


def _verdict(run: SlotRow) -> Verdict:
    return next(verdict for verdict in _WORST_FIRST if verdict == run.values["validity"])


def _to_the_minute(time: str) -> str:
    return f"{time[:10]} {time[11:16]} {'UTC' if time.endswith(('Z', '+00:00')) else time[19:]}".strip()


def _span(values_s: Sequence[float]) -> str:
    low, high = (duration(end) for end in (min(values_s), max(values_s)))
    return low if low == high else f"{low} to {high}"


def _some(texts: Iterable[str]) -> str:
    """Each text once; of many the first few."""
    distinct = list(dict.fromkeys(texts))
    more = len(distinct) - _MOST_SHOWN
    return ", ".join(distinct[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _counted(texts: Iterable[str]) -> str:
    counts = Counter(texts)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{text} ({in_runs(n)})" for text, n in counts.most_common())
