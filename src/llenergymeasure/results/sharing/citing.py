"""``llem cite``: how to cite the tool, and how this result or study came about."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from llenergymeasure._telling import in_a_line
from llenergymeasure._version import __version__
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.sentinel import is_of_a_sentinel
from llenergymeasure.results.sharing.bundle import Bundle
from llenergymeasure.results.sharing.repeats import Configuration, span
from llenergymeasure.results.sharing.sentences import OF_A_RUN, OF_A_SETUP
from llenergymeasure.results.statistics import LEAST_RUNS, runs

# As in CITATION.cff, which a test holds against them.
TOOL = "LLenergyMeasure"
TITLE = "LLenergyMeasure: energy, throughput, latency and compute of LLM inference, so that the numbers can be cited"
AUTHORS = "The LLenergyMeasure authors"
LICENSE_URL = "https://spdx.org/licenses/MIT"
# Of this version; when another one was published is not known here.
_YEAR = 2026
_SEVERAL = 2
# Anything else in a file would end a field of BibTeX.
_VERSION = re.compile(r"[\w.+!-]+")


def bibtex(versions: Iterable[str]) -> str:
    """An entry for each version of the tool that measured."""
    known = {version if _VERSION.fullmatch(version) else "" for version in versions}
    return "\n\n".join(_entry(version) for version in sorted(known))


def _entry(version: str) -> str:
    version = in_a_line(version)
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


class _Study:
    """What the results of a study have in common, and what not; no result is kept, and the sentinel is in no figure."""

    def __init__(self) -> None:
        self._n = 0
        self._n_of_sentinel = 0
        self._windows_s: list[float] = []
        self._idle_w: list[float] = []
        self._idle_loaded_w: list[float] = []
        # Of each kind of sentence those that were said, and of which configurations.
        self._said: list[dict[str, list[str]]] = [defaultdict(list) for _ in OF_A_SETUP]
        self._configurations: dict[str, Configuration] = {}

    def add(self, result: ExperimentResult) -> None:
        if is_of_a_sentinel(result):
            self._n_of_sentinel += 1
            return
        self._n += 1
        self._windows_s.append(result.duration_sec)
        self._idle_w += [] if result.baseline_power_w is None else [result.baseline_power_w]
        self._idle_loaded_w += [] if result.idle_loaded_power_w is None else [result.idle_loaded_power_w]
        for said, make in zip(self._said, OF_A_SETUP, strict=True):
            said[make(result)].append(result.name)
        self._configurations.setdefault(result.measurement_config_hash, Configuration(result.name)).add(result)

    def told(self, bundle: Bundle, start: datetime, end: datetime) -> str:
        if not self._configurations:
            return f"A study of which only the sentinel has results: {runs(self._n_of_sentinel)}."
        paragraph = [self._intro(bundle, start, end)]
        if self._n_of_sentinel:
            paragraph.append(
                f"A sentinel was run beside them, to tell what changed with time ({runs(self._n_of_sentinel)}); it is "
                "in no figure here."
            )
        for said in self._said:
            for sentence, names in said.items():
                # A sentence says of itself where it does not hold for all.
                of = (
                    "" if len(said) == 1 else f"In {len(names)} of {self._n} runs ({', '.join(dict.fromkeys(names))}): "
                )
                paragraph += [f"{of}{sentence}"] if sentence else []
        windows = span(self._windows_s, self._n, "s")
        paragraph.append(
            f"Tokens, time and energy of a run are of one window, of {windows}. {self._what_stands_below()}"
        )
        paragraph += [said for said in (self._idle(), self._across()) if said]
        lines = [of.line(config_hash) for config_hash, of in self._configurations.items()]
        return "\n".join(map(in_a_line, [" ".join(paragraph), *lines]))

    def _what_stands_below(self) -> str:
        extremes = "the smallest and the largest of them, and no confidence interval"
        with_interval = [of.has_interval for of in self._configurations.values()]
        if not any(with_interval):
            return f"What stands below for several runs is {extremes}."
        return (
            f"What stands below for {LEAST_RUNS} runs or more of one kind is their geometric mean with its 95 % "
            "interval (Student's t on the logarithms of runs; what a sensor is off by each time is in no interval), "
            f"and for fewer {extremes}."
        )

    def _across(self) -> str:
        """Where there are several configurations, from where to where they reach."""
        of = list(self._configurations.values())
        if len(of) < _SEVERAL:
            return ""
        kinds = (("J per output token", [each.per_token_j for each in of]),
                 ("output tokens per second", [each.tokens_per_second for each in of]))  # fmt: skip
        # What is of several kinds, such as modelled and sensed joules, is no range of one figure.
        told = [
            span([value for each in figures for value in each.known], self._n, unit)
            for unit, figures in kinds
            if len(set().union(*(each.kinds for each in figures))) == 1
        ]
        return f"Over all configurations, runs had {' and '.join(told)}." if told else ""

    def _idle(self) -> str:
        kinds = (("before the model was loaded", self._idle_w), ("with the model loaded", self._idle_loaded_w))
        known = [f"{when} {span(watts, self._n, 'W')}" for when, watts in kinds if watts]
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
