"""``llem cite``: how to cite the tool, and how this result or study came about."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from llenergymeasure._telling import in_a_line
from llenergymeasure._version import __version__
from llenergymeasure.domain.experiment import ExperimentResult
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.sentences import OF_A_RUN, OF_A_SETUP, figure

# As in CITATION.cff, which a test holds against them.
TOOL = "LLenergyMeasure"
TITLE = "LLenergyMeasure: energy, throughput, latency and compute of LLM inference, so that the numbers can be cited"
AUTHORS = "The LLenergyMeasure authors"
LICENSE_URL = "https://spdx.org/licenses/MIT"
# Of this version; when another one was published is not known here.
_YEAR = 2026
# Anything else in a file would end a field of BibTeX.
_VERSION = re.compile(r"[\w.+!-]+")


def bibtex(versions: Iterable[str]) -> str:
    """An entry for each version of the tool that measured."""
    known = {version if _VERSION.fullmatch(version) else "" for version in versions}
    return "\n\n".join(_entry(version) for version in sorted(known))


def _entry(version: str) -> str:
    fields = {
        "author": f"{{{AUTHORS}}}",
        "title": f"{{{TITLE}}}",
        **({"version": version} if version else {}),
        **({"year": str(_YEAR)} if version == __version__ else {}),
        "license": "MIT",
    }
    lines = "".join(f"  {name:<8}= {{{value}}},\n" for name, value in fields.items())
    key = "".join(c if c.isalnum() or c in ".-" else "-" for c in version)
    return f"@software{{llenergymeasure{f'-{key}' if key else ''},\n{lines}}}"


@dataclass(frozen=True, kw_only=True)
class Account:
    """How what lies in a folder came about: a paragraph, for a study with a line for each of its configurations.

    ``versions`` are those of the tool that measured; the times are the first window's beginning and the last one's end.
    """

    text: str
    versions: tuple[str, ...]
    start_time: datetime
    end_time: datetime

    @classmethod
    def of(cls, bundle: Bundle) -> "Account":
        """That of a result or a study; each result is read once.

        Raises:
            ConfigError: a result cannot be read.
        """
        study, versions, text = _Study(), set[str](), ""
        spans: list[tuple[datetime, datetime]] = []
        for result in bundle.results():
            versions.add(result.environment_snapshot.tool_version)
            spans.append((result.start_time, result.end_time))
            if bundle.is_study:
                study.add(result)
            else:
                text = methods_of_one(result)
        start, end = min(begin for begin, _ in spans), max(stop for _, stop in spans)
        if bundle.is_study:
            text = study.told(bundle, start, end)
        return cls(text=text, versions=tuple(sorted(versions)), start_time=start, end_time=end)


def methods_of_one(result: ExperimentResult) -> str:
    """The paragraph of a single result."""
    return in_a_line(" ".join(said for make in (*OF_A_SETUP, *OF_A_RUN) if (said := make(result))))


@dataclass
class _Configuration:
    """The runs of one configuration."""

    name: str
    per_token_j: list[float | None] = field(default_factory=list)
    tokens_per_second: list[float] = field(default_factory=list)
    perplexity: list[float] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    flags: dict[str, None] = field(default_factory=dict)

    def line(self, config_hash: str) -> str:
        n = len(self.verdicts)
        known_j = [value for value in self.per_token_j if value is not None]
        joules = _range(known_j, n, "J per output token") if known_j else "no energy"
        verdicts = ", ".join(_counted(self.verdicts, n))
        flags = f"; warnings: {', '.join(self.flags)}" if self.flags else "; no warnings"
        runs = "1 run" if n == 1 else f"{n} runs"
        speed = _range(self.tokens_per_second, n, "output tokens per second")
        if self.perplexity:
            speed += f", {_range(self.perplexity, n, 'perplexity')}"
        return f"- {self.name} ({config_hash}), {runs}: {joules}, {speed}; the energy is {verdicts}{flags}"


def _range(values: list[float], n: int, unit: str) -> str:
    """The smallest and the largest of the values of n runs, of which not all may have one."""
    low, high = figure(min(values)), figure(max(values))
    text = f"{low if low == high else f'{low} to {high}'} {unit}"
    return text if len(values) == n else f"{text} (of {len(values)} of {n} runs)"


def _counted(names: list[str], n: int) -> list[str]:
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return [name if count == n else f"{name} in {count} of {n}" for name, count in counts.items()]


class _Study:
    """What the results of a study have in common, and what not; no result is kept."""

    def __init__(self) -> None:
        self._n = 0
        self._windows_s: list[float] = []
        self._idle_w: list[float] = []
        self._idle_loaded_w: list[float] = []
        # Of each kind of sentence those that were said, and of which configurations.
        self._said: list[dict[str, list[str]]] = [defaultdict(list) for _ in OF_A_SETUP]
        self._configurations: dict[str, _Configuration] = {}

    def add(self, result: ExperimentResult) -> None:
        self._n += 1
        self._windows_s.append(result.duration_sec)
        self._idle_w += [] if result.baseline_power_w is None else [result.baseline_power_w]
        self._idle_loaded_w += [] if result.idle_loaded_power_w is None else [result.idle_loaded_power_w]
        for said, make in zip(self._said, OF_A_SETUP, strict=True):
            said[make(result)].append(result.name)
        of = self._configurations.setdefault(result.measurement_config_hash, _Configuration(result.name))
        of.per_token_j.append(result.energy_per_output_token_j)
        of.tokens_per_second.append(result.tokens_per_second)
        if result.quality is not None and result.quality.perplexity is not None:
            of.perplexity.append(result.quality.perplexity)
        of.verdicts.append("absent" if result.total_energy_j is None else in_words(result.validity))
        of.flags |= dict.fromkeys(warning.flag for warning in result.warnings)

    def told(self, bundle: Bundle, start: datetime, end: datetime) -> str:
        paragraph = [self._intro(bundle, start, end)]
        for said in self._said:
            for sentence, names in said.items():
                # A sentence says of itself where it does not hold for all.
                of = (
                    "" if len(said) == 1 else f"In {len(names)} of {self._n} runs ({', '.join(dict.fromkeys(names))}): "
                )
                paragraph += [f"{of}{sentence}"] if sentence else []
        paragraph.append(
            f"Tokens, time and energy of a run are of one window, of {_range(self._windows_s, self._n, 's')}. What "
            "stands below for several runs is the smallest and the largest of them, and no confidence interval."
        )
        paragraph += [self._idle()] if self._idle() else []
        lines = [of.line(config_hash) for config_hash, of in self._configurations.items()]
        return "\n".join(map(in_a_line, [" ".join(paragraph), *lines]))

    def _idle(self) -> str:
        kinds = (("before the model was loaded", self._idle_w), ("with the model loaded", self._idle_loaded_w))
        known = [f"{when} {_range(watts, self._n, 'W')}" for when, watts in kinds if watts]
        return f"Idle power, which is in the energies, was {' and '.join(known)}." if known else ""

    def _intro(self, bundle: Bundle, start: datetime, end: datetime) -> str:
        n_each = sorted({len(of.verdicts) for of in self._configurations.values()})
        repeats = " to ".join(str(n) for n in dict.fromkeys((n_each[0], n_each[-1])))
        gone = [f"{bundle.n_failed} more failed"] if bundle.n_failed else []
        gone += [f"{bundle.n_unfinished} more of the plan have no result"] if bundle.n_unfinished else []
        n, of = len(self._configurations), "configuration" if len(self._configurations) == 1 else "configurations"
        return (
            f"A study of {n} {of} with {self._n} runs, {repeats} of each, from "
            f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} (UTC)"
            f"{'; ' if gone else ''}{', '.join(gone)}."
        )
