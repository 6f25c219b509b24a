"""What has to be known of the rows of a study beside their figures."""

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from llenergymeasure.domain.in_figures import letter
from llenergymeasure.domain.study.summary import MetricSummary
from llenergymeasure.domain.warnings import FLAGS, Verdict, in_words
from llenergymeasure.results.rows.columns import Value
from llenergymeasure.results.statistics import runs as in_runs
from llenergymeasure.results.study.circumstances import SUMMED_UP
from llenergymeasure.results.study.rows import SlotRow

_SEVERITY: tuple[Verdict, ...] = ("citable", "questionable", "not_citable")
# A link in a text of the documentation.
_LINK = re.compile(r";? ?\[[^]]*\]\([^)]*\)")


def validity_in(runs: Sequence[SlotRow]) -> tuple[Verdict | None, tuple[str, ...]]:
    """The worst of what can be said of the energy of [n] runs, and the flags that decided it."""
    verdicts = [_verdict(run) for run in runs]
    if not verdicts:
        return None, ()
    worst = max(verdicts, key=_SEVERITY.index)
    flags = (_split(run.values["validity_flags"]) for run, own in zip(runs, verdicts, strict=True) if own == worst)
    return worst, tuple(dict.fromkeys(flag for of in flags for flag in of))


def warnings_in(runs: Sequence[SlotRow]) -> dict[str, int]:
    """How many of [n] runs have each flag."""
    return dict(sorted(Counter(flag for run in runs for flag in set(_split(run.values["warnings"]))).items()))


def notes_of(runs: Sequence[SlotRow], metrics: Mapping[str, MetricSummary], n_planned: int, n_failed: int) -> list[str]:
    """What a reader of a row has to know, the worst first."""
    notes = []
    if n_failed:
        notes.append(f"{n_failed} of {n_planned} runs failed")
    left = n_planned - n_failed - len(runs)
    if left and runs:
        notes.append(f"{left} of {n_planned} runs are not in it")
    notes += _about_the_validity(runs)
    parts = {str(run.values["measurement_methodology"]) for run in runs} - {"total"}
    notes += [f"the window is a part of the run: {part}" for part in sorted(parts)]
    notes += _about_the_metrics(metrics)
    notes += [_of_a_flag(flag, n, len(runs)) for flag, n in warnings_in(runs).items()]
    return notes


def _about_the_validity(runs: Sequence[SlotRow]) -> list[str]:
    # Where there is no energy, that is a warning of its own.
    of_energy = [run for run in runs if run.values["total_energy_j"] is not None]
    verdict, flags = validity_in(of_energy)
    if verdict is None or verdict == "citable":
        return []
    n = sum(_verdict(run) == verdict for run in of_energy)
    share = "" if n == len(runs) else f" in {n} of {in_runs(len(runs))}"
    return [f"the energy is {in_words(verdict)}{share} ({', '.join(flags)})"]


def _about_the_metrics(metrics: Mapping[str, MetricSummary]) -> list[str]:
    refused: dict[str, list[str]] = {}
    every = {name: metrics[name] for name in SUMMED_UP}
    n_known = sum(found.n > 0 for found in every.values())
    far: dict[tuple[int, ...], list[str]] = {}
    for name, found in every.items():
        if found.value is None and found.n and found.why_none:
            refused.setdefault(found.why_none, []).append(name)
        if found.outliers:
            far.setdefault(found.outliers, []).append(name)
    return [
        *(f"no mean of {', '.join(names) if len(names) < n_known else 'any figure'}: {why}"
          for why, names in refused.items()),
        *(f"far from the other runs, and kept: slot {', '.join(map(str, slots))} ({', '.join(names)})"
          for slots, names in far.items()),
    ]  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _of_a_flag(flag: str, n: int, n_runs: int) -> str:
    meaning = f": {meaning_of(flag)}" if flag in FLAGS else ""
    return f"{flag}{meaning}" if n == n_runs else f"{flag} in {n} of {in_runs(n_runs)}{meaning}"


def meaning_of(flag: str) -> str:
    """When a flag is raised, without links of the documentation; nothing of one that nobody knows."""
    return _LINK.sub("", FLAGS[flag].when) if flag in FLAGS else ""


def _verdict(run: SlotRow) -> Verdict:
    return next(verdict for verdict in _SEVERITY if verdict == run.values["validity"])


def _split(value: Value) -> list[str]:
    return [part for part in str(value or "").split("; ") if part]


def output_letters(runs: Sequence[SlotRow]) -> dict[int, str]:
    """By slot, a letter for each distinct output of the same input, such as A or B2; none where nothing compares."""
    # A part of a run may have run other requests, and a limit may have cut the prompts.
    # Of the same prompts other models may have made other tokens.
    inputs = {run.slot: _input_of(run) for run in runs}
    alike = Counter(inputs.values())
    groups = {given: place for place, given in enumerate((g for g, n in alike.items() if n > 1), 1)}
    known: dict[tuple[str, ...], dict[str, str]] = {}
    letters: dict[int, str] = {}
    for run in runs:
        given = inputs[run.slot]
        if given in groups:
            own = known.setdefault(given, {})
            digest = str(run.values["outputs_digest"])
            number = str(groups[given]) if len(groups) > 1 else ""
            letters[run.slot] = own.setdefault(digest, letter(len(own)) + number)
    return letters


def _input_of(run: SlotRow) -> tuple[str, ...]:
    values = run.values
    tokens = values["inputs_digest"] or f"{values['input_tokens']} tokens"
    names = ("n_requests", "n_requests_excluded")
    return (str(values["prompts_digest"]), str(tokens), *(str(values[name]) for name in names))
