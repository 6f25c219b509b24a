"""What the runs of one configuration came to, in a line of an account."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from llenergymeasure.domain.energy.provenance import is_modelled
from llenergymeasure.domain.meaning.fields import rests_on
from llenergymeasure.domain.metrics import counted_devices
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.sharing.sentences import figure, machine
from llenergymeasure.results.statistics import LEAST_RUNS, runs, summary

_PER_TOKEN, _SPEED = "energy_per_output_token_j", "tokens_per_second"


@dataclass
class Figures:
    """A figure of [n] runs, None where one has none; runs of another of the ``kinds`` are no repeats of each other."""

    values: list[float | None] = field(default_factory=list)
    kinds: set[Hashable] = field(default_factory=set)

    def add(self, value: float | None, kind: Hashable) -> None:
        """Take in a run."""
        self.values.append(value)
        if value is not None:
            self.kinds.add(kind)

    @property
    def known(self) -> list[float]:
        """The figures that there are."""
        return [value for value in self.values if value is not None]

    @property
    def has_interval(self) -> bool:
        """Whether there are enough repeats for a mean with its interval."""
        known = self.known
        return len(known) >= LEAST_RUNS and len(self.kinds) == 1 and min(known) > 0 and summary(known).low is not None

    def told(self, unit: str) -> str:
        """The mean with its 95 % interval where there is one, else the smallest and the largest."""
        known, n = self.known, len(self.values)
        if not self.has_interval:
            return span(known, n, unit)
        found = summary(known)
        of = runs(found.n) if found.n == n else f"{found.n} of {n} runs"
        ends = f"{figure(found.low or 0.0)} to {figure(found.high or 0.0)}"
        return f"{figure(found.value)} {unit} (mean of {of}, 95 % interval {ends})"


def span(values: Sequence[float], n: int, unit: str) -> str:
    """The smallest and the largest of the values of n runs, of which not all may have one."""
    low, high = figure(min(values)), figure(max(values))
    text = f"{low if low == high else f'{low} to {high}'} {unit}"
    return text if len(values) == n else f"{text} (of {len(values)} of {n} runs)"


@dataclass
class Configuration:
    """The runs of one configuration."""

    name: str
    per_token_j: Figures = field(default_factory=Figures)
    tokens_per_second: Figures = field(default_factory=Figures)
    perplexity: Figures = field(default_factory=Figures)
    foreign_pct: Figures = field(default_factory=Figures)
    verdicts: list[str] = field(default_factory=list)
    n_modelled: int = 0
    flags: dict[str, None] = field(default_factory=dict)

    def add(self, result: ExperimentResult) -> None:
        """Take in a run."""
        where = machine(result)
        self.per_token_j.add(result.energy_per_output_token_j, (where, _read(result), _definitions(result, _PER_TOKEN)))
        self.tokens_per_second.add(result.tokens_per_second, (where, _definitions(result, _SPEED)))
        if result.quality is not None:
            text = (result.quality.text_digest, result.quality.n_context_tokens, result.quality.n_scored_tokens)
            self.perplexity.add(result.quality.perplexity, text)
        self.foreign_pct.add(result.foreign_cpu_pct, None)
        self.verdicts.append("absent" if result.total_energy_j is None else in_words(result.validity))
        self.n_modelled += result.total_energy_j is not None and is_modelled(result.energy_devices)
        self.flags |= dict.fromkeys(warning.flag for warning in result.warnings)

    @property
    def has_interval(self) -> bool:
        """Whether there is a mean with its interval in its line."""
        return self.per_token_j.has_interval or self.tokens_per_second.has_interval

    def line(self, config_hash: str) -> str:
        """All of it."""
        n = len(self.verdicts)
        joules = self.per_token_j.told("J per output token") if self.per_token_j.known else "no energy"
        if self.n_modelled:
            joules += ", modelled and not sensed" + ("" if self.n_modelled == n else f" in {self.n_modelled} of {n}")
        speed = self.tokens_per_second.told("output tokens per second")
        if self.perplexity.known:
            # The same weights give the same again: a spread over runs is none of chance, so there is no interval.
            speed += f", {span(self.perplexity.known, n, 'perplexity')}"
        foreign = self.foreign_pct.known
        took = span(foreign, n, "% of the processors' time") if foreign else ""
        load = f"; other programs took {took}" if took else ""
        verdicts = ", ".join(_counted(self.verdicts, n))
        flags = f"; warnings: {', '.join(self.flags)}" if self.flags else "; no warnings"
        return f"- {self.name} ({config_hash}), {runs(n)}: {joules}, {speed}{load}; the energy is {verdicts}{flags}"


def _read(result: ExperimentResult) -> Hashable:
    """By what, and of what, the joules are."""
    rows = counted_devices(result.energy_devices)
    return result.energy_origin, tuple(sorted((row.covers, row.source, row.sensor or "") for row in rows))


def _definitions(result: ExperimentResult, place: str) -> Hashable:
    return tuple((each, result.definitions.get(each)) for each in sorted(rests_on(place)))


def _counted(names: Sequence[str], n: int) -> list[str]:
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return [name if count == n else f"{name} in {count} of {n}" for name, count in counts.items()]
