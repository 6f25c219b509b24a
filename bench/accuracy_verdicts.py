"""What ``bench/accuracy.py`` concludes: figures per case group, and whether the package keeps what it promises."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.accuracy_cases import Case
from bench.accuracy_grid import NAIVE_COUNTER, OURS, Outcome, Timing
from bench.accuracy_realtime import ZEUS

CONSTANT_LIMIT_PCT = 0.2
RIVAL_MARGIN_POINTS = 0.1
IN_BOUND_LEAST = 0.95
_N_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Group:
    """One tool on one load, window and card, over all phases.

    Args:
        load: name of the load.
        window_s: length of the window.
        card: name of the card.
        tool: name of the tool.
        timing: on which kind of clock.
        unresolvable: whether the named set holds it.
        errors_pct: [n_phases] measured over true, less one; None where there was no figure.
        in_bound: [n_phases] whether the truth was inside the tool's own bound; None without one.
        n_warned: how many carried a warning that nothing read sees all of the time.
    """

    load: str
    window_s: float
    card: str
    tool: str
    timing: Timing
    unresolvable: bool
    errors_pct: tuple[float | None, ...]
    in_bound: tuple[bool | None, ...]
    n_warned: int

    @property
    def worst_pct(self) -> float:
        """Largest absolute error; infinite if a figure is missing."""
        return max(math.inf if error is None else abs(error) for error in self.errors_pct)

    @property
    def mean_pct(self) -> float:
        """Mean absolute error; infinite if a figure is missing."""
        return sum(math.inf if error is None else abs(error) for error in self.errors_pct) / len(self.errors_pct)

    @property
    def share_in_bound(self) -> float | None:
        """Share of phases inside the tool's own bound; None for a tool that states none."""
        if all(inside is None for inside in self.in_bound):
            return None
        return sum(inside is True for inside in self.in_bound) / len(self.in_bound)

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.load}, {self.window_s:g} s, {self.card}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One promise, whether it was kept, and by how much or where not.

    One that is not ``binding`` is only told. Of two tools that add up the same looks of a part-time sensor either may
    come nearer by chance; and in real time a millisecond that the machine takes from a process is 0.1 % of a second.
    """

    promise: str
    kept: bool
    seen: str
    binding: bool = True

    @property
    def word(self) -> str:
        """How it came out, for a table."""
        return "kept" if self.kept else "not kept" if self.binding else "not in all"


def groups_of(outcomes: Iterable[Outcome]) -> list[Group]:
    """Outcomes by everything but the phase, in their order."""
    found: dict[tuple[str, float, str, str, Timing], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        case = outcome.case
        found[case.load, case.window_s, case.card, outcome.tool, outcome.timing].append(outcome)
    return [
        Group(
            load=load,
            window_s=window_s,
            card=card,
            tool=tool,
            timing=timing,
            unresolvable=Case(load, window_s, card, 0).unresolvable,
            errors_pct=tuple(o.error_pct for o in of_group),
            in_bound=tuple(o.in_bound for o in of_group),
            n_warned=sum(o.measured.warns_of_the_unseen for o in of_group),
        )
        for (load, window_s, card, tool, timing), of_group in found.items()
    ]


def verdicts(groups: Sequence[Group]) -> list[Verdict]:
    """The promises that these groups can tell of; none where the package was not run."""
    found: list[Verdict | None] = []
    rivals: dict[Timing, str] = {"injected": NAIVE_COUNTER, "real time": ZEUS}
    for timing, rival in rivals.items():
        of_timing = [g for g in groups if g.timing == timing]
        ours = [g for g in of_timing if g.tool == OURS]
        resolvable = [g for g in ours if not g.unresolvable]
        where = "on the injected clock" if timing == "injected" else "in real time"
        found += [
            _constant([g for g in ours if g.load == "constant"], where, binding=timing == "injected"),
            _no_worse(resolvable, [g for g in of_timing if g.tool == rival], rival, where),
            _in_bound(resolvable, where),
            _warned([g for g in ours if g.unresolvable], where),
        ]
    return [verdict for verdict in found if verdict is not None]


def _constant(ours: Sequence[Group], where: str, *, binding: bool) -> Verdict | None:
    if not ours:
        return None
    bad = [g for g in ours if g.worst_pct > CONSTANT_LIMIT_PCT]
    return Verdict(
        promise=f"constant power within {CONSTANT_LIMIT_PCT} % at every phase, {where}",
        kept=not bad,
        seen=_listed((f"{g.worst_pct:.3f} % ({g.title})" for g in _worst_first(bad)), len(bad))
        or f"worst {max(g.worst_pct for g in ours):.3f} % in {len(ours)} groups",
        binding=binding,
    )


def _no_worse(ours: Sequence[Group], rivals: Sequence[Group], rival: str, where: str) -> Verdict | None:
    theirs_pct = {(g.load, g.window_s, g.card): g.worst_pct for g in rivals}
    pairs = [(g, theirs_pct[key]) for g in ours if (key := (g.load, g.window_s, g.card)) in theirs_pct]
    if not pairs:
        return None
    bad = [(g, pct) for g, pct in pairs if g.worst_pct > pct + RIVAL_MARGIN_POINTS]
    bad.sort(key=lambda pair: pair[1] - pair[0].worst_pct)
    return Verdict(
        promise=f"worst error at most {RIVAL_MARGIN_POINTS} points above that of {rival}, {where}, "
        "outside the named set",
        kept=not bad,
        seen=_listed((f"{g.worst_pct:.2f} against {pct:.2f} % ({g.title})" for g, pct in bad), len(bad))
        or f"in all of {len(pairs)} groups",
        binding=rival == ZEUS,
    )


def _in_bound(ours: Sequence[Group], where: str) -> Verdict | None:
    if not ours:
        return None
    inside = [cell is True for g in ours for cell in g.in_bound]
    share = sum(inside) / len(inside)
    outside = sorted(ours, key=lambda g: g.share_in_bound or 0.0)
    bad = [g for g in outside if (g.share_in_bound or 0.0) < 1]
    worst = _listed((f"{g.share_in_bound or 0.0:.0%} ({g.title})" for g in bad), len(bad))
    return Verdict(
        promise=f"at least {IN_BOUND_LEAST:.0%} of the cases outside the named set inside the stated bound, {where}",
        kept=share >= IN_BOUND_LEAST,
        seen=f"{share:.1%} of {len(inside)}" + (f"; least: {worst}" if bad else ""),
    )


def _warned(ours: Sequence[Group], where: str) -> Verdict | None:
    if not ours:
        return None
    bad = [g for g in ours if g.n_warned < len(g.errors_pct)]
    return Verdict(
        promise=f"every case of the named set carries a warning that nothing read sees all of the time, {where}",
        kept=not bad,
        seen=_listed((f"{g.n_warned} of {len(g.errors_pct)} ({g.title})" for g in bad), len(bad))
        or f"all of {sum(len(g.errors_pct) for g in ours)}",
    )


def _worst_first(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda g: -g.worst_pct)


def _listed(texts: Iterator[str], n: int) -> str:
    named = [text for _, text in zip(range(_N_NAMED), texts, strict=False)]
    more = f" and {n - _N_NAMED} more" if n > _N_NAMED else ""
    return "; ".join(named) + more
