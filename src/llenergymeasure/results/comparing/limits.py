"""Limits that a comparison is held to, such as ``energy_per_output_token_j > +2%``, and the exit code that follows."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llenergymeasure.config.base import nearest
from llenergymeasure.exceptions import ComparisonRefusedError, config_error
from llenergymeasure.results.comparing.comparison import Against, Comparison
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.rows.columns import OF_ENERGY
from llenergymeasure.results.statistics import runs

State = Literal["kept", "broken", "open"]

_WRITTEN = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<sign>[<>])\s*(?P<number>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(?P<pct>%?)\s*"
)
_LOOKS = "write NAME > +2%, NAME < -2%, or a ratio, such as NAME > 1.02"
_MOST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What must not be: the ratio of a metric to the first group's above (``>``) or below (``<``) ``ratio``."""

    metric: str
    sign: Literal["<", ">"]
    ratio: float
    written: str

    @classmethod
    def of(cls, text: str) -> "Limit":
        """A limit as it is written: a change with its sign and ``%``, or a ratio.

        Raises:
            ConfigError: it is none, or of a metric that nobody knows.
        """
        shown = text[:_MOST_SHOWN]
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise config_error(f"limit {shown!r}: this is none; {_LOOKS}")
        name, number = found["name"], found["number"]
        if name not in METRICS:
            raise config_error(f"limit {shown!r}: there is no metric {name}; {nearest(name, list(METRICS))}")
        if found["pct"] and number[0] not in "+-":
            raise config_error(f"limit {shown!r}: a change has a sign, +{number}% or -{number}%")
        try:
            value = float(number)
        except ValueError:
            raise config_error(f"limit {shown!r}: {number} is no number; {_LOOKS}") from None
        ratio = 1 + value / 100 if found["pct"] else value
        if not (math.isfinite(ratio) and ratio > 0):
            raise config_error(f"limit {shown!r}: a ratio is a finite number above zero; {_LOOKS}")
        return cls(metric=name, sign="<" if found["sign"] == "<" else ">", ratio=ratio, written=text.strip())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a limit for a group.

    ``broken`` where the whole interval lies beyond it, ``kept`` where none of it does, else ``open``. Of a limit on
    energy ``not_citable`` says which of it may not be cited, None where all may be.
    """

    limit: Limit
    label: str
    state: State
    line: str
    not_citable: str | None = None


def held_to(comparison: Comparison, limits: Sequence[Limit]) -> list[Outcome]:
    """Hold every group but the first to [n] limits.

    Raises:
        ComparisonRefusedError: a limit is on a metric that two groups count by different rules.
    """
    return [
        _outcome(limit, (comparison.groups[0], group), _against(comparison, limit, number))
        for limit in limits
        for number, group in enumerate(comparison.groups[1:])
    ]


def exit_code(outcomes: Sequence[Outcome], *, strict: bool = False) -> int:
    """1 where a limit is broken, or under ``strict`` open or held by energy that is not citable; else 0."""
    bad: tuple[State, ...] = ("broken", "open") if strict else ("broken",)
    return int(any(outcome.state in bad or (strict and outcome.not_citable is not None) for outcome in outcomes))


def _against(comparison: Comparison, limit: Limit, number: int) -> Against | None:
    row = comparison.row(limit.metric)
    found = None if row is None else row.against[number]
    if found is not None and found.refused is not None and found.ratio is None:
        raise ComparisonRefusedError(f"limit {limit.written!r}: {found.refused}")
    return found


def _outcome(limit: Limit, pair: tuple[Group, Group], against: Against | None) -> Outcome:
    state, said = _state(limit, against)
    label = pair[1].label
    not_citable = _not_citable(pair) if limit.metric in OF_ENERGY else None
    words = {"broken": "is beyond the limit", "kept": "keeps the limit", "open": "may be on either side of the limit"}
    line = f"{label} {words[state]} {limit.written}: {said}"
    return Outcome(limit=limit, label=label, state=state, line=line, not_citable=not_citable)


def _not_citable(groups: Sequence[Group]) -> str | None:
    """In which runs of which groups there is energy that may not be cited."""
    found = []
    for group in groups:
        bad = [result for result in group.results if result.validity == "not_citable"]
        if bad:
            flags = ", ".join(dict.fromkeys(flag for result in bad for flag in result.validity_flags))
            found.append(f"{group.label}: in {len(bad)} of {runs(len(group.results))} ({flags})")
    return f"energy is not citable: {'; '.join(found)}" if found else None


def _state(limit: Limit, against: Against | None) -> tuple[State, str]:
    if against is None:
        return "open", "no run has it"
    ratio = against.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return "open", against.judgement.reason or "there is no interval"
    said = "; ".join([f"ratio {ratio.value:.4g}, {ratio.low:.4g} to {ratio.high:.4g}", *against.notes])
    is_beyond = ratio.low > limit.ratio if limit.sign == ">" else ratio.high < limit.ratio
    is_within = ratio.high <= limit.ratio if limit.sign == ">" else ratio.low >= limit.ratio
    return "broken" if is_beyond else "kept" if is_within else "open", said
