"""Plans and comparisons of tokens as plain text."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from llenergymeasure._telling import in_a_line
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from llenergymeasure.domain.equivalence import Difference, OutputComparison
from llenergymeasure.domain.in_figures import share_pct
from llenergymeasure.domain.warnings import Verdict, in_words
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit, parts_of
from llenergymeasure.results.differences import SettingDifference
from llenergymeasure.results.showing.lines import LABEL, wrapped

_MOST_DIFFERENCES = 5
_DIGEST, DIGEST_DIGITS = "sha256:", 12


def plan(experiments: Sequence[ExperimentConfig], output_dir: Path | None, notes: Sequence[Sequence[str]]) -> str:
    """What would run, with every default filled in, and what there is to note of each of [n] experiments."""
    parts = []
    for position, (item, lines) in enumerate(zip(experiments, notes, strict=True), 1):
        resolved = {key: value for key, value in item.resolved().items() if key != "output_dir"}
        head = f"# experiment {position} of {len(experiments)}, hash {measurement_config_hash(item)}"
        head = "\n# ".join([head, *map(in_a_line, lines)])
        parts.append(f"{head}\n{yaml.safe_dump(resolved, sort_keys=False, allow_unicode=False).strip()}")
    parts.append(f"# everything needed is here; results would go to {output_dir}; nothing was run")
    return "\n".join(parts)


def comparison(
    found: OutputComparison,
    settings: Sequence[SettingDifference],
    validity: tuple[Verdict, Verdict],
    why_they_may_differ: str | None,
) -> str:
    """What two runs differ in, whether they said the same, and where they first did not; and what their joules are."""
    share = f"{found.n_equal_tokens} of {found.n_tokens} ({share_pct(found.equal_token_share)})"
    left_out = f"; {found.n_left_out} more were not answered in both" if found.n_left_out else ""
    lines = [
        f"{'requests':<{LABEL}}{found.n_identical} of {found.n_requests} have identical outputs{left_out}",
        f"{'tokens':<{LABEL}}{share} are equal up to the first difference of their answer",
        *(_difference_line(d) for d in found.differences[:_MOST_DIFFERENCES]),
    ]
    if found.n_inputs_by_length:
        unsure = (
            f"{found.n_inputs_by_length} of {found.n_requests} requests are only known to have read equally many tokens"
        )
        lines.insert(0, f"{'inputs':<{LABEL}}{unsure}")
    lines.insert(0, _settings_line(settings))
    more = len(found.differences) - _MOST_DIFFERENCES
    lines += [f"{'':<{LABEL}}and {more} more"] if more > 0 else []
    if found.differences:
        lines.append(f"{'':<{LABEL}}requests, answers and tokens are counted from 0")
    if not found.identical:
        expected = "to be expected: the same weights in fp32"
        need_not = f"not to be expected: {why_they_may_differ}"
        lines.append(wrapped("equality", expected if why_they_may_differ is None else need_not))
    energies = " and ".join(dict.fromkeys(map(in_words, validity)))
    lines.append(f"{'energy':<{LABEL}}{energies}{' in both' if validity[0] == validity[1] else ', in this order'}")
    return "\n".join([*lines, f"{'outputs':<{LABEL}}{'identical' if found.identical else 'NOT identical'}"])


def not_compared(settings: Sequence[SettingDifference], why: str) -> str:
    """What two runs differ in, and why their tokens cannot be compared."""
    return "\n".join([_settings_line(settings), wrapped("outputs", f"not compared: {why}")])


def _settings_line(settings: Sequence[SettingDifference]) -> str:
    named = [f"{s.name} {setting(s.first)} / {setting(s.second)}" for s in settings]
    return wrapped("settings differ in", in_a_line("; ".join(named)) or "nothing")


def setting(value: object) -> str:
    """A value as in YAML; of a digest so many digits that it can be told from others."""
    if value is None:
        return "not set"
    text = value if isinstance(value, str) else json.dumps(value)
    return text[: len(_DIGEST) + DIGEST_DIGITS] if text.startswith(_DIGEST) else text


def _difference_line(found: Difference) -> str:
    tokens = [str(token) if token is not None else "the end" for token in (found.first, found.second)]
    answer = f", answer {found.answer}" if found.answer else ""
    where = f"request {found.index}{answer}, token {found.position}"
    return f"{'differs':<{LABEL}}{where}: {tokens[0]} in the first, {tokens[1]} in the second"


def memory_lines(fit: MemoryFit) -> list[str]:
    """What an experiment will hold in memory, part by part, and what there is of it."""
    estimate, free = fit.estimate, fit.free
    free_mb = "what is free is not known" if free.free_mb is None else f"{free.free_mb:,.0f} MB are free"
    if estimate is None:
        return [f"memory: not known for this model; {free_mb} {free.where}"]
    least = "at least " if estimate.total_mb is None else ""
    needed_mb = estimate.certain_mb if estimate.total_mb is None else estimate.total_mb
    fits = ""
    if free.free_mb is not None and needed_mb <= free.free_mb:
        fits = ": what is known of it fits" if estimate.total_mb is None else ": it fits"
    return [
        f"memory: a run adds {least}{needed_mb:,.0f} MB{fit.for_each} ({parts_of(estimate)})",
        *(f"memory: unknown {line}" for line in estimate.unknown),
        f"memory: {free_mb} {free.where}{fits}",
    ]
